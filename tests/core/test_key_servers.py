"""The rules of adding, changing and removing key servers, as tables of (state, request, code and target)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from keystead.core import errors
from keystead.core.errors import ErrorKind, OntapError
from keystead.core.key_servers import (
    AddRequest,
    ModifyRequest,
    NewKeyServer,
    ServersState,
    find,
    plan_add,
    plan_modify,
    plan_probe,
    plan_remove,
)
from keystead.core.model import CertificateType, Cluster, KeyServer, Node, Release
from keystead.core.quorum import Quorum
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from tests.core.factories import NODE, VS0, VS1, certificate, key_manager, new, server, state

OLD_NODE = Node("old", "keystead-02", Release(9, 5, 9))
BEFORE_SECONDARIES = Node("old", "keystead-02", Release(9, 11, 0))
BEFORE_PORTS = Node("old", "keystead-02", Release(9, 18, 0))
METROCLUSTER = Cluster("c", "keystead", metrocluster=True)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLIENT, CA = CertificateType.CLIENT, CertificateType.SERVER_CA
FOUR = tuple(server(f"s{n}", n) for n in range(1, 5))


def single(asked: NewKeyServer) -> AddRequest:
    return AddRequest((asked,))


def bulk(*asked: NewKeyServer) -> AddRequest:
    return AddRequest(asked, prefix="records[{index}].")


A = single(new("a"))
REFUSED: dict[str, tuple[ServersState, AddRequest, ErrorKind, str | None]] = {
    "not enabled": (state(manager=key_manager(enabled=False)), A, errors.NOT_ENABLED, None),
    "old node": (state(nodes=(NODE, OLD_NODE)), A, errors.CLUSTER_VERSION, None),
    "metrocluster": (state(cluster=METROCLUSTER), A, errors.METROCLUSTER, None),
    "no client certificate": (state(certificates=(certificate("ca", CA),)), A, errors.CERTIFICATE_NOT_INSTALLED, None),
    "no CA": (state(certificates=(certificate("client", CLIENT),)), A, errors.CERTIFICATE_NOT_INSTALLED, None),
    "client certificate of another SVM": (
        state(certificates=(certificate("client", CLIENT, VS1), certificate("ca", CA))),
        A, errors.CERTIFICATE_NOT_INSTALLED, None,
    ),
    "types exchanged": (
        state(certificates=(certificate("client", CA), certificate("ca", CLIENT))),
        A, errors.CERTIFICATE_NOT_INSTALLED, None,
    ),
    "secondaries, an old node": (
        state(nodes=(NODE, BEFORE_SECONDARIES)), bulk(new("a"), new("b", secondaries=("c",))),
        errors.SECONDARIES_RELEASE, "records[1].secondary_key_servers",
    ),
    "username alone": (state(), single(new("a", username="u")), errors.MISSING_PASSWORD, "password"),
    "username, empty password": (
        state(), single(new("a", username="u", password="")), errors.MISSING_PASSWORD, "password"
    ),
    "password alone": (state(), bulk(new("b"), new("a", password="p")), errors.MISSING_USERNAME, "records[1].username"),
    "four secondaries": (
        state(), single(new("a", secondaries=("b", "c", "d", "e"))),
        errors.TOO_MANY_SECONDARIES, "secondary_key_servers",
    ),
    "secondary with a port": (
        state(), single(new("a", secondaries=("b:1",))), errors.SECONDARY_MALFORMED, "secondary_key_servers"
    ),
    "secondary malformed": (
        state(), bulk(new("a", secondaries=("b", ""))), errors.SECONDARY_MALFORMED, "records[0].secondary_key_servers"
    ),
    "secondary is its primary": (
        state(), single(new("a", secondaries=("A.",))), errors.SECONDARY_IS_OWN_PRIMARY, "secondary_key_servers"
    ),
    "secondary twice": (
        state(), single(new("a", secondaries=("b", "B"))), errors.DUPLICATE_SECONDARIES, "secondary_key_servers"
    ),
    "twice in one request": (
        state(), bulk(new("a"), new("A:5696")), errors.DUPLICATE_KEY_SERVERS, "records[1].server"
    ),
    "exists": (state(server("a")), A, errors.KEY_SERVER_EXISTS, "server"),
    "exists, other spelling": (
        state(server("[::1]")), bulk(new("b"), new("[0:0::1]:5696")), errors.KEY_SERVER_EXISTS, "records[1].server"
    ),
    "is a secondary": (state(server("b", 1, ("A",))), A, errors.ALREADY_SECONDARY, "server"),
    "a fifth": (state(*FOUR), A, errors.KEY_SERVER_LIMIT, None),
    "five at once": (state(), bulk(*(new(f"n{n}") for n in range(5))), errors.KEY_SERVER_LIMIT, None),
    "two more than fit": (state(*FOUR[:3]), bulk(new("a"), new("b")), errors.KEY_SERVER_LIMIT, None),
    "secondary is another primary": (
        state(server("b")), single(new("a", secondaries=("B",))), errors.SECONDARY_IS_PRIMARY, "secondary_key_servers"
    ),
    "secondary is a primary of the request": (
        state(), bulk(new("a"), new("b", secondaries=("a",))),
        errors.SECONDARY_IS_PRIMARY, "records[1].secondary_key_servers",
    ),
}  # fmt: skip

# Cheap rules come in the order of the design: a state that breaks two rules gets the first one's code.
ORDER: dict[str, tuple[ServersState, AddRequest, ErrorKind]] = {
    "not enabled before version": (
        state(manager=key_manager(enabled=False), nodes=(OLD_NODE,)), A, errors.NOT_ENABLED,
    ),
    "version before metrocluster": (state(nodes=(OLD_NODE,), cluster=METROCLUSTER), A, errors.CLUSTER_VERSION),
    "metrocluster before certificates": (state(cluster=METROCLUSTER, certificates=()), A, errors.METROCLUSTER),
    "certificates before duplicates": (
        state(certificates=()), bulk(new("a"), new("a")), errors.CERTIFICATE_NOT_INSTALLED,
    ),
    "certificates before the release for secondaries": (
        state(certificates=(), nodes=(BEFORE_SECONDARIES,)), single(new("a", secondaries=("b",))),
        errors.CERTIFICATE_NOT_INSTALLED,
    ),
    "the release for secondaries before the secondaries": (
        state(nodes=(BEFORE_SECONDARIES,)), single(new("a", secondaries=("a",))), errors.SECONDARIES_RELEASE,
    ),
    "duplicates before existing": (state(server("a")), bulk(new("a"), new("a")), errors.DUPLICATE_KEY_SERVERS),
    "existing before secondary": (
        state(server("a"), server("b", 2, ("c",))), bulk(new("c"), new("a")), errors.KEY_SERVER_EXISTS,
    ),
    "secondary before limit": (state(*FOUR[:3], server("x", 4, ("a",))), A, errors.ALREADY_SECONDARY),
    "existing before limit": (state(*FOUR), single(new("s1")), errors.KEY_SERVER_EXISTS),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_refused(case: tuple[ServersState, AddRequest, ErrorKind, str | None]) -> None:
    """Each rule broken gives its code and names the field at fault."""
    given, request, kind, target = case
    with pytest.raises(OntapError) as raised:
        plan_add(given, request)
    assert (raised.value.kind, raised.value.target) == (kind, target)


@pytest.mark.parametrize("case", ORDER.values(), ids=ORDER)
def test_order(case: tuple[ServersState, AddRequest, ErrorKind]) -> None:
    """Of two broken rules, the earlier one is reported."""
    with pytest.raises(OntapError) as raised:
        plan_add(*case[:2])
    assert raised.value.kind is case[2]


def test_accepted() -> None:
    """An accepted add keeps the order of the request and continues after the last position."""
    request = bulk(new("a", username="u", password="p", secondaries=("x", "[::1]")), new("b"))
    plan = plan_add(state(server("c", 7), server("d", 3, ("y",))), request)
    assert plan.servers == request.servers
    assert plan.first_position == 8
    assert plan_add(state(), request).first_position == 1


def test_cluster_scope_is_never_multitenant() -> None:
    """Older nodes and MetroCluster do not matter to the cluster's own key manager."""
    given = state(manager=key_manager(None), nodes=(OLD_NODE,), cluster=METROCLUSTER)
    assert plan_add(given, A).servers == A.servers


def test_certificates_of_the_svm_itself() -> None:
    """An SVM's key manager may use certificates of the SVM or the cluster; the cluster's only those of the cluster."""
    own = (certificate("client", CLIENT, VS0), certificate("ca", CA))
    assert plan_add(state(certificates=own), A).servers == A.servers
    with pytest.raises(OntapError) as raised:
        plan_add(state(manager=key_manager(None), certificates=own), A)
    assert raised.value.kind is errors.CERTIFICATE_NOT_INSTALLED


def test_secondary_on_another_port_is_another_server() -> None:
    """A secondary uses its primary's port, so the same host on another port is no duplicate."""
    assert plan_add(state(server("b:1", 1, ("a",))), A).servers == A.servers
    both = bulk(new("a"), new("b:1", secondaries=("a",)))
    assert plan_add(state(), both).servers == both.servers


def test_existing_is_named() -> None:
    """The refusal of a repeated add names the server that exists, so that a lost answer can be repeated."""
    with pytest.raises(OntapError) as raised:
        plan_add(state(server("a")), single(new("A")))
    assert raised.value.arguments == (("server", "A:5696"),)


def test_find() -> None:
    """A server is found by its compared address, not by its spelling."""
    servers = (server("HOST"), server("[::1]", 2))
    assert find(servers, ServerAddress.parse("host:5696")) is servers[0]
    assert find(servers, ServerAddress.parse("[0::1]")) is servers[1]
    assert find(servers, ServerAddress.parse("other")) is None


# --- modify ---

HOST = ServerAddress.parse("a")
WITH_CREDENTIAL = replace(server("a"), username="u", sealed_password=b"sealed")
A_AND_B = state(server("a", 1, ("x",)), server("b", 2, ("y",)))


def change(address: str = "a", **values: Any) -> ModifyRequest:
    """Ask for a change; a password is text."""
    if "password" in values:
        values["password"] = Secret(values["password"])
    return ModifyRequest(ServerAddress.parse(address), **values)


TIMEOUT = change(timeout=5)
NOT_CHANGED: dict[str, tuple[ServersState, ModifyRequest, ErrorKind, str | None]] = {
    "not enabled": (state(server("a"), manager=key_manager(enabled=False)), TIMEOUT, errors.NOT_ENABLED, None),
    "old node": (state(server("a"), nodes=(NODE, OLD_NODE)), TIMEOUT, errors.CLUSTER_VERSION, None),
    "metrocluster": (state(server("a"), cluster=METROCLUSTER), TIMEOUT, errors.METROCLUSTER, None),
    "no certificates": (state(server("a"), certificates=()), TIMEOUT, errors.CERTIFICATE_NOT_INSTALLED, None),
    "unknown server": (A_AND_B, change("c", timeout=5), errors.KEY_SERVER_NOT_CONFIGURED, "server"),
    "unknown port": (A_AND_B, change("a:1", timeout=5), errors.KEY_SERVER_NOT_CONFIGURED, "server"),
    "port, an old node": (state(server("a"), nodes=(BEFORE_PORTS,)), change(port=1), errors.PORT_RELEASE, "port"),
    "secondaries, an old node": (
        state(server("a"), nodes=(NODE, BEFORE_SECONDARIES)), change(secondary_key_servers=("b",)),
        errors.SECONDARIES_RELEASE, "secondary_key_servers",
    ),
    "password, no username": (A_AND_B, change(password="p"), errors.MISSING_USERNAME, "username"),
    "password, username cleared": (
        state(WITH_CREDENTIAL), change(username="", password="p"), errors.MISSING_USERNAME, "username"
    ),
    "first username alone": (A_AND_B, change(username="u"), errors.MISSING_PASSWORD, "password"),
    "another username alone": (state(WITH_CREDENTIAL), change(username="v"), errors.MISSING_PASSWORD, "password"),
    "username, empty password": (
        state(WITH_CREDENTIAL), change(username="u", password=""), errors.MISSING_PASSWORD, "password"
    ),
    "password cleared alone": (state(WITH_CREDENTIAL), change(password=""), errors.MISSING_PASSWORD, "password"),
    "four secondaries": (
        A_AND_B, change(secondary_key_servers=("c", "d", "e", "f")),
        errors.TOO_MANY_SECONDARIES, "secondary_key_servers",
    ),
    "secondary with a port": (
        A_AND_B, change(secondary_key_servers=("c:1",)), errors.SECONDARY_MALFORMED, "secondary_key_servers"
    ),
    "secondary is its primary": (
        A_AND_B, change(secondary_key_servers=("A.",)), errors.SECONDARY_IS_OWN_PRIMARY, "secondary_key_servers"
    ),
    "secondary twice": (
        A_AND_B, change(secondary_key_servers=("c", "C")), errors.DUPLICATE_SECONDARIES, "secondary_key_servers"
    ),
    "secondary is another primary": (
        A_AND_B, change(secondary_key_servers=("c", "b")), errors.SECONDARY_IS_PRIMARY, "secondary_key_servers"
    ),
    "the port makes a secondary another primary": (
        state(server("a", 1, ("b",)), server("b:7", 2)), change(port=7), errors.SECONDARY_IS_PRIMARY, "port"
    ),
    "both make a secondary another primary": (
        state(server("a"), server("b:7", 2)), change(port=7, secondary_key_servers=("b",)),
        errors.SECONDARY_IS_PRIMARY, "secondary_key_servers",
    ),
    "the port makes it another server": (
        state(server("a"), server("A:7", 2)), change(port=7), errors.KEY_SERVER_EXISTS, "port"
    ),
    "the port makes it another's secondary": (
        state(server("a"), server("b:7", 2, ("a",))), change(port=7), errors.ALREADY_SECONDARY, "port"
    ),
}  # fmt: skip

CHANGE_ORDER: dict[str, tuple[ServersState, ModifyRequest, ErrorKind]] = {
    "not enabled before version": (
        state(manager=key_manager(enabled=False), nodes=(OLD_NODE,)), TIMEOUT, errors.NOT_ENABLED,
    ),
    "version before metrocluster": (state(nodes=(OLD_NODE,), cluster=METROCLUSTER), TIMEOUT, errors.CLUSTER_VERSION),
    "metrocluster before certificates": (state(cluster=METROCLUSTER, certificates=()), TIMEOUT, errors.METROCLUSTER),
    "certificates before the server": (state(certificates=()), TIMEOUT, errors.CERTIFICATE_NOT_INSTALLED),
    "the server before the release": (
        state(nodes=(BEFORE_PORTS,)), change(port=1), errors.KEY_SERVER_NOT_CONFIGURED,
    ),
    "the release before the credential": (
        state(server("a"), nodes=(BEFORE_PORTS,)), change(port=1, password="p"), errors.PORT_RELEASE,
    ),
    "the credential before the secondaries": (
        state(server("a")), change(password="p", secondary_key_servers=("a",)), errors.MISSING_USERNAME,
    ),
    "own secondaries before others": (
        state(server("a"), server("a:7", 2)), change(port=7, secondary_key_servers=("a",)),
        errors.SECONDARY_IS_OWN_PRIMARY,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_CHANGED.values(), ids=NOT_CHANGED)
def test_change_refused(case: tuple[ServersState, ModifyRequest, ErrorKind, str | None]) -> None:
    """Each rule that a change breaks gives its code and names the field at fault."""
    given, request, kind, target = case
    with pytest.raises(OntapError) as raised:
        plan_modify(given, request)
    assert (raised.value.kind, raised.value.target) == (kind, target)


def test_the_field_at_fault_in_a_change() -> None:
    """It is a field of the request, else the port if that changes, else the server in the path."""
    assert change(timeout=7, port=7).target(0, "timeout") == "timeout"
    assert change(timeout=7, port=7).target(0, "server") == "port"
    assert change(timeout=7).target(0, "server") == "server"


@pytest.mark.parametrize("case", CHANGE_ORDER.values(), ids=CHANGE_ORDER)
def test_change_order(case: tuple[ServersState, ModifyRequest, ErrorKind]) -> None:
    """Of two broken rules, the earlier one is reported, in the order of an add."""
    with pytest.raises(OntapError) as raised:
        plan_modify(*case[:2])
    assert raised.value.kind is case[2]


# What is asked of a server with a credential and two secondaries, what differs afterwards, and whether it is proved.
STORED = replace(WITH_CREDENTIAL, secondary_key_servers=("x", "y"), tls_server_name="kms", replication_domain="d")
CHANGES: dict[str, tuple[ModifyRequest, dict[str, Any], bool]] = {
    "timeouts": (
        change(timeout=-1, create_remove_timeout=0), {"timeout": -1, "create_remove_timeout": 0}, False,
    ),
    "what is so already": (
        change(port=5696, username="u", secondary_key_servers=("x", "y"), tls_server_name="kms"), {}, False,
    ),
    "port": (change(port=7), {"address": ServerAddress("a", 7)}, True),
    "secondaries": (change(secondary_key_servers=("z", "y", "x")), {"secondary_key_servers": ("z", "y", "x")}, True),
    "secondaries in another order": (
        change(secondary_key_servers=("y", "x")), {"secondary_key_servers": ("y", "x")}, True,
    ),
    "no secondaries": (change(secondary_key_servers=()), {"secondary_key_servers": ()}, True),
    "another name": (change(tls_server_name="kms2"), {"tls_server_name": "kms2"}, True),
    "no name": (change(tls_server_name=""), {"tls_server_name": ""}, True),
    "declared to be in a cluster": (change(replication_domain="a"), {"replication_domain": "a"}, False),
    "no longer declared": (change(replication_domain=""), {"replication_domain": ""}, False),
    "another username": (change(username="v", password="p"), {"username": "v", "sealed_password": None}, True),
    "another password": (change(password="p"), {"sealed_password": None}, True),
    "both, the username the same": (change(username="u", password="p"), {"sealed_password": None}, True),
    "no username": (change(username=""), {"username": "", "sealed_password": None}, True),
    "no credential": (change(username="", password=""), {"username": "", "sealed_password": None}, True),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES.values(), ids=CHANGES)
def test_change_accepted(case: tuple[ModifyRequest, dict[str, Any], bool]) -> None:
    """A change sets what was asked and nothing else; the plan has the new password and the servers to be proved."""
    request, differs, proves = case
    plan = plan_modify(state(STORED, server("b", 2)), request)
    expected = replace(STORED, **differs)
    # Addresses are equal however they are spelled: what is shown counts as well.
    assert (plan.server, str(plan.server.address)) == (expected, str(expected.address))
    assert plan.password == (request.password or None)
    assert plan.proves is proves


def test_the_spelling_of_the_host_stays() -> None:
    """A server is found by any spelling of its host, and is shown in the stored spelling."""
    plan = plan_modify(state(server("Host.Example.")), change("host.example", port=7))
    assert str(plan.server.address) == "Host.Example.:7"


def test_no_credential_cleared_again() -> None:
    """Clearing an absent credential changes nothing, and nothing must be proved."""
    for request in (change(username=""), change(password=""), change(username="", password="")):
        plan = plan_modify(state(server("a")), request)
        assert (plan.server, plan.password, plan.proves) == (server("a"), None, False)


def test_an_old_node_allows_what_it_knows() -> None:
    """An older node forbids only new secondaries; removals, unchanged secondaries and time-outs are allowed."""
    given = state(server("a", 1, ("x",)), nodes=(BEFORE_SECONDARIES,))
    assert plan_modify(given, change(secondary_key_servers=())).server.secondary_key_servers == ()
    assert plan_modify(given, TIMEOUT).server.secondary_key_servers == ("x",)
    assert plan_add(state(nodes=(BEFORE_SECONDARIES,)), A).servers == A.servers


def test_a_change_of_four() -> None:
    """A server can be changed when there are as many servers as permitted."""
    assert plan_modify(state(*FOUR), change("s3", port=7)).server.position == 3


# --- remove ---

NOT_REMOVED: dict[str, tuple[ServersState, ErrorKind]] = {
    "not enabled": (state(server("a"), manager=key_manager(enabled=False)), errors.NOT_ENABLED),
    "old node": (state(server("a"), nodes=(NODE, OLD_NODE)), errors.CLUSTER_VERSION),
    "metrocluster": (state(server("a"), cluster=METROCLUSTER), errors.METROCLUSTER),
    "unknown": (state(server("b")), errors.KEY_SERVER_NOT_CONFIGURED),
    "a secondary": (state(server("b", 1, ("a",))), errors.KEY_SERVER_NOT_CONFIGURED),
    "not enabled before unknown": (state(manager=key_manager(enabled=False)), errors.NOT_ENABLED),
}


@pytest.mark.parametrize("case", NOT_REMOVED.values(), ids=NOT_REMOVED)
def test_removal_refused(case: tuple[ServersState, ErrorKind]) -> None:
    """Each rule that a removal breaks gives its code."""
    with pytest.raises(OntapError) as raised:
        plan_remove(case[0], HOST)
    assert raised.value.kind is case[1]


@pytest.mark.parametrize("servers", [(server("A."),), (*FOUR[:2], server("a", 5))], ids=["the last", "one of many"])
def test_removal_accepted(servers: tuple[KeyServer, ...]) -> None:
    """A server may be removed, also the last one, and also when its certificates are gone."""
    assert plan_remove(state(*servers, certificates=()), HOST) is servers[-1]


# --- probe ---


@pytest.mark.parametrize(
    ("asked", "probed"),
    [((), FOUR), (("S2.", "s1:5696", "s2"), FOUR[:2]), (("s4",), FOUR[3:])],
    ids=["all", "each once, in the stored order", "one"],
)
def test_stored_servers_are_probed(asked: tuple[str, ...], probed: tuple[KeyServer, ...]) -> None:
    """All, or those that are named in whatever spelling; also when there is no room for another."""
    assert plan_probe(state(*FOUR), tuple(map(ServerAddress.parse, asked))) == probed


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        (state(*FOUR, manager=key_manager(enabled=False)), errors.NOT_ENABLED),
        (state(*FOUR, nodes=(NODE, OLD_NODE)), errors.CLUSTER_VERSION),
        (state(*FOUR, certificates=()), errors.CERTIFICATE_NOT_INSTALLED),
        (state(*FOUR), errors.KEY_SERVER_NOT_CONFIGURED),
        (state(server("b", 1, ("a",))), errors.KEY_SERVER_NOT_CONFIGURED),
    ],
    ids=["not enabled", "old node", "no certificates", "unknown", "a secondary"],
)
def test_probe_refused(case: ServersState, kind: ErrorKind) -> None:
    """Each rule gives its code; an address that is no primary is named."""
    with pytest.raises(OntapError) as raised:
        plan_probe(case, (HOST,))
    assert raised.value.kind is kind
    if kind is errors.KEY_SERVER_NOT_CONFIGURED:
        assert (raised.value.target, raised.value.arguments) == ("servers", (("server", "a:5696"),))


def test_servers_change_only_while_all_nodes_are_heard() -> None:
    """If the setting asks for it; ``force`` removes one nevertheless. The error names the node."""
    out = replace(NODE, uuid="node-2", name="n2", heard_at=NOON, has_left=True)
    found = replace(state(server("a"), nodes=(replace(NODE, heard_at=NOON), out)), quorum=Quorum(required=True))
    address = server("a").address
    for verb, plan in (
        ("add", lambda: plan_add(found, A)),
        ("modify", lambda: plan_modify(found, ModifyRequest(address, timeout=7))),
        ("remove", lambda: plan_remove(found, address)),
    ):
        with pytest.raises(OntapError, match=f'Cannot {verb} a key server while a node is out of quorum: "n2"'):
            plan()
    assert plan_remove(found, address, force=True).address == address
