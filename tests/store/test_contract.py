"""The contract of every store, tested on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from keystead.core.audit_retention import AuditCut, AuditSave, Rule, Way
from keystead.core.availability import SILENT_AFTER, silent_nodes
from keystead.core.model import (
    Account,
    Certificate,
    Cluster,
    DataKey,
    KeyManager,
    KeyServer,
    Node,
    NodeProcess,
    Release,
    Role,
    Svm,
)
from keystead.core.server_address import ServerAddress
from keystead.service.ports.page import Page
from keystead.service.ports.store import StoreConflict
from tests.peers.databases import set_clock
from tests.service.worlds.basics import HandClock
from tests.store import samples
from tests.store.commits import last_commit
from tests.store.samples import NODE, NOON, OTHER_SVM, SVM

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore

KINDS: tuple[type[Any], ...] = (Certificate, KeyManager, KeyServer, Svm, Node)


async def test_a_node_is_starting_until_it_is_heard(store: SqlStore) -> None:
    """What is stored of it besides stays."""
    clock = HandClock()
    set_clock(clock, store)

    def starting(tx: Transaction) -> bool:
        return tx.nodes()[0].starting

    await store.write(lambda tx: tx.put_node(Node("node-1", "n", Release(9, 18, 1))))
    await store.write(lambda tx: tx.hear_node("node-1", NOON))
    await store.write(lambda tx: tx.start_node("node-1", NodeProcess("token")))
    assert await store.read(lambda tx: (starting(tx), tx.nodes()[0].heard_at)) == (True, clock.now())
    await store.write(lambda tx: tx.hear_node("node-1", NOON))
    assert not await store.read(starting)


async def test_touching_a_node_commits_and_changes_nothing(store: SqlStore) -> None:
    """The commit is seen in the database's version, and in nothing else."""
    await store.write(lambda tx: tx.put_node(NODE))
    await store.write(lambda tx: tx.hear_node(NODE.uuid, NOON))
    before = await store.read(lambda tx: tx.nodes()), await last_commit(store)
    await store.write(lambda tx: tx.touch_node(NODE.uuid))
    assert await store.read(lambda tx: tx.nodes()) == before[0]
    assert await last_commit(store) != before[1]


async def test_when_a_node_was_heard_of_is_stored(store: SqlStore) -> None:
    """The time is the database's, moves no change marker, and stays when the node is stored again."""
    began = await store.read(lambda tx: tx.now())
    await store.write(lambda tx: tx.put_node(NODE))
    before = await store.read(lambda tx: (tx.change_marker(), tx.nodes()[0].heard_at))
    await store.write(lambda tx: tx.hear_node(NODE.uuid, NOON))
    await store.write(lambda tx: tx.put_node(NODE))
    marker, (node,), ended = await store.read(lambda tx: (tx.change_marker(), tx.nodes(), tx.now()))
    assert (before, marker, node.reported) == (((), None), (), NOON)
    assert node.heard_at is not None
    assert began <= node.heard_at <= ended


async def test_a_node_whose_clock_is_wrong_silences_no_other(store: SqlStore) -> None:
    """It is 20 minutes ahead, another one as much behind: only one that has not been heard lately is silent."""
    names = ("right", "ahead", "behind", "gone")
    clock = HandClock()
    set_clock(clock, store)

    def hear(tx: Transaction, *nodes: str) -> None:
        for name, minutes in zip(nodes, (0, 20, -20, 0), strict=False):
            tx.hear_node(name, clock.now() + timedelta(minutes=minutes))

    def add(tx: Transaction) -> None:
        for name in names:
            tx.put_node(Node(name, name, Release(9, 18, 1)))
        hear(tx, *names)

    await store.write(add)
    for silent in (set(), set(), {"gone"}):
        clock.advance(SILENT_AFTER.total_seconds() / 2)
        await store.write(lambda tx: hear(tx, *names[:3]))
        assert silent_nodes(await store.read(lambda tx: tx.nodes())) == silent


async def test_an_empty_store_has_nothing(store: SqlStore) -> None:
    """An absent single value is None, an absent list is empty."""

    def work(tx: Transaction) -> list[object]:
        return [
            *(tx.cluster(), tx.svm("x"), tx.svm_named("x"), tx.certificate("x"), tx.key_manager("x")),
            *(tx.key_manager_of(None), tx.account("x"), tx.audit_head("x")),
            *(tx.nodes(), tx.key_servers("x"), tx.data_keys(), tx.audit_records("x", 0, 9), tx.audit_nodes()),
            *(tx.page(kind, Page()) for kind in KINDS),
        ]

    assert await store.read(work) == [None] * 8 + [()] * 10


@pytest.mark.parametrize("svm", [None, SVM], ids=["cluster", "svm"])
async def test_a_certificate_comes_back_as_it_was(store: SqlStore, svm: Svm | None) -> None:
    """Every field is read back: microseconds, zones, bytes and the order of intermediates."""
    certificate = samples.certificate(svm=svm)
    bare = samples.certificate("cert-2", svm=svm, intermediates=(), sealed_private_key=None)
    await store.write(lambda tx: (tx.add_svm(SVM), tx.add_certificate(certificate), tx.add_certificate(bare)))
    assert await store.read(lambda tx: (tx.certificate("cert-1"), tx.certificate("cert-2"))) == (certificate, bare)


async def test_what_is_stated_about_an_svm(store: SqlStore) -> None:
    """It is replaced as a whole, read for several SVMs at once, and gone with its SVM."""
    await store.write(lambda tx: (tx.add_svm(SVM), tx.add_svm(OTHER_SVM)))
    for stated in ("{}", '{"comment": "x"}'):
        await store.write(lambda tx: tx.put_svm_attributes(SVM.uuid, stated))  # noqa: B023 - run at once
        assert await store.read(lambda tx: tx.svm_attributes([OTHER_SVM.uuid, SVM.uuid])) == {SVM.uuid: stated}
    await store.write(lambda tx: tx.delete_svm(SVM.uuid))
    assert await store.read(lambda tx: tx.svm_attributes([SVM.uuid])) == {}


@pytest.mark.parametrize("svm", [None, SVM], ids=["cluster", "svm"])
async def test_a_key_manager_comes_back_as_it_was(store: SqlStore, svm: Svm | None) -> None:
    """A key manager is read back with its SVM's name and its CA certificates in order."""
    manager = samples.key_manager(svm=svm)
    await store.write(lambda tx: (tx.add_svm(SVM), tx.add_key_manager(manager)))
    assert await store.read(lambda tx: tx.key_manager("km-1")) == manager


@pytest.mark.parametrize("address", ["Host.Example.:5696", "[2001:DB8::0:1]:1", "10.0.0.1"])
async def test_a_key_server_keeps_the_spelling_of_its_address(filled: SqlStore, address: str) -> None:
    """The address is read back in the caller's spelling."""
    server = samples.key_server(9, address, timeout=-1, create_remove_timeout=0, username="", sealed_password=None)
    await filled.write(lambda tx: tx.add_key_servers([server]))
    found = (await filled.read(lambda tx: tx.key_servers("km-1")))[-1]
    assert found == server
    assert str(found.address) == str(server.address)
    assert found.address.host == server.address.host


async def test_key_servers_are_in_the_order_of_their_position(filled: SqlStore) -> None:
    """Servers are read in the order of their positions, with or without secondaries."""
    lone = replace(samples.key_server(3), secondary_key_servers=())
    await filled.write(lambda tx: tx.add_key_servers([samples.key_server(4), lone]))
    servers = await filled.read(lambda tx: tx.key_servers("km-1"))
    assert [server.position for server in servers] == [0, 1, 2, 3, 4]
    assert [server.secondary_key_servers for server in servers] == [("Zeta", "alpha")] * 3 + [(), ("Zeta", "alpha")]


async def test_a_key_server_is_changed_in_its_place(filled: SqlStore) -> None:
    """A change may replace every value but owner and position; secondaries of other servers stay."""
    before = await filled.read(lambda tx: tx.key_servers("km-1"))
    changed = replace(
        before[1],
        address=ServerAddress("Other.Host", 7),
        timeout=0,
        create_remove_timeout=-1,
        username="",
        secondary_key_servers=("beta", "Zeta", "gamma"),
        tls_server_name="kms",
        sealed_password=None,
    )
    await filled.write(lambda tx: tx.change_key_server(changed))
    assert await filled.read(lambda tx: tx.key_servers("km-1")) == (before[0], changed, before[2])
    bare = replace(changed, secondary_key_servers=(), sealed_password=b"new")
    await filled.write(lambda tx: tx.change_key_server(bare))
    assert await filled.read(lambda tx: tx.key_servers("km-1")) == (before[0], bare, before[2])


async def test_a_key_server_is_deleted_with_its_secondaries(filled: SqlStore) -> None:
    """The other servers keep their positions; a new server with the old uuid has no old secondaries."""
    before = await filled.read(lambda tx: tx.key_servers("km-1"))
    await filled.write(lambda tx: tx.delete_key_server(before[1].uuid))
    assert await filled.read(lambda tx: tx.key_servers("km-1")) == (before[0], before[2])
    bare = replace(before[1], secondary_key_servers=())
    await filled.write(lambda tx: tx.add_key_servers([bare]))
    assert await filled.read(lambda tx: tx.key_servers("km-1")) == (before[0], bare, before[2])


async def test_certificates_are_read_together(store: SqlStore) -> None:
    """Existing certificates are read by uuid with their intermediates, locked or not."""
    first = samples.certificate("cert-1")
    second = samples.certificate("cert-2", intermediates=())
    await store.write(lambda tx: (tx.add_certificate(second), tx.add_certificate(first)))
    for wanted, found in ((("cert-2", "gone", "cert-1"), (first, second)), (("cert-2",), (second,)), ((), ())):
        assert await store.read(lambda tx: tx.certificates(wanted)) == found  # noqa: B023 - run at once
        assert await store.write(lambda tx: tx.certificates(wanted, lock=True)) == found  # noqa: B023 - run at once


async def test_no_key_servers_can_be_added(filled: SqlStore) -> None:
    """An empty list of servers executes no statement."""
    await filled.write(lambda tx: tx.add_key_servers([]))
    assert len(await filled.read(lambda tx: tx.key_servers("km-1"))) == 3


async def test_the_cluster_is_one(store: SqlStore) -> None:
    """Storing the cluster again replaces it, also with another uuid."""
    await store.write(lambda tx: tx.put_cluster(Cluster("c1", "one")))
    await store.write(lambda tx: tx.put_cluster(Cluster("c2", "two", metrocluster=True)))
    assert await store.read(lambda tx: tx.cluster()) == Cluster("c2", "two", metrocluster=True)


async def test_the_cluster_and_its_nodes_are_read_together(store: SqlStore) -> None:
    """Cluster and nodes are read together, nodes by uuid; without a node the cluster is None."""
    cluster = Cluster("c1", "one", metrocluster=True)
    other = Node("node-0", "n0", Release(9, 11, 1))
    assert await store.read(lambda tx: tx.cluster_and_nodes()) == (None, ())
    await store.write(lambda tx: tx.put_cluster(cluster))
    assert await store.read(lambda tx: tx.cluster_and_nodes()) == (None, ())
    await store.write(lambda tx: (tx.put_node(NODE), tx.put_node(other)))
    assert await store.read(lambda tx: tx.cluster_and_nodes()) == (cluster, (other, NODE))


async def test_a_node_is_replaced_by_its_uuid(store: SqlStore) -> None:
    """A node that is stored again with another release has one row."""
    older = replace(NODE, release=Release(9, 5, 0))
    await store.write(
        lambda tx: (tx.put_node(older), tx.put_node(NODE), tx.put_node(Node("a", "n2", Release(9, 6, 0))))
    )
    assert await store.read(lambda tx: tx.nodes()) == (Node("a", "n2", Release(9, 6, 0)), NODE)


async def test_svms_are_found_by_uuid_and_name(filled: SqlStore) -> None:
    """SVMs are found by uuid and by the exact name."""
    found = await filled.read(lambda tx: (tx.svm("svm-1"), tx.svm_named("svm1"), tx.svm_named("SVM1")))
    assert found == (SVM, SVM, None)


async def test_within_an_svm_what_is_foreign_is_not_there(filled: SqlStore) -> None:
    """Within an SVM only its own objects are found, locked or not."""
    certificates = {owner: samples.certificate(f"own-{owner}", svm=owner) for owner in (SVM, OTHER_SVM, None)}
    managers = {owner: samples.key_manager(f"km-{owner}", svm=owner, enabled=False) for owner in (SVM, OTHER_SVM, None)}

    def find(tx: Transaction, within: str | None, *, lock: bool) -> list[object]:
        return [
            *(tx.svm(svm.uuid, within=within, lock=lock) for svm in (SVM, OTHER_SVM)),
            *(tx.svm_named(svm.name, within=within) for svm in (SVM, OTHER_SVM)),
            *(tx.certificate(each.uuid, within=within, lock=lock) for each in certificates.values()),
            *(tx.key_manager(each.uuid, within=within, lock=lock) for each in managers.values()),
        ]

    def work(tx: Transaction) -> None:
        for certificate in certificates.values():
            tx.add_certificate(certificate)
        for manager in managers.values():
            tx.add_key_manager(manager)
        for lock in (False, True):
            everything = [SVM, OTHER_SVM, SVM, OTHER_SVM, *certificates.values(), *managers.values()]
            assert find(tx, None, lock=lock) == everything
            own = [SVM, None, SVM, None, certificates[SVM], None, None, managers[SVM], None, None]
            assert find(tx, SVM.uuid, lock=lock) == own

    await filled.write(work)


async def test_accounts_that_differ_in_case_are_alike(store: SqlStore) -> None:
    """Names that differ in case count as equal in the check, but each row is found by its own spelling only."""
    account = Account("Joe.Smith", Role.ADMIN, "hash")
    await store.write(lambda tx: tx.put_account(account))
    alike = await store.read(lambda tx: [tx.account_alike(name) for name in ("joe.smith", "JOE.SMITH", "joe_smith")])
    assert alike == [account, account, None]
    assert await store.read(lambda tx: tx.account("joe.smith")) is None


async def test_an_accounts_version_grows_with_every_change(store: SqlStore) -> None:
    """The store increments the version, whatever the caller gives, because remembered credentials depend on it."""
    account = Account("admin", Role.ADMIN, "hash", version=1)
    for changed in (account, replace(account, password_hash="other"), replace(account, role=Role.READONLY)):
        await store.write(lambda tx: tx.put_account(changed))  # noqa: B023 - run at once
    assert await store.read(lambda tx: tx.account("admin")) == Account("admin", Role.READONLY, "hash", version=3)


async def test_data_keys_are_in_order(store: SqlStore) -> None:
    """Data keys are read in the order of their ids."""
    keys = (DataKey(1, b"\x00one", b"check"), DataKey(2, b"two", b"check"))
    await store.write(lambda tx: (tx.add_data_key(keys[1]), tx.add_data_key(keys[0])))
    assert await store.read(lambda tx: tx.data_keys()) == keys


async def test_an_audit_chain_grows_and_is_read_in_slices(store: SqlStore) -> None:
    """Records are read by index, the head is the last one, and each node has its own chain."""

    def work(tx: Transaction) -> None:
        for index in range(1, 6):
            tx.add_audit_records([samples.audit_record(index)], samples.audit_head(index))
        tx.add_audit_records([samples.audit_record(1, "other")], samples.audit_head(1, "other"))
        tx.put_node(Node("silent", "n", Release(9, 18, 1)))

    await store.write(work)
    records, head, nodes = await store.read(
        lambda tx: (tx.audit_records("node-1", 2, 2), tx.audit_head("node-1"), tx.audit_nodes())
    )
    assert records == (samples.audit_record(3), samples.audit_record(4))
    assert head == samples.audit_head(5)
    assert nodes == ("node-1", "other", "silent")


async def test_reads_that_are_recorded_are_found_by_their_ids(store: SqlStore) -> None:
    """In the chain of one node; they are read back with their ids, and found by the index."""
    reads = [samples.audit_record(index, read_id=id_) for index, id_ in enumerate(("r1", "r2", None, "r3"), 1)]
    await store.write(lambda tx: tx.add_audit_records(reads, samples.audit_head(4)))
    await store.write(
        lambda tx: tx.add_audit_records([samples.audit_record(1, "other", "r4")], samples.audit_head(1, "other"))
    )
    asked = ("r1", "r3", "r4", "absent")
    found = await store.read(lambda tx: [tx.recorded_reads("node-1", ids) for ids in (asked, ())])
    assert found == [{"r1", "r3"}, frozenset()]
    assert await store.read(lambda tx: tx.audit_records("node-1", 0, 9)) == tuple(reads)
    with store.database.reader.begin() as connection:
        sqlite = connection.dialect.name == "sqlite"
        if not sqlite:
            connection.execute(text("SET LOCAL enable_seqscan = off"))  # as if the table were large
        asks = "SELECT read_id FROM audit_records WHERE node = 'node-1' AND read_id IN ('r1', 'r3')"
        plan = connection.execute(text(f"EXPLAIN {'QUERY PLAN ' if sqlite else ''}{asks}")).all()
    assert "ix_audit_records_node_read_id" in str(plan)


async def test_the_key_manager_of_an_owner_is_the_enabled_one(store: SqlStore) -> None:
    """Only the enabled key manager of the owner counts, and the cluster's does not count for an SVM."""
    enabled, cluster = samples.key_manager("km-1", SVM), samples.key_manager("km-3")

    def work(tx: Transaction) -> None:
        tx.add_svm(SVM)
        for manager in (enabled, samples.key_manager("km-0", SVM, enabled=False), cluster):
            tx.add_key_manager(manager)

    await store.write(work)
    found = await store.read(lambda tx: [tx.key_manager_of(owner) for owner in ("svm-1", None, "svm-2")])
    assert found == [enabled, cluster, None]


async def test_a_certificate_can_vanish_underneath_a_key_manager(filled: SqlStore) -> None:
    """A certificate can be deleted although a key manager names it."""
    await filled.write(lambda tx: tx.delete_certificate("cert-1"))
    certificate, manager = await filled.read(lambda tx: (tx.certificate("cert-1"), tx.key_manager("km-1")))
    assert certificate is None
    assert manager is not None
    assert manager.client_certificate == "cert-1"


async def test_a_certificate_is_in_use_as_client_or_as_ca(filled: SqlStore) -> None:
    """A certificate is in use if any key manager names it, as client certificate or as CA."""
    used = await filled.read(
        lambda tx: [bool(tx.certificate_users(uuid)) for uuid in ("cert-1", "ca-1", "ca-2", "ca-3")]
    )
    assert used == [True, True, True, False]


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(lambda tx: tx.add_svm(Svm("new", "svm1")), id="svm name"),
        pytest.param(lambda tx: tx.add_svm(Svm("svm-1", "new")), id="svm uuid"),
        pytest.param(
            lambda tx: tx.add_certificate(samples.certificate("new", SVM, name="name of cert-1")), id="certificate name"
        ),
        pytest.param(lambda tx: tx.add_key_manager(samples.key_manager("new", SVM)), id="enabled key manager"),
        pytest.param(
            lambda tx: tx.add_key_servers([samples.key_server(3), samples.key_server(4, "HOST0.example.")]),
            id="key server address",
        ),
        pytest.param(
            lambda tx: tx.add_key_servers([replace(samples.key_server(0, "new"), uuid="new")]), id="key server position"
        ),
        pytest.param(lambda tx: tx.add_key_servers([samples.key_server(0, manager="absent")]), id="no key manager"),
        pytest.param(
            lambda tx: tx.add_key_manager(samples.key_manager("new", Svm("absent", "absent"))),
            id="no svm of a key manager",
        ),
        pytest.param(
            lambda tx: tx.add_certificate(samples.certificate("new", Svm("absent", "absent"))),
            id="no svm of a certificate",
        ),
    ],
)
async def test_what_must_be_unique_or_present_is_a_conflict(
    filled: SqlStore, work: Callable[[Transaction], object]
) -> None:
    """The function runs once more to see the other writer's row; then StoreConflict is raised and nothing is stored."""
    runs = []
    before = await filled.read(_everything)

    def counted(tx: Transaction) -> None:
        runs.append(1)
        tx.put_cluster(Cluster("c", "c"))
        work(tx)

    with pytest.raises(StoreConflict):
        await filled.write(counted)
    assert len(runs) == 2
    assert await filled.read(_everything) == before


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(
            lambda tx: tx.add_certificate(samples.certificate("new", OTHER_SVM, name="name of cert-1")),
            id="certificate of another svm",
        ),
        pytest.param(
            lambda tx: tx.add_certificate(samples.certificate("new", None, name="name of cert-1")),
            id="certificate of the cluster",
        ),
        pytest.param(
            lambda tx: tx.add_key_manager(samples.key_manager("new", OTHER_SVM)), id="key manager of another svm"
        ),
        pytest.param(lambda tx: tx.add_key_manager(samples.key_manager("new", None)), id="key manager of the cluster"),
        pytest.param(
            lambda tx: tx.add_key_manager(samples.key_manager("new", SVM, enabled=False)), id="key manager not enabled"
        ),
    ],
)
async def test_uniqueness_ends_at_the_owner(filled: SqlStore, work: Callable[[Transaction], object]) -> None:
    """Another SVM, or the cluster, may use the same name and have its own key manager."""
    before = await filled.read(_everything)
    await filled.write(work)
    assert await filled.read(_everything) != before


def _everything(tx: Transaction) -> list[object]:
    pages = [tx.page(kind, Page()) for kind in KINDS]
    return [*pages, tx.cluster(), tx.key_servers("km-1"), tx.key_servers("absent")]


async def test_an_svm_is_renamed_and_deleted_with_what_it_owns_counted(filled: SqlStore) -> None:
    """Owned objects show the new name; a taken name, or a deletion with owned objects, is a conflict."""
    assert await filled.read(lambda tx: tx.svm_contents(SVM.uuid)) == {
        "accounts": 0,
        "certificates": 1,
        "key_managers": 1,
    }
    await filled.write(lambda tx: tx.rename_svm(SVM.uuid, "new"))
    found = await filled.read(lambda tx: (tx.svm(SVM.uuid), tx.certificate("cert-1")))
    assert found[1] is not None
    assert found[0] == found[1].svm == Svm(SVM.uuid, "new")
    with pytest.raises(StoreConflict):
        await filled.write(lambda tx: tx.rename_svm(SVM.uuid, OTHER_SVM.name))
    with pytest.raises(StoreConflict):
        await filled.write(lambda tx: tx.delete_svm(SVM.uuid))
    await filled.write(lambda tx: tx.delete_svm(OTHER_SVM.uuid))
    assert await filled.read(lambda tx: (tx.svm(OTHER_SVM.uuid), tx.svm(SVM.uuid, lock=True))) == (None, found[0])


async def test_a_cut_takes_the_oldest_records_of_one_node(store: SqlStore) -> None:
    """And is stored in place of the one before."""
    for node in ("node-1", "other"):
        records = [samples.audit_record(index, node) for index in range(1, 6)]
        await store.write(lambda tx: tx.add_audit_records(records, samples.audit_head(5, node)))  # noqa: B023 - called at once
    assert await store.read(lambda tx: (tx.audit_cut("node-1"), tx.audit_ends())) == (
        None,
        (samples.audit_head(5), samples.audit_head(5, "other")),
    )
    for index in (2, 4):
        cut = AuditCut("node-1", index, b"mac", Rule.NUMBER, Way.BACKUP, NOON)
        await store.write(lambda tx: tx.cut_audit_records(cut))  # noqa: B023 - called at once
        assert await store.read(lambda tx: tx.audit_cut("node-1")) == cut
    assert await store.read(lambda tx: tx.audit_records("node-1", 0, 9)) == (samples.audit_record(5),)
    assert len(await store.read(lambda tx: tx.audit_records("other", 0, 9))) == 5


async def test_what_has_records_is_noted_for_each_node_and_way(store: SqlStore) -> None:
    """A later note replaces the one before."""
    first, second, other = (
        AuditSave(node, Way.EXPORT, index, b"mac", NOON, b"note")
        for node, index in (("node-1", 2**40), ("node-1", 7), ("other", 1))
    )
    backup = replace(first, way=Way.BACKUP)
    for save in (first, backup, other, second):
        await store.write(lambda tx: tx.put_audit_save(save))  # noqa: B023 - called at once
    assert await store.read(lambda tx: tx.audit_saves("node-1")) == (backup, second)
