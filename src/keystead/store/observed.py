"""Rows of observations of key servers and of events, as a transaction reads and writes them."""

# ruff: noqa: D102, SLF001 - the port documents the methods; Row._mapping is SQLAlchemy's public name
from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from keystead.core.announcing import AnnouncedState
from keystead.core.model import Observation, PeerCertificate, State
from keystead.store import tables
from keystead.store.kinds import EVENT, KEY_MANAGER, KEY_SERVER
from keystead.store.statements import Parameters, Statements

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from sqlalchemy import Row

    from keystead.core.model import Event, KeyManager, KeyServer

_observations = tables.observations.c
_events = tables.events.c
_CHANGE_MARKER = select(tables.audit_heads.c.node, tables.audit_heads.c.configuration).order_by(
    tables.audit_heads.c.node
)
_ENABLED = KEY_MANAGER.everything.where(tables.key_managers.c.enabled == 1)
_AMONG = tables.key_managers.c.uuid.in_(bindparam("uuids", expanding=True))
_KEY_MANAGERS = KEY_MANAGER.everything.where(_AMONG)
_LOCK_FREE_KEY_MANAGERS = (
    select(tables.key_managers.c.uuid)
    .where(_AMONG)
    .order_by(tables.key_managers.c.uuid)
    .with_for_update(skip_locked=True)
)
_WATCHED_SERVERS = (
    KEY_SERVER.everything.where(
        tables.key_servers.c.key_manager.in_(
            select(tables.key_managers.c.uuid).where(tables.key_managers.c.enabled == 1)
        )
    )
    .order_by(None)
    .order_by(tables.key_servers.c.key_manager, tables.key_servers.c.position, tables.secondary_key_servers.c.position)
)
_OF_NODE = select(tables.observations).where(_observations.node == bindparam("n"))
_OF_SERVERS = (
    select(tables.observations)
    .where(_observations.key_server.in_(bindparam("servers", expanding=True)))
    .order_by(_observations.key_server, _observations.host, _observations.node)
)
_CHANGING = (
    "state",
    "since",
    "stage",
    "reason",
    "certificates",
    "last_available",
    "latency_ms",
    "keys_visible",
    "hidden_since",
)
_UPDATE = (
    update(tables.observations)
    .where(
        _observations.node == bindparam("the_node"),
        _observations.key_server == bindparam("the_server"),
        _observations.host == bindparam("the_host"),
    )
    .values({name: bindparam(name) for name in _CHANGING})
)
_WHERE = {"node": "the_node", "key_server": "the_server", "host": "the_host"}
_ADD = insert(tables.observations)
_FORGET = delete(tables.observations).where(
    _observations.key_server == bindparam("server"), _observations.host.not_in(bindparam("hosts", expanding=True))
)
_announced = tables.announced_states.c
_ALL_ANNOUNCED = select(tables.announced_states).order_by(_announced.key_server, _announced.host)
_ANNOUNCED = _ALL_ANNOUNCED.where(_announced.key_server.in_(bindparam("servers", expanding=True)))
_REVOKE = delete(tables.announced_states).where(
    _announced.key_server == bindparam("server"), _announced.host == bindparam("the_host")
)
_FORGET_ANNOUNCED = delete(tables.announced_states).where(
    _announced.key_server == bindparam("server"), _announced.host.not_in(bindparam("hosts", expanding=True))
)
_LOCK_NODE = select(tables.nodes.c.uuid).where(tables.nodes.c.uuid == bindparam("u")).with_for_update(key_share=True)
"""A lock that lets others read the node's process, as every transaction does that writes."""
_LAST = select(func.max(_events.index).label("last")).where(_events.node == bindparam("n"))
_DROP = delete(tables.events).where(_events.node == bindparam("n"), _events.index <= bindparam("last"))
_EVENT = EVENT.within(node="n", index="i")
_NAMED = EVENT.where(node="n").where(_events.name.in_(bindparam("names", expanding=True)))

INDEXES = range(1, 2**63)
"""The possible indexes of an event."""


class ObservedRows(Statements):
    """The rows of watched key servers, observations and events."""

    def change_marker(self) -> tuple[tuple[str, int], ...]:
        return self.all(_CHANGE_MARKER, {}, lambda row: (row.node, row.configuration))

    def watched(self) -> tuple[tuple[KeyManager, tuple[KeyServer, ...]], ...]:
        servers = {
            key_manager: tuple(group)
            for key_manager, group in groupby(
                self.values_of(KEY_SERVER, _WATCHED_SERVERS, {}), key=attrgetter("key_manager")
            )
        }
        return tuple((found, servers.get(found.uuid, ())) for found in self.values_of(KEY_MANAGER, _ENABLED, {}))

    def key_managers(self, uuids: Sequence[str]) -> tuple[KeyManager, ...]:
        return self.values_of(KEY_MANAGER, _KEY_MANAGERS, {"uuids": list(uuids)})

    def lock_free_key_managers(self, uuids: Sequence[str]) -> tuple[KeyManager, ...]:
        free: Sequence[str] = uuids
        if self.row_locks:
            free = self.all(_LOCK_FREE_KEY_MANAGERS, {"uuids": list(uuids)}, lambda row: str(row.uuid))
        return self.key_managers(free)

    def observations_of_node(self, node: str) -> tuple[Observation, ...]:
        return self.all(_OF_NODE, {"n": node}, _observation)

    def observations(self, key_servers: Collection[str]) -> tuple[Observation, ...]:
        return self.all(_OF_SERVERS, {"servers": list(key_servers)}, _observation) if key_servers else ()

    def put_observations(self, observations: Sequence[Observation], *, new: bool) -> None:
        rows = [_row(observation) for observation in observations]
        if rows and new:
            self.change(_ADD, rows)
        elif rows:
            self.change(_UPDATE, [{_WHERE.get(name, name): value for name, value in row.items()} for row in rows])

    def forget_observations(self, key_server: str, hosts: Iterable[str]) -> None:
        of_others = {"server": key_server, "hosts": list(hosts)}
        self.change(_FORGET, of_others)
        self.change(_FORGET_ANNOUNCED, of_others)

    def announced_states(self, key_servers: Collection[str] | None = None) -> tuple[AnnouncedState, ...]:
        if key_servers is None:
            return self.all(_ALL_ANNOUNCED, {}, _announced_state)
        return self.all(_ANNOUNCED, {"servers": list(key_servers)}, _announced_state) if key_servers else ()

    def put_announced_states(self, states: Sequence[AnnouncedState]) -> None:
        if states:
            self.change(_REVOKE, [{"server": each.key_server, "the_host": each.host} for each in states])
        rows = [asdict(each) | {"keys_hidden": int(each.keys_hidden)} for each in states if each.is_bad]
        if rows:
            self.change(insert(tables.announced_states), rows)

    def add_events(self, events: Sequence[Event], keep: int) -> None:
        self.announced += events
        for node, group in groupby(sorted(events, key=attrgetter("node")), key=attrgetter("node")):
            self.lock(_LOCK_NODE, node)
            last = self.one(_LAST, {"n": node}, lambda row: row.last) or 0
            numbered = [replace(event, index=index) for index, event in enumerate(group, last + 1)]
            self.change(insert(tables.events), [_event_row(event) for event in numbered])
            self.change(_DROP, {"n": node, "last": numbered[-1].index - keep})

    def event(self, node: str, index: int, *, within: str | None = None) -> Event | None:
        bound = {"n": node, "i": index, "w": within}
        return self.value_of(EVENT, _EVENT, bound) if index in INDEXES else None

    def events_named(self, node: str, names: Collection[str]) -> tuple[Event, ...]:
        return self.values_of(EVENT, _NAMED, {"n": node, "names": list(names)})


def _event_row(event: Event) -> Parameters:
    return {
        "node": event.node,
        "index": event.index,
        "key": event.key,
        "time": event.time,
        "name": event.name,
        "severity": event.severity,
        "svm_uuid": event.svm.uuid if event.svm else None,
        "parameters": json.dumps(event.parameters),
        "log_message": event.log_message,
    }


def _row(observation: Observation) -> Parameters:
    certificates = [
        [certificate.subject, certificate.issuer, certificate.serial_number, *_validity(certificate)]
        for certificate in observation.certificates
    ]
    return {
        "node": observation.node,
        "key_server": observation.key_server,
        "host": observation.host,
        "state": observation.state.value,
        "since": observation.since,
        "stage": observation.stage,
        "reason": observation.reason,
        "certificates": json.dumps(certificates),
        "last_available": observation.last_available,
        "latency_ms": observation.latency_ms,
        "keys_visible": None if observation.keys_visible is None else int(observation.keys_visible),
        "hidden_since": observation.hidden_since,
    }


def _observation(row: Row[Any]) -> Observation:
    values = dict(row._mapping) | {
        "state": State(row.state),
        "certificates": tuple(_certificates(row.certificates)),
        "keys_visible": None if row.keys_visible is None else bool(row.keys_visible),
    }
    return Observation(**values)


def _announced_state(row: Row[Any]) -> AnnouncedState:
    return AnnouncedState(row.key_server, row.host, row.reason, bool(row.keys_hidden))


def _certificates(text: str) -> Iterator[PeerCertificate]:
    for subject, issuer, serial_number, *validity in json.loads(text):
        yield PeerCertificate(subject, issuer, serial_number, *map(datetime.fromisoformat, validity))


def _validity(certificate: PeerCertificate) -> list[str]:
    ends = (certificate.not_after, certificate.not_before)
    return [end.isoformat() for end in ends if end is not None]
