"""``/security/key-manager-incarnation``: the incarnation of this database, and whether it may destroy. Not ONTAP's.

A database that was restored, cloned or promoted begins a new incarnation. It destroys nothing on key servers until an
administrator of the cluster confirms that no other copy of the database is in use.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.codes import OF_THE_CLUSTER
from keystead.api.operations import setting, showing
from keystead.api.resource import OURS, Field, Resource, always
from keystead.api.values import BOOLEAN, TEXT, TIME, UUID, Type, integer

if TYPE_CHECKING:
    from keystead.api.declared import Paths
    from keystead.api.request import Request
    from keystead.core.keys.model import Incarnation
    from keystead.core.query.query import Wanted

PATH = "/api/security/key-manager-incarnation"


def _true(value: Any) -> bool:
    if BOOLEAN.parse(value) is not True:
        raise ValueError("it is released, never held")
    return True


INCARNATION = Resource(
    name="key_manager_incarnation",
    help="The incarnation of the cluster's database. A database that was restored or cloned begins a new incarnation,"
    " and so does a promoted one for which not all nodes vouch. A new incarnation destroys no object on a key server,"
    " not even of a purged key, until ``destroys`` is set. Set it only if no other copy of the database is in use."
    " Objects of other incarnations are never destroyed.",
    declared=(
        Field(name="uuid", type=UUID, help="The incarnation's identifier.", get=attrgetter("uuid"), since=OURS),
        Field(
            name="number",
            type=integer(1, 2**31 - 1),
            help="The incarnation's number, from 1.",
            get=attrgetter("number"),
            since=OURS,
        ),
        Field(
            name="began",
            type=TIME,
            help="The time when the incarnation began.",
            get=lambda incarnation: incarnation.began.isoformat(),
            since=OURS,
        ),
        Field(
            name="reason", type=TEXT, help="The reason why the incarnation began.", get=attrgetter("reason"), since=OURS
        ),
        Field(
            name="destroys",
            type=BOOLEAN,
            help="Whether objects of purged keys and of failed creations are destroyed; PATCH takes ``true``.",
            get=attrgetter("destroys"),
            patch=True,
            given=Type("<true>", _true, schema={"type": "boolean", "const": True}),
            since=OURS,
        ),
    ),
    link=always(PATH),
)


async def _show(request: Request, _: Wanted) -> Incarnation:
    return await request.services.incarnations.get(request.call)


async def _release(request: Request, _: dict[str, Any]) -> None:
    await request.services.incarnations.release(request.call)


PATHS: Paths = {
    PATH: {
        "GET": showing(INCARNATION, _show, OF_THE_CLUSTER),
        "PATCH": setting(INCARNATION, _release, OF_THE_CLUSTER),
    }
}
