"""What the pages of key servers show: the list, the worst first, and everything about one server. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from keystead.core.availability import PRIMARY, silent_nodes, void_nodes
from keystead.core.certificates.shown import chain_of
from keystead.core.console_paths import key_server_path
from keystead.core.errors.remedies import remedy
from keystead.core.key_servers import MAX_PRIMARIES, secondary_addresses
from keystead.core.keys.away import Away
from keystead.core.keys.model import KeyForm
from keystead.core.model import State
from keystead.service.configuration.key_server_details import HISTORY
from keystead.web.keys import MARKS
from keystead.web.links import add_path
from keystead.web.overview import certificate_left, gaps, standing, standings, state_tone, tone_of_end
from keystead.web.tones import WORDS, Tone
from keystead.web.tracks import track_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from keystead.core.attention.key_managers import Watched
    from keystead.core.errors.remedies import Remedy
    from keystead.core.keys.model import ServerProfile
    from keystead.core.keys.survival import CopyMark, Survival
    from keystead.core.model import Node, Observation
    from keystead.service.attention import Overview
    from keystead.service.configuration.key_server_details import KeyServerDetails
    from keystead.web.overview import Standing
    from keystead.web.tracks import Track

PAGE: Final = 100
"""How many key servers the list shows at a time."""

SHOWN_OUTAGES: Final = 10
CANARY_NOT_SEEN: Final = "canary_not_seen"

_FORMS: Final = {
    KeyForm.SECRET_DATA: "one Secret Data object",
    KeyForm.SYMMETRIC_KEY: "one AES key of 512 bits",
    KeyForm.SYMMETRIC_KEY_PAIR: "two AES keys of 256 bits",
}
_SHOWS: Final = {
    True: (Tone.OK, "shows our keys", "showed our keys before"),
    False: (Tone.BAD, "does not show our keys", "did not show our keys before"),
    None: (Tone.UNKNOWN, "has not shown our keys yet", "has not shown our keys yet"),
}
"""Whether a server shows our keys: the tone, and the words for one that answers and for one that is silent."""


# --- the list ---


@dataclass(frozen=True, slots=True)
class ServerRow:
    """A primary key server in the list. ``since`` is when its present state began."""

    address: str
    path: str
    vserver: str
    tone: Tone
    note: str
    since: datetime | None
    ends: tuple[Tone, timedelta] | None
    shows: tuple[Tone, str]
    latency_ms: int | None

    @property
    def word(self) -> str:
        """The word for its state."""
        return WORDS[self.tone]


@dataclass(frozen=True, slots=True)
class ManagerRow:
    """A key manager above the list: how many primaries it has, and whether it may get more."""

    uuid: str
    vserver: str
    servers: int

    @property
    def free(self) -> int:
        """How many more primaries it may have."""
        return MAX_PRIMARIES - self.servers

    @property
    def add_path(self) -> str:
        """The path of the page that adds key servers."""
        return add_path(self.uuid)


def server_rows(found: Overview, text: str = "") -> list[ServerRow]:
    """Return the primaries whose address or owner has a text, the worst first."""
    void = void_nodes(found.nodes)
    rows = [_row(each, of, found.time) for each in found.managers for of in standings(each, void, found.time)]
    wanted = text.strip().casefold()
    kept = [row for row in rows if wanted in f"{row.address} {row.vserver}".casefold()]
    return sorted(kept, key=lambda row: (row.tone.order, row.vserver, row.address))


def manager_rows(found: Overview) -> list[ManagerRow]:
    """Return the key managers, by the names of their owners."""
    rows = [ManagerRow(each.of.uuid, each.vserver, len(each.servers)) for each in found.managers]
    return sorted(rows, key=lambda row: row.vserver)


def _row(watched: Watched, of: Standing, now: datetime) -> ServerRow:
    left = certificate_left(of.primary, now)
    address = str(of.server.address)
    return ServerRow(
        address,
        key_server_path(watched.of.uuid, address),
        watched.vserver,
        of.tone,
        of.note,
        of.since,
        (tone_of_end(left), left) if left is not None else None,
        _shows(of.primary),
        of.latency_ms,
    )


def _shows(primary: Sequence[Observation]) -> tuple[Tone, str]:
    """Return whether a server shows our keys: tone and words."""
    said = {each.keys_visible for each in primary} - {None}
    tone, now, before = _SHOWS[None if not said else False not in said]
    is_silent = any(each.state is State.NOT_RESPONDING for each in primary)
    return (Tone.UNKNOWN, before) if is_silent else (tone, now)


# --- one server ---


class OnNode(NamedTuple):
    """The state of a primary as one node sees it."""

    node: str
    tone: Tone
    word: str
    since: datetime | None
    last_available: datetime | None
    latency_ms: int | None


class Past(NamedTuple):
    """An outage. ``lasts`` says that it has not ended."""

    begin: datetime
    end: datetime
    span: timedelta
    lasts: bool


@dataclass(frozen=True, slots=True)
class ServerView:
    """Everything about one key server."""

    tone: Tone
    headline: str
    since: datetime | None
    tracks: tuple[Track, ...]
    nodes: tuple[OnNode, ...]
    shows: tuple[Tone, str]
    gaps: tuple[tuple[float, float], ...]
    outages: tuple[Past, ...]
    available: str
    keys: tuple[tuple[Tone, str, int], ...]
    abilities: tuple[tuple[str, str], ...]
    domain: tuple[str, ...]
    hides_keys: Remedy | None


def server_view(found: KeyServerDetails) -> ServerView:
    """Return what the page of a key server shows."""
    void = void_nodes(found.nodes)
    seen = [each for each in found.observations if each.node not in void]
    of = standing(found.server, seen, found.survival.now.away.get(found.server.uuid), found.time)
    silent = silent_nodes(found.nodes) if found.full else frozenset()
    return ServerView(
        tone=of.tone,
        headline=_headline(of.tone, of.note),
        since=of.since,
        tracks=tuple(_tracks(found, seen)),
        nodes=tuple(_on_node(node, of.primary, silent) for node in found.nodes),
        shows=_shows(of.primary),
        gaps=gaps(found.outages, found.time, HISTORY),
        outages=_past(found),
        available=_available(found),
        keys=tuple(_keys_on(found.survival, found.server.uuid)),
        abilities=abilities(found.profile),
        domain=_same_domain(found),
        hides_keys=_hides_keys(found),
    )


def _hides_keys(found: KeyServerDetails) -> Remedy | None:
    """Return what to do about a server that hides our keys. None if it does not, and for accounts of SVMs."""
    is_hidden = found.survival.now.away.get(found.server.uuid) is Away.KEYS_HIDDEN
    return remedy(CANARY_NOT_SEEN) if is_hidden and found.full else None


def _headline(tone: Tone, note: str) -> str:
    word = {Tone.OK: "It is available", Tone.WARN: "It is degraded", Tone.BAD: "It is lost"}.get(
        tone, "Its state is not known"
    )
    return f"{word}: {note}." if note else f"{word}."


def _tracks(found: KeyServerDetails, seen: Sequence[Observation]) -> Iterable[Track]:
    """Yield the last look at the primary, then at each secondary that was looked at.

    Of several nodes, the one counts that saw the worst state, and of these the first.

    The API shows certificates of single servers to accounts of the cluster only, and so does the page.
    """
    ours = chain_of(found.client_certificate) if found.client_certificate else ()
    hosts = (PRIMARY, *found.server.secondary_key_servers)
    addresses = (found.server.address, *secondary_addresses(found.server))
    for host, address in zip(hosts, addresses, strict=True):
        of_host = [each for each in seen if each.host == host]
        if of_host:
            worst = min(of_host, key=lambda each: (_ORDER.index(each.state), each.since))
            shown = worst if found.full else replace(worst, certificates=())
            yield track_of(shown, address, ours, found.time)


_ORDER: Final = (State.NOT_RESPONDING, State.UNKNOWN, State.AVAILABLE)


def _on_node(node: Node, primary: Iterable[Observation], silent: Iterable[str]) -> OnNode:
    found = next((each for each in primary if each.node == node.uuid), None)
    if found is None:
        return OnNode(node.name, Tone.UNKNOWN, "silent" if node.uuid in silent else "has not looked", None, None, None)
    tone = state_tone((found,))
    words = (found.reason or WORDS[tone]).replace("_", " ")
    return OnNode(node.name, tone, words, found.since, found.last_available, found.latency_ms)


def _past(found: KeyServerDetails) -> tuple[Past, ...]:
    """Return the outages, the latest first."""
    past = (Past(each.begin, each.end, each.end - each.begin, each.end >= found.time) for each in found.outages)
    return tuple(sorted(past, reverse=True))


def _available(found: KeyServerDetails) -> str:
    """Return the part of the history in which a server was available, in percent. It is never rounded up to all."""
    lost = sum((each.end - each.begin for each in found.outages), timedelta())
    percent = 100 * (1 - lost / HISTORY)
    return "100 %" if not lost else f"{min(percent, 99.99):.2f} %"


def _keys_on(survival: Survival, server: str) -> Iterable[tuple[Tone, str, int]]:
    """Yield how many keys have which mark on a server (uuid): tone, words, number."""
    counts = marks_on(survival, server)
    for mark, (tone, words) in MARKS.items():
        if counts[mark]:
            yield tone, words, counts[mark]


def marks_on(survival: Survival, server: str) -> Counter[CopyMark]:
    """Return how many keys have which mark on a server (uuid)."""
    counts: Counter[CopyMark] = Counter()
    for pattern in survival.patterns:
        counts[dict(pattern.marks)[server]] += pattern.keys
    return counts


def abilities(profile: ServerProfile | None) -> tuple[tuple[str, str], ...]:
    """Return what a server can do, as learned: pairs of a title and words. Empty before it was learned."""
    if profile is None:
        return ()
    yes = {True: "yes", False: "no"}
    return (
        ("Product", profile.vendor or "it does not say"),
        ("KMIP version in use", profile.version or "not known"),
        ("Stores a key as", _FORMS[profile.form]),
        ("Operations it names", str(len(profile.operations)) if profile.operations else "none named"),
        ("Finds objects by name", yes[profile.locate_by_name]),
        ("Lists objects in pages", yes[profile.locate_offset]),
        ("Several requests in one message", yes[profile.batches]),
        ("Activates keys", yes[profile.activates]),
        ("Keeps our namespace with an object", yes[profile.application_information]),
    )


def _same_domain(found: KeyServerDetails) -> tuple[str, ...]:
    """Return the addresses of the other servers in the replication domain of a server."""
    own = found.domain_of[found.server.uuid]
    return tuple(
        str(each.address)
        for each in found.servers
        if each.uuid != found.server.uuid and found.domain_of[each.uuid] == own
    )
