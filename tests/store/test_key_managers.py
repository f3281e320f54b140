"""Rows of key managers and of the cluster's options, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from keystead.core.model import Cluster, Options
from keystead.service.ports.store import StoreConflict, StoreError
from tests.store import samples
from tests.store.samples import OTHER_SVM, SVM

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore


async def test_a_key_manager_is_changed_as_a_whole(filled: SqlStore) -> None:
    """All columns and the ordered CA certificates are replaced; owner and servers stay."""
    changed = replace(
        samples.key_manager(svm=SVM),
        enabled=False,
        client_certificate="cert-2",
        server_ca_certificates=("ca-3", "ca-1", "ca-4"),
        policy="p",
        configuration_name="c",
    )
    await filled.write(lambda tx: tx.change_key_manager(changed))
    assert await filled.read(lambda tx: tx.key_manager("km-1")) == changed
    assert len(await filled.read(lambda tx: tx.key_servers("km-1"))) == 3
    used = await filled.read(
        lambda tx: [bool(tx.certificate_users(uuid)) for uuid in ("cert-1", "cert-2", "ca-2", "ca-4")]
    )
    assert used == [False, True, False, True]


async def test_a_deleted_key_manager_takes_its_servers_along(filled: SqlStore) -> None:
    """Its servers are deleted, other servers stay, and its certificates are free."""

    def add(tx: Transaction) -> None:
        tx.add_key_manager(samples.key_manager("km-2", OTHER_SVM))
        tx.add_key_servers([samples.key_server(1, manager="km-2")])

    await filled.write(add)
    await filled.write(lambda tx: tx.delete_key_manager("km-1"))
    left = await filled.read(lambda tx: (tx.key_manager("km-1"), tx.key_servers("km-1"), len(tx.key_servers("km-2"))))
    assert left == (None, (), 1)
    await filled.write(lambda tx: tx.delete_key_manager("km-2"))
    used = await filled.read(lambda tx: (tx.certificate("cert-1") is not None, bool(tx.certificate_users("cert-1"))))
    assert used == (True, False)


async def test_one_key_manager_of_an_owner_is_enabled(filled: SqlStore) -> None:
    """Enabling a second key manager of an owner is a conflict."""
    other = samples.key_manager("km-2", SVM, enabled=False)
    await filled.write(lambda tx: tx.add_key_manager(other))
    with pytest.raises(StoreConflict):
        await filled.write(lambda tx: tx.change_key_manager(replace(other, enabled=True)))


async def test_a_key_manager_that_is_not_enabled_is_its_owners_too(store: SqlStore) -> None:
    """A key manager that is not enabled is found if the owner has no enabled one."""
    inactive = samples.key_manager("km-1", enabled=False)
    await store.write(lambda tx: tx.add_key_manager(inactive))
    assert await store.read(lambda tx: tx.key_manager_of(None)) == inactive


async def test_enabled_key_managers_are_read_at_once(filled: SqlStore) -> None:
    """The enabled key managers of named SVMs and the cluster are read together."""
    of_cluster = samples.key_manager("km-2")

    def add(tx: Transaction) -> None:
        tx.add_key_manager(of_cluster)
        tx.add_key_manager(samples.key_manager("km-3", OTHER_SVM, enabled=False))

    await filled.write(add)
    for asked, found in (
        (["svm-1", "svm-2"], (samples.key_manager(svm=SVM), of_cluster)),
        (["svm-2", "absent"], (of_cluster,)),
        ([], (of_cluster,)),
    ):
        assert await filled.read(lambda tx: tx.enabled_key_managers(asked)) == found  # noqa: B023 - run at once


async def test_key_servers_of_several_are_read_at_once(filled: SqlStore) -> None:
    """Servers are grouped by key manager, each in order and with its own secondaries."""
    others = [
        replace(samples.key_server(position, manager="km-2"), secondary_key_servers=hosts)
        for position, hosts in ((0, ("x", "y")), (1, ()))
    ]

    def add(tx: Transaction) -> None:
        tx.add_key_manager(samples.key_manager("km-2", OTHER_SVM))
        tx.add_key_servers(others[::-1])

    await filled.write(add)
    own = tuple(samples.key_server(position) for position in range(3))
    found = await filled.read(lambda tx: tx.key_servers_of(["km-2", "absent", "km-1"]))
    assert found == (*own, *others)
    assert await filled.read(lambda tx: tx.key_servers_of([])) == ()


async def test_certificates_are_found_by_name_and_owner(filled: SqlStore) -> None:
    """A certificate of the cluster with the same name is another certificate."""
    of_cluster = samples.certificate("cert-2", name="name of cert-1")
    await filled.write(lambda tx: tx.add_certificate(of_cluster))
    found = await filled.read(
        lambda tx: [tx.certificate_named(owner, "name of cert-1") for owner in ("svm-1", None, "svm-2")]
    )
    assert found == [samples.certificate(svm=SVM), of_cluster, None]
    names = await filled.read(lambda tx: tx.certificate_names(["cert-2", "gone", "cert-1", "cert-1"]))
    assert names == {"cert-1": "name of cert-1", "cert-2": "name of cert-1"}
    assert await filled.read(lambda tx: tx.certificate_names([])) == {}


async def test_options_have_defaults_and_are_replaced(store: SqlStore) -> None:
    """A value equal to its default is not stored, so that a later default applies."""
    assert await store.read(lambda tx: tx.options()) == Options()
    changed = Options(audit_http=True, health_monitor_polling_interval=30)
    await store.write(lambda tx: tx.put_options(changed))
    assert await store.read(lambda tx: tx.options()) == changed
    with store.database.reader.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM options")).scalar() == 2
    await store.write(lambda tx: tx.put_options(Options()))
    assert await store.read(lambda tx: tx.options()) == Options()
    with store.database.reader.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM options")).scalar() == 0


async def test_options_of_another_release_are_left_alone(store: SqlStore) -> None:
    """An unknown option is skipped; a damaged value raises StoreError."""
    insert = text("INSERT INTO options (name, value) VALUES (:name, :value)")
    with store.database.writer.begin() as connection:
        connection.execute(insert, {"name": "of tomorrow", "value": "1"})
    assert await store.read(lambda tx: tx.options()) == Options()
    with store.database.writer.begin() as connection:
        connection.execute(insert, {"name": "audit_cli", "value": "yes"})
    with pytest.raises(StoreError):
        await store.read(lambda tx: tx.options())


async def test_the_cluster_can_be_held(store: SqlStore) -> None:
    """Of two writers that lock the cluster, the second sees the changes of the first."""
    await store.write(lambda tx: tx.put_cluster(Cluster("c", "0")))

    def count(tx: Transaction) -> None:
        cluster = tx.cluster(lock=True)
        assert cluster is not None
        tx.put_cluster(replace(cluster, name=str(int(cluster.name) + 1)))

    await asyncio.gather(*(store.write(count) for _ in range(10)))
    found = await store.read(lambda tx: tx.cluster())
    assert found is not None
    assert found.name == "10"
