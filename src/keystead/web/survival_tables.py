"""What stands below the picture of survival: combinations of failures, keys by server, jobs, and all key managers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

from keystead.core.keys.away import Away
from keystead.core.keys.report import ReportKind
from keystead.core.keys.survival import CopyMark
from keystead.web.keys import MARKS
from keystead.web.rendering import counted
from keystead.web.survival import NamedKeys, Sentence, domain_names, named_keys, percent, query_of, server_name
from keystead.web.tones import Tone

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from keystead.core.attention.key_managers import Watched
    from keystead.core.keys.survival import Loss, Pattern, Survival
    from keystead.service.keys.reporting.survival import Outlook

ROWS: Final = 25
"""How many rows the table of keys has at most."""

NAMED_IN_ROW: Final = 3


# --- combinations ---


@dataclass(frozen=True, slots=True)
class Combination:
    """Domains that fail together from now on. ``keys`` could not be read then, ``more`` of them can be read now.

    ``marks`` say of each domain, in order, whether it fails, is gone already, or stays (empty). ``query`` is that of
    the page with this choice.
    """

    name: str
    marks: tuple[str, ...]
    keys: int
    more: int
    query: str


@dataclass(frozen=True, slots=True)
class Combinations:
    """All sets of so many domains, the worst first. ``losing`` of them lose a key that can be read now."""

    title: str
    rows: tuple[Combination, ...]

    @property
    def losing(self) -> int:
        """How many of them lose a key."""
        return sum(row.more > 0 for row in self.rows)


_TITLES: Final = ("One more fails", "Two more fail", "Three more fail")


def combinations(outlook: Outlook) -> list[Combinations]:
    """Return every combination of further failures, by how many fail."""
    by_number = groupby(outlook.survival.now.losses, key=lambda loss: len(loss.domains))
    tables = [[_combination(outlook, loss) for loss in losses] for _, losses in by_number]
    return [
        Combinations(title, tuple(sorted(rows, key=lambda row: -row.keys)))
        for title, rows in zip(_TITLES, tables, strict=False)
    ]


def _combination(outlook: Outlook, loss: Loss) -> Combination:
    found, names = outlook.survival, domain_names(outlook)
    gone = [uuid for uuid in names if uuid not in found.now.domains]
    marks = ("fails" if uuid in loss.domains else "gone" if uuid in gone else "" for uuid in names)
    return Combination(
        name=", ".join(names[uuid] for uuid in loss.domains),
        marks=tuple(marks),
        keys=loss.keys,
        more=loss.keys - found.now.unreadable.keys,
        query=query_of([*gone, *loss.domains]),
    )


def already(outlook: Outlook) -> str:
    """Return a sentence about what counts as failed in every combination, empty if nothing does."""
    away = outlook.survival.now.away
    named = [(server_name(each), away[each.uuid]) for each in outlook.servers if each.uuid in away]
    unknown = [name for name, reason in named if reason is Away.UNKNOWN]
    lost = [name for name, reason in named if reason is not Away.UNKNOWN]
    sentences = (
        f"{_counts(lost)} in every row: no copy there can be read now." if lost else "",
        f"{_counts(unknown)} in every row: no node has looked there." if unknown else "",
    )
    return " ".join(filter(None, sentences))


def _counts(names: Sequence[str]) -> str:
    *others, last = names
    listed = f"{', '.join(others)} and {last}" if others else last
    return f"{listed} {'count' if others else 'counts'} as failed"


# --- keys by server ---


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark for what is known of copies on a server: a shape, a tone and a word."""

    icon: str
    tone: Tone
    word: str


SHAPES: Final = {CopyMark.PROVEN_AWAY: "away", CopyMark.DIFFERENT: "different"}
"""The icons of marks that share their tone with another mark. The icon of any other mark is that of its tone."""

COPIES: Final = {mark: Mark(SHAPES.get(mark, tone), tone, word) for mark, (tone, word) in MARKS.items()}
"""The mark of each kind of copy."""

IN_DOMAIN: Final = Mark("none", Tone.OK, "in its domain")
"""The mark of a server without a copy of its own, while another server of its replication domain has a proven one."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """Keys whose copies lie alike. In ``readable`` domains they can be read now. ``share`` is in percent."""

    keys: int
    share: float
    marks: tuple[Mark, ...]
    readable: int
    tone: Tone
    oldest_proof: datetime | None
    named: NamedKeys


def key_rows(outlook: Outlook) -> list[KeyRow]:
    """Return the keys, those whose copies lie alike in one row; those readable in the fewest domains first."""
    return [_key_row(outlook, each) for each in sorted(outlook.survival.patterns, key=lambda each: each.readable)]


def _key_row(outlook: Outlook, pattern: Pattern) -> KeyRow:
    of = outlook.domain_of
    held = {of[uuid] for uuid, mark in pattern.marks if mark in {CopyMark.PROVEN, CopyMark.PROVEN_AWAY}}
    return KeyRow(
        keys=pattern.keys,
        share=percent(pattern.keys, outlook.survival.keys),
        marks=tuple(
            IN_DOMAIN if mark is CopyMark.MISSING and of[uuid] in held else COPIES[mark] for uuid, mark in pattern.marks
        ),
        readable=pattern.readable,
        tone=Tone.OK if pattern.readable > 1 else Tone.WARN if pattern.readable else Tone.BAD,
        oldest_proof=pattern.oldest_proof,
        named=named_keys("", pattern.named, pattern.keys, NAMED_IN_ROW),
    )


def legend(outlook: Outlook) -> list[Mark]:
    """Return the marks that the table explains."""
    several = len(outlook.servers) > len(outlook.survival.domains)
    return [*COPIES.values(), *[IN_DOMAIN] * several]


# --- reports ---


KINDS: Final = {ReportKind.PROOF: "Proof of every copy", ReportKind.REBOOT_DRILL: "Reboot drill"}
"""What a report is, in words."""


# --- all key managers ---


@dataclass(frozen=True, slots=True)
class ManagerLine:
    """A key manager in the list: what it survives now."""

    uuid: str
    vserver: str
    keys: int
    said: Sentence


def manager_lines(managers: Iterable[Watched]) -> list[ManagerLine]:
    """Return the key managers, the one that survives least first; those without a key last."""
    ordered = sorted(managers, key=lambda each: (weakness(each.survival), each.vserver))
    return [ManagerLine(each.of.uuid, each.vserver, each.survival.keys, survives(each.survival)) for each in ordered]


def weakness(found: Survival) -> tuple[bool, int, int]:
    """Return the place of a key manager in an order: the one that survives least first."""
    return not found.keys, found.now.survives, -found.now.at_risk


def more_domains(number: int) -> str:
    """Return how many more replication domains, whichever they are: ``any 2 more replication domains``."""
    return "any one more replication domain" if number == 1 else f"any {number} more replication domains"


def unreadable(found: Survival) -> tuple[int, int]:
    """Return how many keys cannot be read now, and of how many more that is not known: no node has looked there."""
    now = found.now
    lost = found.without(frozenset(uuid for uuid, reason in now.away.items() if reason is not Away.UNKNOWN)).keys
    return lost, now.unreadable.keys - lost


def survives(found: Survival) -> Sentence:
    """Return a sentence about what the keys of a key manager survive now."""
    now = found.now
    if not found.keys:
        return Sentence(Tone.OK, "There is no key that could be lost.")
    lost, unsure = unreadable(found)
    if lost:
        return Sentence(Tone.BAD, f"{counted(lost, 'key')} cannot be read.")
    if unsure:
        return Sentence(Tone.UNKNOWN, f"Of {counted(unsure, 'key')} it is not known.")
    if now.survives:
        return Sentence(Tone.OK, f"{more_domains(now.survives).capitalize()} may fail without a loss.")
    return Sentence(
        Tone.WARN, f"If one more replication domain fails, {counted(now.at_risk, 'key')} could not be read."
    )
