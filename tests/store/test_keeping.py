"""Rows of profiles, digest keys, incarnations, leases, detached servers and found objects, on both engines."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest

from keystead.core.keys.epoch_markers import as_held, first_marker, next_marker
from keystead.core.keys.model import ClusterKey, Detached, Incarnation, KeyForm, Lease, Orphan
from keystead.service.ports.store import StoreError
from tests.store import samples
from tests.store.keys import profile
from tests.store.samples import NODE, NOON, OTHER_SVM

if TYPE_CHECKING:
    from keystead.core.keys.epoch_markers import EpochMarker
    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore


PROFILES = [
    profile(),
    profile(canary=(), sees=(), operations=(), object_types=(), version="", vendor=""),
    replace(profile(), application_information=not profile().application_information),
    replace(profile(), locate_by_name=not profile().locate_by_name),
    replace(profile(), locate_offset=not profile().locate_offset),
    replace(profile(), batches=not profile().batches),
    replace(profile(), activates=not profile().activates),
]


async def test_a_profile_comes_back_and_is_replaced(store: SqlStore) -> None:
    """Every field is read back with its order; a profile can be replaced and deleted."""
    for stored in PROFILES:
        await store.write(lambda tx: (tx.put_profile(stored), tx.put_profile(profile("server-0"))))  # noqa: B023
        both = await store.read(lambda tx: tx.profiles(["server-1", "absent", "server-0"]))
        assert both == (profile("server-0"), stored)
    other = profile(form=KeyForm.SECRET_DATA, canary_digest=b"new", sees=())
    await store.write(lambda tx: (tx.put_profile(other), tx.delete_profile("server-0"), tx.delete_profile("absent")))
    assert await store.read(lambda tx: tx.profiles(["server-0", "server-1"])) == (other,)
    assert await store.read(lambda tx: tx.profiles([])) == ()


FENCES = [
    first_marker("server-1", "incarnation", b"\x00token"),
    next_marker(as_held(first_marker("server-1", "other", b"one"), ("a", "b")), b"two"),
]


@pytest.mark.parametrize("marker", FENCES)
async def test_a_fence_comes_back_and_is_replaced(store: SqlStore, marker: EpochMarker) -> None:
    """Every field of a marker is read back; it is deleted with the server's profile."""
    await store.write(lambda tx: tx.put_epoch_marker(first_marker("server-0", "x", b"")))
    for stored in (marker, as_held(marker, ("c",))):
        await store.write(lambda tx: tx.put_epoch_marker(stored))  # noqa: B023 - awaited
        assert await store.read(lambda tx: tx.epoch_marker("server-1")) == stored
    await store.write(lambda tx: tx.delete_profile("server-1"))
    assert await store.read(lambda tx: tx.epoch_marker("server-1")) is None
    assert await store.read(lambda tx: tx.epoch_marker("server-0")) == first_marker("server-0", "x", b"")


async def test_a_key_manager_has_one_digest_key(filled: SqlStore) -> None:
    """A second digest key is refused; the digest key is deleted with its key manager."""
    await filled.write(lambda tx: tx.add_digest_key("km-1", b"\x00\xff"))
    with pytest.raises(StoreError):
        await filled.write(lambda tx: tx.add_digest_key("km-1", b"other"))
    with pytest.raises(StoreError):
        await filled.write(lambda tx: tx.add_digest_key("absent", b"other"))
    assert await filled.read(lambda tx: (tx.digest_key("km-1"), tx.digest_key("km-2"))) == (b"\x00\xff", None)
    await filled.write(lambda tx: tx.delete_key_manager("km-1"))
    assert await filled.read(lambda tx: tx.digest_key("km-1")) is None


async def test_of_two_that_make_a_digest_key_one_does(filled: SqlStore) -> None:
    """Under the key manager's lock, the second process finds the digest key of the first."""

    def make(value: bytes, tx: Transaction) -> bytes:
        tx.key_manager("km-1", lock=True)
        found = tx.digest_key("km-1")
        if found is None:
            tx.add_digest_key("km-1", value)
        return found or value

    made = await asyncio.gather(*(filled.write(partial(make, bytes([n]))) for n in range(8)))
    assert len(set(made)) == 1


async def test_a_database_begins_with_an_incarnation(store: SqlStore) -> None:
    """The newest incarnation counts; storing its number again changes it."""
    first = await store.read(lambda tx: tx.incarnation())
    assert first is not None
    assert (first.number, first.destroys) == (1, True)
    second = Incarnation("inc-2", 2, NOON, "restored", "here", destroys=False)
    released = replace(second, destroys=True, storage="there")
    for stored in (second, replace(first, reason="changed"), released):
        await store.write(lambda tx: tx.put_incarnation(stored))  # noqa: B023 - run at once
    assert await store.read(lambda tx: tx.incarnation()) == released
    assert await store.read(lambda tx: tx.incarnations()) == (released, replace(first, reason="changed"))


async def test_a_nodes_epoch_is_kept(store: SqlStore) -> None:
    """The epoch begins with 0 and stays when the node is stored again; an unknown node has none."""
    await store.write(lambda tx: tx.put_node(NODE))
    assert await store.read(lambda tx: tx.node_epoch(NODE.uuid)) == 0
    await store.write(lambda tx: (tx.put_node_epoch(NODE.uuid, 7), tx.put_node(NODE)))
    assert await store.read(lambda tx: (tx.node_epoch(NODE.uuid), tx.node_epoch("absent"))) == (7, 0)


async def test_a_lease_changes_hands_under_its_lock(store: SqlStore) -> None:
    """Processes that take a lease concurrently see each other, so no token is used twice."""
    await store.write(lambda tx: tx.put_lease(Lease("keeper", "", 0, NOON)))

    def take(tx: Transaction) -> int:
        lease = tx.lease("keeper", lock=True)
        assert lease is not None
        tx.put_lease(replace(lease, token=lease.token + 1))
        return lease.token + 1

    tokens = await asyncio.gather(*(store.write(take) for _ in range(8)))
    assert sorted(tokens) == list(range(1, 9))
    last = Lease("keeper", "node-2", 2**40, NOON + timedelta(seconds=30))
    await store.write(lambda tx: tx.put_lease(last))
    assert await store.read(lambda tx: (tx.lease("keeper"), tx.lease("absent"))) == (last, None)


async def test_a_detached_server_is_as_it_was_configured(filled: SqlStore) -> None:
    """Every field is read back, of one key manager or of all, in the order of detaching."""
    changes = {"tls_server_name": "name", "replication_domain": "domain"}
    servers = [samples.key_server(place, **changes) for place in (1, 2)]
    other = samples.key_server(1, manager="km-2", sealed_password=None)
    stored = [Detached(server, NOON - timedelta(seconds=place)) for place, server in enumerate([*servers, other])]

    def detach(tx: Transaction) -> None:
        tx.add_key_manager(samples.key_manager("km-2", OTHER_SVM))
        for each in stored:
            tx.add_detached_key_server(each)

    await filled.write(detach)
    found = await filled.read(lambda tx: (tx.detached_key_servers("km-1"), tx.detached_key_servers()))
    assert found == ((stored[1], stored[0]), (stored[1], stored[0], stored[2]))
    await filled.write(lambda tx: tx.delete_detached_key_server(servers[0].uuid))
    await filled.write(lambda tx: tx.delete_key_manager("km-2"))
    assert await filled.read(lambda tx: tx.detached_key_servers()) == (stored[1],)


async def test_found_objects_keep_the_time_of_the_first_find(filled: SqlStore) -> None:
    """Found objects are stored by server and identifier with the first time; an adopted object is deleted."""
    first = [Orphan("km-1", "s1", uid, f"name {uid}", NOON) for uid in ("a", "b")]
    await filled.write(lambda tx: tx.put_orphans(first))
    later = NOON + timedelta(days=1)
    elsewhere = Orphan("km-1", "s2", "a", "name a", later)
    await filled.write(lambda tx: (tx.put_orphans([replace(first[0], found=later), elsewhere]), tx.put_orphans([])))
    assert await filled.read(lambda tx: (tx.orphans("km-1"), tx.orphans("km-2"))) == ((*first, elsewhere), ())
    assert await filled.read(lambda tx: tx.orphans("km-2", "km-1")) == (*first, elsewhere)
    await filled.write(lambda tx: tx.delete_orphans("s1", ["a", "absent"]))
    assert await filled.read(lambda tx: tx.orphans("km-1")) == (first[1], elsewhere)
    await filled.write(lambda tx: tx.delete_orphans_named([first[1].name, "absent"]))
    assert await filled.read(lambda tx: tx.orphans("km-1")) == (elsewhere,)
    await filled.write(lambda tx: tx.delete_key_manager("km-1"))
    assert await filled.read(lambda tx: tx.orphans("km-1")) == ()


async def test_a_key_of_the_cluster_is_made_once(store: SqlStore) -> None:
    """A second key of the cluster with the same name is refused."""
    signing = ClusterKey("signing", "PEM", b"\x00\xff")
    await store.write(lambda tx: tx.add_cluster_key(signing))
    with pytest.raises(StoreError):
        await store.write(lambda tx: tx.add_cluster_key(replace(signing, sealed=b"other")))
    assert await store.read(lambda tx: (tx.cluster_key("signing"), tx.cluster_key("x"))) == (signing, None)
