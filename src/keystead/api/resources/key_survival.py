"""``.../key-survival``: the keys that would be unreadable if key servers failed. Not ONTAP's.

The report is computed from the stored proofs. No key server is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.operations import showing
from keystead.api.resource import OURS, Field, Group, Resource
from keystead.api.resources.key_fields import KEY_ID, ONE_KEY_MANAGER, key_manager_path, shown
from keystead.api.values import TEXT, TIME, UUID, integer
from keystead.core.keys.survival import MAX_KEY_IDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keystead.api.declared import Paths
    from keystead.api.request import Request
    from keystead.api.values import Type
    from keystead.core.keys.survival import Loss, Survival
    from keystead.core.query.query import Wanted

_COUNT = integer(0, 2**31 - 1)


@dataclass(frozen=True, slots=True)
class _LossView:
    """A loss, with the addresses of the failing servers."""

    of: Loss
    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _View:
    """The survival report of a key manager, which ``key_manager`` names by its uuid."""

    key_manager: str
    of: Survival
    losses: tuple[_LossView, ...]


def _field(name: str, type_: Type, help_: str, get: Callable[[Any], Any], **options: Any) -> Field:
    return Field(name=name, type=type_, help=help_, get=get, since=OURS, **options)


def _loss_fields(group: str) -> tuple[Field, ...]:
    return (
        _field(f"{group}.keys", _COUNT, "The number of keys that would be unreadable.", attrgetter("of.keys")),
        _field(
            f"{group}.key_ids",
            KEY_ID,
            f"The ids of these keys, at most {MAX_KEY_IDS}.",
            lambda loss: list(loss.of.key_ids) or None,
            many=True,
        ),
    )


SURVIVAL = Resource(
    name="key_survival",
    help="The keys that would be unreadable if key servers failed, for every set of replication domains. It is computed"
    " from the stored proofs of copies. Keys in use and recoverable keys count.",
    declared=(
        _field("keys", _COUNT, "The number of keys.", attrgetter("of.keys")),
        _field(
            "survives",
            _COUNT,
            "The number of domains that may fail without a loss, in any combination.",
            attrgetter("of.survives"),
        ),
        _field(
            "sole_copies", _COUNT, "The number of keys with proven copies in only one domain.", attrgetter("of.sole")
        ),
        _field("unproven", _COUNT, "The number of keys without any proven copy.", attrgetter("of.now.keys")),
        _field(
            "unproven_key_ids",
            KEY_ID,
            f"The ids of these keys, at most {MAX_KEY_IDS}.",
            lambda view: list(view.of.now.key_ids) or None,
            many=True,
        ),
        Group(name="domains", help="The replication domains.", get=attrgetter("of.domains"), many=True),
        _field("domains.uuid", UUID, "The domain's identifier.", attrgetter("uuid")),
        _field(
            "domains.servers", TEXT, "The domain's primary key servers.", lambda each: list(each.servers), many=True
        ),
        Group(
            name="losses",
            help="The loss for each set of failing domains, smaller sets first.",
            get=attrgetter("losses"),
            many=True,
        ),
        _field("losses.domains", UUID, "The domains that fail.", lambda loss: list(loss.of.domains), many=True),
        _field(
            "losses.servers",
            TEXT,
            "The primary key servers of these domains.",
            lambda loss: list(loss.servers),
            many=True,
        ),
        *_loss_fields("losses"),
        _field(
            "losses.oldest_proof",
            TIME,
            "The time of the oldest proof of the remaining copies; left out if none remains.",
            lambda loss: shown(loss.of.oldest_proof),
        ),
    ),
    link=lambda view: f"{key_manager_path(view.key_manager)}/key-survival",
)


async def _show(request: Request, _: Wanted) -> _View:
    uuid = request.path_uuid()
    found = await request.services.key_survival.survival(request.call, uuid)
    members = {domain.uuid: domain.servers for domain in found.domains}
    return _View(uuid, found, tuple(_LossView(loss, _servers(loss, members)) for loss in found.losses))


def _servers(loss: Loss, members: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(server for domain in loss.domains for server in members[domain])


PATHS: Paths = {f"{ONE_KEY_MANAGER}/key-survival": {"GET": showing(SURVIVAL, _show)}}
