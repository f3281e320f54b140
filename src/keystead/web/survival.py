"""What the page of survival shows: what fails, what would be left, and whether new keys would be accepted.

Pure: it only puts into words and figures what the service found. The page begins with what is true now: domains that
cannot be read have failed. A user may then let others fail, or these come back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from keystead.core.availability import PRIMARY
from keystead.core.keys.away import Away
from keystead.core.keys.domains import domains_at, min_hitting_set, wanted_copies
from keystead.core.keys.survival import CopyMark, has_shared_addresses
from keystead.core.keys.writing import missing_domain_count
from keystead.core.server_address import DEFAULT_PORT
from keystead.web.rendering import counted
from keystead.web.tones import Tone

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from keystead.core.keys.survival import Domain, KeyName, Loss
    from keystead.core.model import KeyServer
    from keystead.service.keys.reporting.survival import Outlook

NAMED: Final = 10
"""How many keys a list on the page names."""

CUT: Final = 0.6
"""Where a wire is cut, as a part of its length."""

AWAY: Final = {
    Away.NOT_RESPONDING: (Tone.BAD, "does not respond"),
    Away.KEYS_HIDDEN: (Tone.BAD, "does not show our keys"),
    Away.UNKNOWN: (Tone.UNKNOWN, "not known: no node has looked at it"),
}
"""How a server stands that is away, and in which words."""


# --- what fails ---


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice of what fails: ``domains`` and ``servers`` (uuids).

    ``is_now``: just what cannot be read at present. ``unsure`` are the servers among these of which nobody knows
    whether they answer. ``strangers`` were asked for, and are no domains of this key manager.
    """

    domains: frozenset[str]
    servers: frozenset[str]
    unsure: frozenset[str]
    is_now: bool
    strangers: tuple[str, ...] = ()


def query_of(failing: Iterable[str]) -> str:
    """Return the query of the page where just these domains (uuids) fail. Its fields are those of the form."""
    return urlencode([("chosen", "1"), *(("fail", domain) for domain in sorted(failing))])


def choose(outlook: Outlook, asked: Sequence[str] | None) -> Choice:
    """Return what fails. ``asked`` are domains (uuids), or None for what cannot be read now.

    A server that is away has failed in any case, unless all of its domain is away: then its checkbox decides.
    """
    of, away = outlook.domain_of, outlook.survival.now.away
    known = {domain.uuid for domain in outlook.survival.domains}
    gone = known.difference(outlook.survival.now.domains)
    failing = gone if asked is None else known.intersection(asked)
    is_now = failing == gone
    servers = {uuid for uuid in of if of[uuid] in failing or (uuid in away and of[uuid] not in gone)}
    unsure = {uuid for uuid in servers if away.get(uuid) is Away.UNKNOWN and (is_now or of[uuid] not in failing)}
    strangers = tuple(dict.fromkeys(each for each in asked or () if each not in known))
    return Choice(frozenset(failing), frozenset(servers), frozenset(unsure), is_now, strangers)


# --- the picture ---


@dataclass(frozen=True, slots=True)
class ServerLine:
    """A key server in the picture: how it stands now."""

    name: str
    tone: Tone
    word: str
    secondaries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """A replication domain in the picture. ``keys`` have a proven copy there. ``place`` is its middle, in percent."""

    uuid: str
    name: str
    servers: tuple[ServerLine, ...]
    keys: int
    share: float
    fails: bool
    tone: Tone
    word: str
    place: float

    @property
    def cut(self) -> float:
        """How far down its wire is cut, in percent: at :data:`CUT` of the way from the middle."""
        return round(50 + CUT * (self.place - 50), 1)


def cards(outlook: Outlook, choice: Choice) -> list[Card]:
    """Return the replication domains, in the order of their servers."""
    found = outlook.survival
    number = len(found.domains)
    names = domain_names(outlook)
    made = []
    for at, domain in enumerate(found.domains):
        members = members_of(outlook, domain)
        uuids = {server.uuid for server in members}
        keys = sum(each.keys for each in found.patterns if _is_held(each.marks, uuids))
        tone, word = _card_state(outlook, choice, domain, uuids)
        made.append(
            Card(
                uuid=domain.uuid,
                name=names[domain.uuid],
                servers=tuple(_line(outlook, server) for server in members),
                keys=keys,
                share=percent(keys, found.keys),
                fails=domain.uuid in choice.domains,
                tone=tone,
                word=word,
                place=percent(2 * at + 1, 2 * number),
            )
        )
    return made


def _is_held(marks: Iterable[tuple[str, CopyMark]], servers: set[str]) -> bool:
    """Return True if keys with these marks have a proven copy on one of the servers (uuids)."""
    return any(uuid in servers and mark in {CopyMark.PROVEN, CopyMark.PROVEN_AWAY} for uuid, mark in marks)


def _card_state(outlook: Outlook, choice: Choice, domain: Domain, servers: set[str]) -> tuple[Tone, str]:
    """Return how a domain stands in this choice. ``servers`` are its servers (uuids)."""
    now = outlook.survival.now.away
    away = [now[uuid] for uuid in servers if uuid in now]
    is_gone = len(away) == len(servers)
    if domain.uuid in choice.domains:
        if servers <= choice.unsure:
            return Tone.UNKNOWN, "not known"
        return Tone.BAD, "lost now" if is_gone and set(away) != {Away.UNKNOWN} else "fails"
    if is_gone:
        return Tone.OK, "as if it were back"
    if away:
        return Tone.WARN, f"{len(servers) - len(away)} of {len(servers)} servers answer"
    return Tone.OK, "answers" if len(servers) == 1 else "all answer"


def _line(outlook: Outlook, server: KeyServer) -> ServerLine:
    reason = outlook.survival.now.away.get(server.uuid)
    host = outlook.readable_at.get(server.uuid, PRIMARY)
    tone, word = AWAY[reason] if reason else (Tone.OK, "answers")
    if host != PRIMARY:
        tone, word = Tone.WARN, f"only its secondary {host} answers"
    return ServerLine(server_name(server), tone, word, server.secondary_key_servers)


def server_name(server: KeyServer) -> str:
    """Return the short name of a key server: without the usual port."""
    return server.address.host if server.address.port == DEFAULT_PORT else str(server.address)


def members_of(outlook: Outlook, domain: Domain) -> list[KeyServer]:
    """Return the servers of a domain."""
    return [server for server in outlook.servers if outlook.domain_of[server.uuid] == domain.uuid]


def domain_names(outlook: Outlook) -> dict[str, str]:
    """Return a name for each domain (uuid): the one that was declared, else the names of its servers."""
    names = {}
    for domain in outlook.survival.domains:
        members = members_of(outlook, domain)
        declared = dict.fromkeys(server.replication_domain for server in members if server.replication_domain)
        names[domain.uuid] = " + ".join(declared or map(server_name, members))
    return names


def percent(part: float, whole: float) -> float:
    """Return a part of a whole in percent; 0 of nothing."""
    return round(100 * part / whole, 1) if whole else 0.0


# --- the answer ---


@dataclass(frozen=True, slots=True)
class NamedKeys:
    """The first of some keys, and how many ``more`` there are."""

    title: str
    keys: tuple[KeyName, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence with its tone. ``code`` is ONTAP's, 0 for none."""

    tone: Tone
    text: str
    code: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a choice: what is left if it fails."""

    tone: Tone
    readable: int
    keys: int
    headline: str
    lost: tuple[NamedKeys, ...]
    oldest_proof: datetime | None
    left: tuple[str, ...]
    new_keys: Sentence
    notes: tuple[str, ...]


def answer(outlook: Outlook, choice: Choice) -> Answer:
    """Return which keys could be read if the choice fails, and whether new keys would be accepted."""
    found = outlook.survival
    lost, surely = found.without(choice.servers), found.without(choice.servers - choice.unsure)
    tone, headline = _headline(found.keys, surely.keys, lost.keys - surely.keys, is_now=choice.is_now)
    return Answer(
        tone=tone,
        readable=found.keys - lost.keys,
        keys=found.keys,
        headline=headline,
        lost=tuple(_lost(surely, lost)),
        oldest_proof=lost.oldest_proof,
        left=tuple(name for uuid, name in domain_names(outlook).items() if uuid not in choice.domains),
        new_keys=new_keys(outlook, choice),
        notes=tuple(_notes(outlook, lost)),
    )


def _headline(keys: int, lost: int, unsure: int, *, is_now: bool) -> tuple[Tone, str]:
    if not keys:
        return Tone.OK, "There is no key that could be lost."
    if not (lost or unsure):
        return Tone.OK, "Every key can be read." if is_now else "Nothing is lost: every key could be read."
    certain = f"{counted(lost, 'key')} {'cannot' if is_now else 'could not'} be read." if lost else ""
    doubt = f"Of {counted(unsure, 'more key' if lost else 'key')} it is not known." if unsure else ""
    return Tone.BAD if lost else Tone.UNKNOWN, " ".join(filter(None, (certain, doubt)))


def _lost(surely: Loss, lost: Loss) -> Iterable[NamedKeys]:
    """Yield the keys that are lost for sure, and those of which it is not known."""
    doubtful = [key for key in lost.named if key not in set(surely.named)]
    for title, named, number in (
        ("No proven copy can be read of", surely.named, surely.keys),
        ("It is not known whether a copy can be read of", doubtful, lost.keys - surely.keys),
    ):
        if number:
            yield named_keys(title, named, number)


def named_keys(title: str, named: Sequence[KeyName], number: int, most: int = NAMED) -> NamedKeys:
    """Return the first of ``number`` keys by name."""
    keys = tuple(named[:most])
    return NamedKeys(title, keys, number - len(keys))


def _notes(outlook: Outlook, lost: Loss) -> Iterable[str]:
    if lost.keys:
        yield "A node may still have such keys in memory until it restarts."
    if has_shared_addresses(outlook.servers):
        yield (
            "Some key servers share a secondary."
            " A copy that was proven there counts as lost if any of these key servers fails."
        )
    if not outlook.manager.enabled:
        yield "This key manager is not enabled: no node looks at its key servers."


def new_keys(outlook: Outlook, choice: Choice) -> Sentence:
    """Return whether new keys are accepted while the choice fails, by the rule of the creation of keys.

    It counts who answers. Whether a server has room for a new object is not known before it is sent one.
    """
    will = "are" if choice.is_now else "would be"
    if outlook.refusal is not None:
        return Sentence(Tone.BAD, f"New keys {will} refused. {outlook.refusal.message}", outlook.refusal.kind.code)
    certain = _reachable(outlook, choice.servers | outlook.unlearned)
    possible = _reachable(outlook, choice.servers - choice.unsure)
    policy, of = outlook.manager.min_copies, outlook.domain_of
    facts = f"{_needed(outlook)}, {_takers(outlook, len(certain), len(possible), is_now=choice.is_now)}"
    if not missing_domain_count(certain, policy, of):
        enough = "Enough servers answer" if choice.is_now else "Enough servers would be left"
        return Sentence(Tone.OK, f"{enough} for new keys: {facts}. A full server would still refuse.")
    if missing_domain_count(possible, policy, of):
        return Sentence(Tone.BAD, f"New keys {will} refused: {facts}.")
    return Sentence(Tone.UNKNOWN, f"Whether new keys {will} accepted is not known: {facts}.")


def _reachable(outlook: Outlook, failed: frozenset[str]) -> set[str]:
    """Return the domains (uuids) that can hold a proven copy of a new key without these servers (uuids).

    A copy goes to the address that answers. Two servers that only a shared secondary answers for hold one copy.
    """
    of = outlook.domain_of
    down = set(of.values()) - {domain for uuid, domain in of.items() if uuid not in failed}
    at = [
        (server.uuid, outlook.readable_at.get(server.uuid, PRIMARY))
        for server in outlook.servers
        if server.uuid not in failed
    ]
    return min_hitting_set(place for place in domains_at(at, of, outlook.servers).values() if not place & down)


def _needed(outlook: Outlook) -> str:
    wanted = wanted_copies(outlook.manager.min_copies, len(set(outlook.domain_of.values())))
    return "1 copy is needed" if wanted == 1 else f"{wanted} copies are needed"


def _takers(outlook: Outlook, certain: int, possible: int, *, is_now: bool) -> str:
    """Return how many servers can take a key; how many domains, if one has several servers."""
    alone = len(set(outlook.domain_of.values())) == len(outlook.servers)
    what = counted(certain, "server" if alone else "replication domain")
    if possible > certain:
        return f"{what} surely {'takes' if certain == 1 else 'take'} them, {possible - certain} perhaps"
    if is_now:
        return f"{what} {'answers' if certain == 1 else 'answer'}"
    return f"{what} {'is' if certain == 1 else 'are'} left"
