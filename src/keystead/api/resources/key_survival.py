"""``.../key-survival``: the keys that would be unreadable if key servers failed. Not ONTAP's.

The report is computed from the stored proofs and from what the nodes observed last. No key server is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from keystead.api.operations import showing
from keystead.api.resource import OURS, Field, Group, Resource
from keystead.api.resources.key_fields import KEY_ID, ONE_KEY_MANAGER, key_manager_path, shown
from keystead.api.values import TEXT, TIME, UUID, integer, one_of
from keystead.core.keys.away import Away
from keystead.core.keys.survival import MAX_NAMED, NAMED_IN_PATTERN, CopyMark

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from keystead.api.declared import Paths
    from keystead.api.request import Request
    from keystead.api.values import Type
    from keystead.core.keys.survival import KeyName, Loss, Pattern, Survival
    from keystead.core.query.query import Wanted

_COUNT = integer(0, 2**31 - 1)


@dataclass(frozen=True, slots=True)
class _LossView:
    """A loss, with the addresses of the failing servers."""

    of: Loss
    servers: tuple[str, ...]


class _Server(NamedTuple):
    """What is said of a key server: its address, and a word."""

    address: str
    word: str


@dataclass(frozen=True, slots=True)
class _PatternView:
    """A pattern, with the addresses of the servers."""

    of: Pattern
    copies: tuple[_Server, ...]


@dataclass(frozen=True, slots=True)
class _View:
    """The survival report of a key manager, which ``key_manager`` names by its uuid."""

    key_manager: str
    of: Survival
    away: tuple[_Server, ...]
    losses: tuple[_LossView, ...]
    patterns: tuple[_PatternView, ...]


def _field(name: str, type_: Type, help_: str, get: Callable[[Any], Any], **options: Any) -> Field:
    return Field(name=name, type=type_, help=help_, get=get, since=OURS, **options)


def _named_fields(prefix: str, of: str, get: Callable[[Any], Sequence[KeyName]]) -> tuple[Field, ...]:
    """Return the fields that name keys: their ids and, in the same order, their names."""
    return (
        _field(
            f"{prefix}key_ids",
            KEY_ID,
            f"The ids of {of}, at most {MAX_NAMED}.",
            lambda found: [key.key_id for key in get(found)] or None,
            many=True,
        ),
        _field(
            f"{prefix}key_names",
            TEXT,
            "The names of these keys, in the same order.",
            lambda found: [key.name for key in get(found)] or None,
            many=True,
        ),
    )


_NOW: tuple[Field | Group, ...] = (
    Group(name="now", help="What the keys survive at this moment.", get=lambda view: view),
    _field(
        "now.survives",
        _COUNT,
        "The number of further domains that may fail without a loss, in any combination.",
        attrgetter("of.now.survives"),
    ),
    _field(
        "now.at_risk",
        _COUNT,
        "The number of keys that are unreadable if one more domain than these fails, in the worst case.",
        attrgetter("of.now.at_risk"),
    ),
    _field(
        "now.domains",
        UUID,
        "The domains that answer and show their canaries.",
        lambda view: list(view.of.now.domains) or None,
        many=True,
    ),
    Group(
        name="now.away",
        help="The primary key servers whose copies cannot be read now.",
        get=lambda view: view.away or None,
        many=True,
    ),
    _field("now.away.server", TEXT, "The address of the primary.", attrgetter("address")),
    _field(
        "now.away.reason",
        one_of(*Away),
        "Why: it does not respond, it hides our keys, or no node has looked at it.",
        attrgetter("word"),
    ),
    _field(
        "now.unreadable",
        _COUNT,
        "The number of keys that no key server can give now. A node may still have them in memory.",
        attrgetter("of.now.unreadable.keys"),
    ),
    *_named_fields("now.unreadable_", "the unreadable keys", attrgetter("of.now.unreadable.named")),
    _field(
        "now.oldest_proof",
        TIME,
        "The time of the oldest proof that this rests on.",
        lambda view: shown(view.of.now.unreadable.oldest_proof),
    ),
)

_PATTERNS: tuple[Field | Group, ...] = (
    Group(
        name="patterns",
        help="The keys, those whose copies lie alike as one record; those on the fewest domains come first.",
        get=attrgetter("patterns"),
        many=True,
    ),
    _field("patterns.keys", _COUNT, "The number of these keys.", attrgetter("of.keys")),
    _field(
        "patterns.key_names",
        TEXT,
        f"The names of these keys, at most {NAMED_IN_PATTERN}.",
        lambda pattern: [key.name for key in pattern.of.named],
        many=True,
    ),
    _field(
        "patterns.oldest_proof",
        TIME,
        "The time of the oldest proof of their copies; left out if there is none.",
        lambda pattern: shown(pattern.of.oldest_proof),
    ),
    Group(name="patterns.copies", help="What is known on each server.", get=attrgetter("copies"), many=True),
    _field("patterns.copies.server", TEXT, "The address of the primary.", attrgetter("address")),
    _field(
        "patterns.copies.state",
        one_of(*CopyMark),
        "What is known of the copy there. ``proven_away``: it is proven, and the server cannot be read now.",
        attrgetter("word"),
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
            "The number of domains that may fail without a loss, in any combination, while all servers answer.",
            attrgetter("of.survives"),
        ),
        _field(
            "sole_copies", _COUNT, "The number of keys with proven copies in only one domain.", attrgetter("of.sole")
        ),
        _field("unproven", _COUNT, "The number of keys without any proven copy.", attrgetter("of.unproven.keys")),
        *_named_fields("unproven_", "the keys without any proven copy", attrgetter("of.unproven.named")),
        *_NOW,
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
        _field("losses.keys", _COUNT, "The number of keys that would be unreadable.", attrgetter("of.keys")),
        *_named_fields("losses.", "these keys", attrgetter("of.named")),
        _field(
            "losses.oldest_proof",
            TIME,
            "The time of the oldest proof of the remaining copies; left out if none remains.",
            lambda loss: shown(loss.of.oldest_proof),
        ),
        *_PATTERNS,
    ),
    link=lambda view: f"{key_manager_path(view.key_manager)}/key-survival",
)


async def _show(request: Request, _: Wanted) -> _View:
    uuid = request.path_uuid()
    found = await request.services.key_survival.survival(request.call, uuid)
    members = {domain.uuid: domain.servers for domain in found.domains}
    return _View(
        key_manager=uuid,
        of=found,
        away=tuple(_Server(found.addresses[server], reason) for server, reason in found.now.away.items()),
        losses=tuple(_LossView(loss, _servers(loss, members)) for loss in found.losses),
        patterns=tuple(
            _PatternView(each, tuple(_Server(found.addresses[server], mark) for server, mark in each.marks))
            for each in found.patterns
        ),
    )


def _servers(loss: Loss, members: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(server for domain in loss.domains for server in members[domain])


PATHS: Paths = {f"{ONE_KEY_MANAGER}/key-survival": {"GET": showing(SURVIVAL, _show)}}
