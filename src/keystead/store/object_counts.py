"""Counts of our objects on key servers, by kind."""

# ruff: noqa: D102 - the port documents the methods
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, bindparam, case, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from keystead.core.keys.model import Presence
from keystead.core.server_costs import ObjectCounts, marker_objects
from keystead.store import tables
from keystead.store.keeping import epoch_marker_of
from keystead.store.statements import Statements

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import BindParameter
    from sqlalchemy.sql.compiler import SQLCompiler

_copies = tables.key_copies.c
_profiles = tables.server_profiles.c


class json_items(GenericFunction[int]):  # noqa: N801 - named as a function of SQL
    """The number of items in a JSON array that a column holds as text."""

    type = Integer()
    inherit_cache = True


@compiles(json_items)
def _compile_json_items(element: json_items, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_array_length({compiler.process(element.clauses, **options)})"


@compiles(json_items, "postgresql")
def _compile_json_items_there(element: json_items, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_array_length(CAST({compiler.process(element.clauses, **options)} AS JSON))"


_AMONG: BindParameter[Any] = bindparam("servers", expanding=True)
_OF_COPIES = (
    select(
        _copies.key_server,
        func.sum(json_items(_copies.unique_identifiers)).label("keys"),
        func.sum(case((_copies.descriptor != "", 1), else_=0)).label("descriptors"),
    )
    .where(
        _copies.key_server.in_(_AMONG),
        _copies.presence.not_in([Presence.MISSING.value, Presence.DESTROYED.value]),
    )
    .group_by(_copies.key_server)
)
_CANARIES = select(_profiles.key_server, _profiles.canary).where(_profiles.key_server.in_(_AMONG))
_MARKERS = select(tables.fences).where(tables.fences.c.key_server.in_(_AMONG))


class ObjectCountRows(Statements):
    """The counts of objects on key servers."""

    def object_counts(self, key_servers: Collection[str]) -> Mapping[str, ObjectCounts]:
        bound = {"servers": list(key_servers)}
        copies = {row.key_server: row for row in self.all(_OF_COPIES, bound, lambda row: row)}
        canaries = dict(self.all(_CANARIES, bound, lambda row: (row.key_server, len(json.loads(row.canary)))))
        markers = {each.key_server: marker_objects(each) for each in self.all(_MARKERS, bound, epoch_marker_of)}
        return {
            uuid: ObjectCounts(
                keys=int(copies[uuid].keys) if uuid in copies else 0,
                descriptors=int(copies[uuid].descriptors) if uuid in copies else 0,
                canary=canaries.get(uuid, 0),
                markers=markers.get(uuid, 0),
            )
            for uuid in key_servers
        }
