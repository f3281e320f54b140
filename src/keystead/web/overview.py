"""What the first page shows, from one snapshot: the verdict, the key managers as a matrix, and the certificates' ends.

Pure: it only puts into words and figures what the service found.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from keystead.core.attention.items import Severity, Subject
from keystead.core.availability import PRIMARY, SERVER, void_nodes
from keystead.core.console_paths import key_server_path
from keystead.core.key_servers import MAX_PRIMARIES
from keystead.core.keys.away import Away
from keystead.core.model import State
from keystead.web.rendering import counted, span
from keystead.web.survival import server_name
from keystead.web.survival_tables import more_domains, survives, unreadable, weakness
from keystead.web.tones import WORDS, Tone, in_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from keystead.core.attention.items import Item
    from keystead.core.attention.key_managers import Watched
    from keystead.core.availability import UsedCertificate
    from keystead.core.model import KeyServer, Observation
    from keystead.core.outages import OfServer, Outage
    from keystead.service.attention import Overview
    from keystead.web.survival import Sentence

    Outages = Mapping[OfServer, tuple[Outage, ...]]

ROWS: Final = 25
"""How many key managers a page shows. The others are folded into counts."""

HISTORY: Final = timedelta(hours=24)
"""How far back the bar below a key server goes."""

HORIZON: Final = timedelta(days=200)
"""How far ahead the timeline of certificates looks."""

TIMELINE_ROWS: Final = 12
SOON: Final = timedelta(days=30)

_order: Final = attrgetter("order")
_TONE_OF: Final = {Severity.CRITICAL: Tone.BAD, Severity.WARNING: Tone.WARN}


@dataclass(frozen=True, slots=True)
class Cell:
    """A primary key server in the matrix. ``gaps`` are its outages in 24 hours: begin and width, in percent."""

    key_manager: str
    name: str
    address: str
    uuid: str
    tone: Tone
    note: str
    latency_ms: int | None
    gaps: tuple[tuple[float, float], ...]
    secondaries: tuple[tuple[str, Tone], ...]

    @property
    def path(self) -> str:
        """The path of its page."""
        return key_server_path(self.key_manager, self.address)

    @property
    def word(self) -> str:
        """The word for its state."""
        return WORDS[self.tone]


@dataclass(frozen=True, slots=True)
class Row:
    """A key manager in the matrix. ``survives`` of ``domains`` replication domains may still fail.

    ``said`` is what its keys survive, in words.
    """

    uuid: str
    vserver: str
    tone: Tone
    cells: tuple[Cell, ...]
    available: int
    keys: int
    said: Sentence
    sole: int
    survives: int
    domains: int
    ends_name: str
    ends_in: timedelta | None

    @property
    def free_slots(self) -> int:
        """How many more primary key servers it may get."""
        return MAX_PRIMARIES - len(self.cells)

    @property
    def ends_tone(self) -> Tone:
        """How soon its next certificate ends."""
        return tone_of_end(self.ends_in)


@dataclass(frozen=True, slots=True)
class End:
    """A certificate in the timeline. ``place`` is its end in percent of the horizon; ``whose`` says who shows it."""

    name: str
    whose: str
    issuer: str
    left: timedelta
    not_after: datetime

    @property
    def tone(self) -> Tone:
        """How soon it ends."""
        return tone_of_end(self.left)

    @property
    def place(self) -> float:
        """Where it ends on the timeline, in percent."""
        return round(100 * min(max(self.left / HORIZON, 0), 1), 1)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One sentence about everything, and one about the next failure."""

    tone: Tone
    headline: str
    detail: str


def verdict(found: Overview) -> Verdict:
    """Return the verdict: what is lost, whether keys can be read, and what one more failure would cost."""
    critical = [item for item in found.items if item.severity is Severity.CRITICAL]
    lost = sum(item.subject is Subject.KEY_SERVER for item in critical)
    servers = "No key server is lost." if not lost else f"{counted(lost, 'key server')} {_is(lost)} lost."
    tone = Tone.BAD if critical else Tone.WARN if found.items else Tone.OK
    return Verdict(tone, f"{servers} {_readable(found.managers)}", _next_failure(found.managers))


def _readable(managers: Sequence[Watched]) -> str:
    """Return a sentence about which keys can be read: those that cannot for sure first, then those in doubt."""
    if not any(each.survival.keys for each in managers):
        return "There is no key yet."
    numbers = [unreadable(each.survival) for each in managers]
    lost, unsure = (sum(column) for column in zip(*numbers, strict=True))
    sentences = (
        f"{counted(lost, 'key')} cannot be read." if lost else "",
        f"Of {counted(unsure, 'more key' if lost else 'key')} it is not known yet." if unsure else "",
    )
    return " ".join(filter(None, sentences)) or "Every key can be read."


def _next_failure(managers: Sequence[Watched]) -> str:
    """Return a sentence about the key manager that survives least, empty if there is no key."""
    with_keys = [each for each in managers if each.survival.keys]
    if not with_keys:
        return ""
    weakest = min(with_keys, key=lambda each: weakness(each.survival))
    now = weakest.survival.now
    if not now.is_known:
        return f"No node has looked at the key servers of {weakest.vserver} since it started."
    if now.survives:
        return f"In every key manager, {more_domains(now.survives)} may fail without a loss."
    if now.unreadable.keys:
        return f"Bring back the key servers of {weakest.vserver} first."
    return (
        f"If one more replication domain of {weakest.vserver} fails, {counted(now.at_risk, 'key')} could not be read."
    )


def rows(found: Overview, outages: Outages) -> tuple[list[Row], list[Tone]]:
    """Return the worst :data:`ROWS` key managers, the worst first, and how the others stand."""
    ends, worst, void = _next_ends(found), _tones(found.items), void_nodes(found.nodes)
    ranked = []
    for watched in found.managers:
        states = standings(watched, void, found.time)
        tones = (worst.get(watched.of.uuid, Tone.OK), *(each.tone for each in states))
        ranked.append((min(tones, key=_order), watched, states))
    ranked.sort(key=lambda each: (each[0].order, each[1].survival.now.survives, each[1].vserver))
    shown = [
        _row(found, outages, watched, ends.get(watched.vserver), tone, states)
        for tone, watched, states in ranked[:ROWS]
    ]
    return shown, [tone for tone, _, _ in ranked[ROWS:]]


def folded(hidden: Sequence[Tone]) -> str:
    """Return a sentence about the key managers that a page does not show, empty if there are none."""
    if not hidden:
        return ""
    return f"{counted(len(hidden), 'more key manager')}: {in_words(hidden)}."


def _tones(items: Iterable[Item]) -> dict[str, Tone]:
    """Return the tone of the worst item of each key manager (uuid)."""
    tones: dict[str, Tone] = {}
    for item in items:
        tone = _TONE_OF[item.severity]
        tones[item.key_manager] = min(tone, tones.get(item.key_manager, tone), key=_order)
    return tones


def _row(
    found: Overview,
    outages: Outages,
    watched: Watched,
    end: UsedCertificate | None,
    tone: Tone,
    states: Sequence[Standing],
) -> Row:
    """Return a key manager in the matrix. ``end`` is its certificate that ends first."""
    now = watched.survival.now
    return Row(
        uuid=watched.of.uuid,
        vserver=watched.vserver,
        tone=tone,
        cells=tuple(_cell(found, outages, watched, state) for state in states),
        available=sum(state.tone in {Tone.OK, Tone.WARN} for state in states),
        keys=watched.survival.keys,
        said=survives(watched.survival),
        sole=watched.survival.sole,
        survives=now.survives,
        domains=len(watched.survival.domains),
        ends_name=end.common_name if end else "",
        ends_in=end.not_after - found.time if end else None,
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """How a key server stands, with its secondaries, in a tone and a few words. The words may be empty.

    ``since`` is when that began, None if it is not known. ``primary`` is what nodes observed of its primary.
    """

    server: KeyServer
    tone: Tone
    note: str
    since: datetime | None
    primary: Sequence[Observation]
    secondaries: tuple[tuple[str, Tone], ...]

    @property
    def latency_ms(self) -> int | None:
        """The longest time of one request."""
        return max((each.latency_ms for each in self.primary if each.latency_ms), default=None)


def standings(watched: Watched, void: frozenset[str], now: datetime) -> list[Standing]:
    """Return how the key servers of a key manager stand. What ``void`` nodes (uuids) observed does not count."""
    seen: defaultdict[str, list[Observation]] = defaultdict(list)
    for each in watched.observations:
        if each.node not in void:
            seen[each.key_server].append(each)
    away = watched.survival.now.away
    return [standing(each, seen[each.uuid], away.get(each.uuid), now) for each in watched.servers]


def standing(server: KeyServer, seen: Sequence[Observation], away: Away | None, now: datetime) -> Standing:
    """Return how a key server stands. ``seen`` is what nodes observed of its primary and of its secondaries."""
    primary = [each for each in seen if each.host == PRIMARY]
    secondaries = tuple(
        (host, state_tone(each for each in seen if each.host == host)) for host in server.secondary_key_servers
    )
    worst = min((each for _, each in secondaries), key=_order, default=Tone.OK)
    tone, note = _in_words(primary, worst, away, now)
    return Standing(server, tone, note, _since(seen, away), primary, secondaries)


def _since(seen: Sequence[Observation], away: Away | None) -> datetime | None:
    """Return since when a key server is as it is.

    That is when it began to hide its keys, else when the first node lost it, else when the first lost a secondary.
    """
    if away is Away.KEYS_HIDDEN:
        return min((each.hidden_since for each in seen if each.hidden_since), default=None)
    primary = [each for each in seen if each.host == PRIMARY]
    for of in (primary, seen):
        if lost := [each.since for each in of if each.state is State.NOT_RESPONDING]:
            return min(lost)
    return max((each.since for each in primary), default=None)


def _cell(found: Overview, outages: Outages, watched: Watched, state: Standing) -> Cell:
    server = state.server
    address = str(server.address)
    return Cell(
        key_manager=watched.of.uuid,
        name=server_name(server),
        address=address,
        uuid=server.uuid,
        tone=state.tone,
        note=state.note,
        latency_ms=state.latency_ms,
        gaps=gaps(outages.get((watched.vserver, address), ()), found.time, HISTORY),
        secondaries=state.secondaries,
    )


def state_tone(seen: Iterable[Observation]) -> Tone:
    """Return how an address stands by what the nodes say: lost if one does not reach it, unknown if none looked."""
    states = {each.state for each in seen}
    if State.NOT_RESPONDING in states:
        return Tone.BAD
    return Tone.OK if states == {State.AVAILABLE} else Tone.UNKNOWN


def _in_words(primary: Sequence[Observation], secondary: Tone, away: Away | None, now: datetime) -> tuple[Tone, str]:
    """Return the tone of a server and the words below its name. ``secondary`` is the tone of its worst secondary."""
    tone = state_tone(primary)
    if away is Away.KEYS_HIDDEN:
        return Tone.BAD, "does not show our keys"
    if tone is Tone.BAD:
        lost = min((each for each in primary if each.state is State.NOT_RESPONDING), key=lambda each: each.since)
        # If the server is not away, a secondary or another node still reaches its keys.
        return Tone.WARN if away is None else tone, (lost.reason or f"{lost.stage} failed").replace("_", " ")
    if tone is Tone.UNKNOWN:
        reasons = [each.reason for each in primary if each.reason]  # of looks that failed through our fault
        return tone, "no node has looked yet" if not primary else reasons[0].replace("_", " ") if reasons else ""
    if secondary is not Tone.OK:
        is_lost = secondary is Tone.BAD
        return Tone.WARN, "a secondary is lost" if is_lost else "the state of a secondary is not known"
    left = certificate_left(primary, now)
    if left is None:
        return tone, ""
    return Tone.WARN if left < SOON else tone, end_words("certificate", left)


def certificate_left(primary: Iterable[Observation], now: datetime) -> timedelta | None:
    """Return how long the certificate is valid that a primary showed last. None if it showed none."""
    ends = [each.certificates[0].not_after for each in primary if each.certificates]
    return min(ends) - now if ends else None


def gaps(of_server: Iterable[Outage], now: datetime, history: timedelta) -> tuple[tuple[float, float], ...]:
    """Return outages within a time before now as begin and width in percent; none is thinner than can be seen."""
    since = now - history
    places = ((100 * (each.begin - since) / history, 100 * (each.end - each.begin) / history) for each in of_server)
    return tuple((round(min(begin, 99.2), 1), round(max(width, 0.8), 1)) for begin, width in places)


# --- certificates ---


def tone_of_end(left: timedelta | None) -> Tone:
    """Return how soon something ends that ends in ``left``."""
    if left is None:
        return Tone.UNKNOWN
    return Tone.BAD if left <= timedelta() else Tone.WARN if left < SOON else Tone.OK


def end_words(what: str, left: timedelta) -> str:
    """Return when something ends, in words."""
    return f"{what} ended {span(-left)} ago" if left <= timedelta() else f"{what} ends in {span(left)}"


def timeline(found: Overview) -> list[End]:
    """Return the certificates that end within the horizon, the next one first, each once."""
    unique = {each.identity: each for each in found.certificates}.values()
    ends = [
        End(
            each.common_name,
            _whose(each),
            each.certificate_authority,
            each.not_after - found.time,
            each.not_after,
        )
        for each in unique
        if each.not_after - found.time < HORIZON
    ]
    return sorted(ends, key=lambda each: (each.not_after, each.name))


def _whose(used: UsedCertificate) -> str:
    if not used.key_server:
        return f"ours, {used.vserver}"
    what = "key server" if used.type == SERVER else "CA of key server"
    return f"{what} {used.key_server}, {used.vserver}"


def _next_ends(found: Overview) -> dict[str, UsedCertificate]:
    """Return the certificate of each key manager that ends first, by the name of its owner."""
    ends: dict[str, UsedCertificate] = {}
    for each in sorted(found.certificates, key=lambda used: used.not_after):
        ends.setdefault(each.vserver, each)
    return ends


def _is(number: int) -> str:
    return "is" if number == 1 else "are"
