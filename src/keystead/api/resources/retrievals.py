"""The only path that returns key material: ``/security/key-managers/{uuid}/volume-keys/{key_id}/retrieve``.

It is not ONTAP's. Only the role ``key-reader`` may use this path (core/access.py). The answer holds the material. The
material is neither logged nor recorded, and no cache may keep it.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.declared import Form, Paths
from keystead.api.hal import Octets, Reply, render
from keystead.api.operations import acting
from keystead.api.resource import OURS, Field, Group, Resource
from keystead.api.resources.key_fields import key_id_field
from keystead.api.resources.volume_keys import COLLECTION, volume_key_link
from keystead.api.values import BOOLEAN, NUMBER, TEXT, Parameter
from keystead.core import errors
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from keystead.api.hal import Answer
    from keystead.api.query import WriteQuery
    from keystead.api.request import Request

_EXPLAIN = {
    "explain": Parameter(
        BOOLEAN,
        "Whether the answer lists the servers that were tried, in order and with times; only for cluster accounts.",
    )
}

_TRIED = "explanation.tried"

RETRIEVALS = Resource(
    name="retrieved_key",
    help="A key's material, for the role ``key-reader`` only: as base64, or as octets with"
    " ``Accept: application/octet-stream``. Every key read is in the audit log before the answer is sent.",
    declared=(
        key_id_field(attrgetter("key")),
        Field(
            name="material",
            type=TEXT,
            help="The key: 64 bytes as base64.",
            get=lambda view: base64.b64encode(view.material.reveal()).decode(),
            read=Read.KEY,
            since=OURS,
        ),
        Group(name="explanation", help="The way the key was read, with ``explain``.", get=attrgetter("explanation")),
        Field(
            name="explanation.cached",
            type=BOOLEAN,
            help="Whether the node had the key in memory. Then no server was asked.",
            get=attrgetter("cached"),
            since=OURS,
        ),
        Group(name=_TRIED, help="The addresses that were tried, in order.", get=attrgetter("tried"), many=True),
        *(
            Field(name=f"{_TRIED}.{name}", type=type_, help=help_, get=get, since=OURS)
            for name, type_, help_, get in (
                ("server", TEXT, "The primary.", attrgetter("server")),
                (
                    "host",
                    TEXT,
                    "The secondary that was asked instead of the primary.",
                    lambda tried: tried.host or None,
                ),
                (
                    "outcome",
                    TEXT,
                    "``read``; ``circuit_open``: avoided after failures; ``overtaken``; or the reason of the failure.",
                    attrgetter("outcome"),
                ),
                (
                    "elapsed_ms",
                    NUMBER,
                    "Milliseconds; left out if the address was not asked.",
                    attrgetter("elapsed_ms"),
                ),
            )
        ),
    ),
    link=volume_key_link,
    key="key_id",
)
_SHOWN = RETRIEVALS.catalogue.select("**", single=True)


async def _retrieve(request: Request, _: dict[str, Any], query: WriteQuery) -> Answer:
    uuid, key_id = request.path_uuid(), request.key(RETRIEVALS)
    explain = bool(query.own.get("explain"))
    found = await request.services.key_reader.retrieve(request.call, uuid, key_id, explain=explain)
    if request.octets:
        return Octets(found.material)
    return Reply(200, render(RETRIEVALS, _SHOWN, found, hal=request.hal))


_CODES = (errors.VOLUME_KEY_NOT_RESTORED, errors.KEY_NOT_READ, errors.TOO_BUSY, errors.INVALID_VALUE)
_OPERATION = acting(RETRIEVALS, _retrieve, Form.ACT, "Retrieve the material of a volume key", _CODES, _EXPLAIN)

PATHS: Paths = {f"{COLLECTION}/{{key_id}}/retrieve": {"POST": replace(_OPERATION, octets=True)}}
