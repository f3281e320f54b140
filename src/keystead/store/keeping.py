"""Rows for keeping keys: server profiles, epoch markers, incarnations, leases, detached key servers and orphans."""

# ruff: noqa: D102, SLF001 - the port documents the methods; Row._mapping is SQLAlchemy's public name
from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select, union, update

from keystead.core.keys.epoch_markers import EpochMarker, EpochMarkerState
from keystead.core.keys.model import (
    ClusterKey,
    Detached,
    Dismissal,
    Incarnation,
    KeyForm,
    Lease,
    Orphan,
    ServerProfile,
)
from keystead.core.model import KeyServer
from keystead.core.server_address import ServerAddress
from keystead.store import tables
from keystead.store.statements import Parameters, Statements, columns_of, storing

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Row

_profiles = tables.server_profiles.c
_LISTS = ("canary", "sees", "operations", "object_types")
_FLAGS = ("application_information", "locate_by_name", "locate_offset", "batches", "activates")
_PROFILES = (
    select(tables.server_profiles)
    .where(_profiles.key_server.in_(bindparam("servers", expanding=True)))
    .order_by(_profiles.key_server)
)
_PUT_PROFILE = storing(tables.server_profiles, "key_server")
_DELETE_PROFILE = delete(tables.server_profiles).where(_profiles.key_server == bindparam("s"))
_EPOCH_MARKER = select(tables.fences).where(tables.fences.c.key_server == bindparam("s"))
_PUT_EPOCH_MARKER = storing(tables.fences, "key_server")
_OF_KEY_MANAGER = tables.fences.c.key_server.in_(
    union(
        *(
            select(each.c.uuid).where(each.c.key_manager == bindparam("k"))
            for each in (tables.key_servers, tables.detached_key_servers)
        )
    )
)
_SET_DUE = update(tables.fences).where(_OF_KEY_MANAGER).values(due=1)
_DUE_EPOCH_MARKERS = select(tables.fences.c.key_server).where(_OF_KEY_MANAGER, tables.fences.c.due != 0)
_CLEAR_DUE = update(tables.fences).where(tables.fences.c.key_server == bindparam("s")).values(due=0)
_DELETE_EPOCH_MARKER = delete(tables.fences).where(tables.fences.c.key_server == bindparam("s"))

_DIGEST_KEY = select(tables.digest_keys.c.sealed).where(tables.digest_keys.c.key_manager == bindparam("k"))
_INCARNATIONS = select(tables.incarnations).order_by(tables.incarnations.c.number.desc())
_INCARNATION = _INCARNATIONS.limit(1)
_PUT_INCARNATION = storing(tables.incarnations, "number")
_EPOCH = select(tables.nodes.c.epoch).where(tables.nodes.c.uuid == bindparam("u"))
_STOP_TOKEN = select(tables.nodes.c.stop_token).where(tables.nodes.c.uuid == bindparam("u"))
_PUT_STOP_TOKEN = update(tables.nodes).where(tables.nodes.c.uuid == bindparam("u")).values(stop_token=bindparam("to"))
_VOUCHERS = select(tables.vouchers.c.node).where(tables.vouchers.c.storage == bindparam("s"))
_ADD_VOUCHER = insert(tables.vouchers)
_PUT_EPOCH = update(tables.nodes).where(tables.nodes.c.uuid == bindparam("u")).values(epoch=bindparam("to"))

_LEASE = select(tables.leases).where(tables.leases.c.name == bindparam("u"))
_LOCK_LEASE = _LEASE.with_for_update()
_PUT_LEASE = storing(tables.leases, "name")
_REMOVE_LEASE = delete(tables.leases).where(tables.leases.c.name == bindparam("u"))

_detached = tables.detached_key_servers.c
_DETACHED = select(tables.detached_key_servers).order_by(_detached.key_manager, _detached.detached, _detached.uuid)
_DETACHED_OF = _DETACHED.where(_detached.key_manager == bindparam("k"))
_DELETE_DETACHED = delete(tables.detached_key_servers).where(_detached.uuid == bindparam("u"))

_unclaimed = tables.unclaimed_objects.c
_UNCLAIMED = (
    select(tables.unclaimed_objects)
    .where(_unclaimed.key_manager.in_(bindparam("ks", expanding=True)))
    .order_by(_unclaimed.key_server, _unclaimed.name, _unclaimed.unique_identifier)
)
_DISMISS_UNCLAIMED = (
    update(tables.unclaimed_objects)
    .where(
        _unclaimed.key_manager == bindparam("k"),
        _unclaimed.key_server == bindparam("s"),
        _unclaimed.unique_identifier == bindparam("id"),
    )
    .values(dismissed=bindparam("time"), dismissed_by=bindparam("by"), dismissed_digest=bindparam("digest"))
)
_DELETE_UNCLAIMED = delete(tables.unclaimed_objects).where(
    _unclaimed.key_server == bindparam("s"), _unclaimed.unique_identifier.in_(bindparam("ids", expanding=True))
)
_DELETE_UNCLAIMED_NAMED = delete(tables.unclaimed_objects).where(
    _unclaimed.name.in_(bindparam("names", expanding=True))
)
_CLUSTER_KEY = select(tables.cluster_keys).where(tables.cluster_keys.c.name == bindparam("n"))


class KeepingRows(Statements):
    """The rows about key servers, this database's incarnations, and leases."""

    def profiles(self, key_servers: Collection[str]) -> tuple[ServerProfile, ...]:
        return self.all(_PROFILES, {"servers": list(key_servers)}, _profile) if key_servers else ()

    def put_profile(self, profile: ServerProfile) -> None:
        row = columns_of(tables.server_profiles, profile)
        lists = {name: json.dumps(row[name]) for name in _LISTS}
        self.store(_PUT_PROFILE, row | lists | {name: int(row[name]) for name in _FLAGS} | {"form": profile.form.value})

    def delete_profile(self, key_server: str) -> None:
        self.change(_DELETE_PROFILE, {"s": key_server})
        self.change(_DELETE_EPOCH_MARKER, {"s": key_server})

    def epoch_marker(self, key_server: str) -> EpochMarker | None:
        return self.one(_EPOCH_MARKER, {"s": key_server}, epoch_marker_of)

    def put_epoch_marker(self, marker: EpochMarker) -> None:
        row = columns_of(tables.fences, marker)
        lists = {
            "unique_identifiers": json.dumps(marker.unique_identifiers),
            "behind": json.dumps(marker.previous_identifiers),
        }
        self.store(_PUT_EPOCH_MARKER, row | lists | {"state": marker.state.value})

    def set_epoch_markers_due(self, key_manager: str) -> None:
        self.change(_SET_DUE, {"k": key_manager})

    def due_epoch_markers(self, key_manager: str) -> frozenset[str]:
        return frozenset(self.all(_DUE_EPOCH_MARKERS, {"k": key_manager}, lambda row: str(row.key_server)))

    def clear_epoch_marker_due(self, key_server: str) -> None:
        self.change(_CLEAR_DUE, {"s": key_server})

    def digest_key(self, key_manager: str) -> bytes | None:
        return self.one(_DIGEST_KEY, {"k": key_manager}, lambda row: bytes(row.sealed))

    def add_digest_key(self, key_manager: str, sealed: bytes) -> None:
        self.change(insert(tables.digest_keys), {"key_manager": key_manager, "sealed": sealed})

    def incarnation(self) -> Incarnation | None:
        return self.one(_INCARNATION, {}, _incarnation)

    def incarnations(self) -> tuple[Incarnation, ...]:
        return self.all(_INCARNATIONS, {}, _incarnation)

    def put_incarnation(self, incarnation: Incarnation) -> None:
        row = columns_of(tables.incarnations, incarnation)
        self.store(_PUT_INCARNATION, row | {"destroys": int(incarnation.destroys)})

    def node_epoch(self, node: str) -> int:
        return self.one(_EPOCH, {"u": node}, lambda row: int(row.epoch)) or 0

    def put_node_epoch(self, node: str, epoch: int) -> None:
        self.change(_PUT_EPOCH, {"u": node, "to": epoch})

    def stop_token(self, node: str) -> str:
        return self.one(_STOP_TOKEN, {"u": node}, lambda row: str(row.stop_token)) or ""

    def put_stop_token(self, node: str, token: str) -> None:
        self.change(_PUT_STOP_TOKEN, {"u": node, "to": token})

    def vouchers(self, storage: str) -> frozenset[str]:
        return frozenset(self.all(_VOUCHERS, {"s": storage}, lambda row: str(row.node)))

    def add_voucher(self, storage: str, node: str, time: datetime) -> None:
        if node not in self.vouchers(storage):
            self.change(_ADD_VOUCHER, {"storage": storage, "node": node, "vouched": time})

    def lease(self, name: str, *, lock: bool = False) -> Lease | None:
        wanted = _LOCK_LEASE if lock and self.row_locks else _LEASE
        return self.one(wanted, {"u": name}, lambda row: Lease(**row._mapping))

    def put_lease(self, lease: Lease) -> None:
        self.store(_PUT_LEASE, columns_of(tables.leases, lease))

    def remove_lease(self, name: str) -> None:
        self.change(_REMOVE_LEASE, {"u": name})

    def detached_key_servers(self, key_manager: str | None = None) -> tuple[Detached, ...]:
        wanted = _DETACHED if key_manager is None else _DETACHED_OF
        return self.all(wanted, {} if key_manager is None else {"k": key_manager}, _detached_server)

    def add_detached_key_server(self, detached: Detached) -> None:
        server = detached.server
        row = columns_of(tables.detached_key_servers, server) | {
            "host": server.address.host,
            "port": server.address.port,
            "secondaries": json.dumps(server.secondary_key_servers),
            "detached": detached.detached,
        }
        self.change(insert(tables.detached_key_servers), row)

    def delete_detached_key_server(self, uuid: str) -> None:
        self.change(_DELETE_DETACHED, {"u": uuid})

    def orphans(self, *key_managers: str) -> tuple[Orphan, ...]:
        return self.all(_UNCLAIMED, {"ks": list(key_managers)}, _orphan)

    def put_orphans(self, found: Sequence[Orphan]) -> None:
        known = {
            (each.key_server, each.unique_identifier) for each in self.orphans(*{each.key_manager for each in found})
        }
        rows = [
            columns_of(tables.unclaimed_objects, each)
            for each in found
            if (each.key_server, each.unique_identifier) not in known
        ]
        if rows:
            self.change(insert(tables.unclaimed_objects), rows)

    def dismiss_orphan(self, orphan: Orphan, dismissal: Dismissal | None) -> None:
        place = {"k": orphan.key_manager, "s": orphan.key_server, "id": orphan.unique_identifier}
        values: Parameters = {"time": None, "by": None, "digest": None}
        if dismissal is not None:
            values = {"time": dismissal.time, "by": dismissal.account, "digest": dismissal.digest}
        self.change(_DISMISS_UNCLAIMED, place | values)

    def delete_orphans(self, key_server: str, unique_identifiers: Collection[str]) -> None:
        self.change(_DELETE_UNCLAIMED, {"s": key_server, "ids": list(unique_identifiers)})

    def delete_orphans_named(self, names: Collection[str]) -> None:
        self.change(_DELETE_UNCLAIMED_NAMED, {"names": list(names)})

    def cluster_key(self, name: str) -> ClusterKey | None:
        return self.one(_CLUSTER_KEY, {"n": name}, lambda row: ClusterKey(row.name, row.public, bytes(row.sealed)))

    def add_cluster_key(self, key: ClusterKey) -> None:
        self.change(insert(tables.cluster_keys), columns_of(tables.cluster_keys, key))


def _orphan(row: Row[Any]) -> Orphan:
    dismissal = row.dismissed and Dismissal(row.dismissed, row.dismissed_by, bytes(row.dismissed_digest))
    return Orphan(row.key_manager, row.key_server, row.unique_identifier, row.name, row.found, dismissal)


def _profile(row: Row[Any]) -> ServerProfile:
    values: Parameters = dict(row._mapping)
    lists = {name: _items(values[name]) for name in _LISTS}
    return ServerProfile(**values | lists | {name: bool(values[name]) for name in _FLAGS} | {"form": KeyForm(row.form)})


@lru_cache(maxsize=1024)
def _items(text: str) -> tuple[Any, ...]:
    """Return a list from JSON.

    It is cached, because most servers have the same lists and every key transaction reads them.
    """
    return tuple(json.loads(text))


def epoch_marker_of(row: Row[Any]) -> EpochMarker:
    """Return the epoch marker of a row."""
    values: Parameters = {name: value for name, value in row._mapping.items() if name not in {"due", "behind"}}
    lists = {
        "unique_identifiers": tuple(json.loads(row.unique_identifiers)),
        "previous_identifiers": tuple(json.loads(row.behind)),
    }
    return EpochMarker(**values | lists | {"token": bytes(row.token), "state": EpochMarkerState(row.state)})


def _detached_server(row: Row[Any]) -> Detached:
    server = KeyServer(
        uuid=row.uuid,
        key_manager=row.key_manager,
        position=row.position,
        address=ServerAddress(row.host, row.port),
        timeout=row.timeout,
        create_remove_timeout=row.create_remove_timeout,
        username=row.username,
        secondary_key_servers=tuple(json.loads(row.secondaries)),
        tls_server_name=row.tls_server_name,
        replication_domain=row.replication_domain,
        sealed_password=row.sealed_password,
    )
    return Detached(server, row.detached)


def _incarnation(row: Row[Any]) -> Incarnation:
    return Incarnation(**dict(row._mapping) | {"destroys": bool(row.destroys)})
