"""Pages: restriction, order and continuation of every kind, on SQLite and on PostgreSQL."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.model import Certificate, CertificateType, KeyManager, KeyServer, Node, Release, Svm
from keystead.core.server_address import ServerAddress
from keystead.service.ports.page import Page
from keystead.store import kinds
from tests.store import samples
from tests.store.samples import OTHER_SVM, SVM

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore

CERTIFICATES = (
    samples.certificate("c1", SVM),
    samples.certificate("c2", None, intermediates=()),
    samples.certificate("c3", OTHER_SVM, type=CertificateType.SERVER_CA, key_size=4096, sealed_private_key=None),
    samples.certificate("c4", SVM),
)
MANAGERS = (
    samples.key_manager("k1", SVM),
    samples.key_manager("k2", None),
    samples.key_manager("k3", OTHER_SVM, enabled=False),
)
SERVERS = tuple(samples.key_server(position, manager="k1") for position in range(4))
NODES = (Node("n1", "one", Release(9, 18, 1)), Node("n2", "two", Release(9, 5, 0)))
ALL: dict[type, tuple[Any, ...]] = {
    Certificate: CERTIFICATES,
    KeyManager: MANAGERS,
    KeyServer: SERVERS,
    Svm: (SVM, OTHER_SVM),
    Node: NODES,
}


@pytest.fixture
async def listed(store: SqlStore) -> SqlStore:
    """Return a store with a few rows of each kind, inserted backwards."""

    def work(tx: Transaction) -> None:
        for svm in (OTHER_SVM, SVM):
            tx.add_svm(svm)
        for certificate in reversed(CERTIFICATES):
            tx.add_certificate(certificate)
        for manager in reversed(MANAGERS):
            tx.add_key_manager(manager)
        tx.add_key_servers(SERVERS[::-1])
        tx.add_key_servers([samples.key_server(0, manager="k2")])
        for node in reversed(NODES):
            tx.put_node(node)

    await store.write(work)
    return store


@pytest.mark.parametrize("kind", list(ALL), ids=lambda kind: kind.__name__)
async def test_pages_follow_each_other(listed: SqlStore, kind: type[Any]) -> None:
    """Each page continues after the last row of the one before, in order, until the end."""
    equals = {"key_manager": "k1"} if kind is KeyServer else {}
    found: list[Any] = []
    while True:
        after = (getattr(found[-1], kinds.KINDS[kind].order),) if found else None
        page = Page(after=after, limit=1).within(**equals)
        rows = await listed.read(lambda tx: tx.page(kind, page))  # noqa: B023 - run at once
        if not rows:
            break
        found += rows
    assert tuple(found) == ALL[kind]


@pytest.mark.parametrize(
    ("kind", "equals", "expected"),
    [
        (Certificate, {"svm_uuid": "svm-1"}, ["c1", "c4"]),
        (Certificate, {"svm_name": "svm2"}, ["c3"]),
        (Certificate, {"svm_uuid": None}, ["c2"]),
        (Certificate, {"svm_name": None}, ["c2"]),
        (Certificate, {"type": "server_ca"}, ["c3"]),
        (Certificate, {"key_size": 2048, "svm_name": "svm1"}, ["c1", "c4"]),
        (Certificate, {"name": "name of c4"}, ["c4"]),
        (Certificate, {"name": "name of c4", "uuid": "c1"}, []),
        (Certificate, {"key_size": 2**63}, []),
        (Certificate, {"key_size": 2**40}, []),
        (KeyManager, {"enabled": True}, ["k1", "k2"]),
        (KeyManager, {"enabled": False}, ["k3"]),
        (KeyManager, {"svm_name": None}, ["k2"]),
        (KeyServer, {"key_manager": "k1", "username": "user", "position": 2}, ["k1-server-2"]),
        (KeyServer, {"address": ServerAddress.parse("HOST3.example.").key, "key_manager": "k1"}, ["k1-server-3"]),
        (Svm, {"name": "svm2"}, ["svm-2"]),
        (Node, {"name": "one"}, ["n1"]),
    ],
)
async def test_a_page_is_restricted_by_equality(
    listed: SqlStore, kind: type[Svm], equals: dict[str, Any], expected: list[str]
) -> None:
    """A page is restricted by the model's names, also by null; a number too large for a column equals nothing."""
    found = await listed.read(lambda tx: tx.page(kind, Page().within(**equals)))
    assert [value.uuid for value in found] == expected


async def test_a_position_beyond_all_is_the_end(listed: SqlStore) -> None:
    """A position after the last row gives an empty page, also one that no column could hold."""
    assert await listed.read(lambda tx: tx.page(KeyServer, Page(after=(2**70,)).within(key_manager="k1"))) == ()


async def test_an_unknown_column_is_a_fault_of_the_caller(listed: SqlStore) -> None:
    """An unknown column is refused before the database is asked."""
    with pytest.raises(KeyError):
        await listed.read(lambda tx: tx.page(Svm, Page().within(nam="x")))


@pytest.mark.parametrize("kind", kinds.KINDS.values(), ids=lambda kind: kind.main.name)
def test_nothing_sealed_restricts_a_page(kind: kinds.Kind[Any]) -> None:
    """A page cannot be restricted by a sealed value, because equality would compare secrets."""
    secrets = {item.name for item in fields(kind.model) if not item.repr}
    assert not secrets & kind.columns.keys()
    assert not [name for name in kind.columns if name.startswith("sealed_")]
