"""What the pages of keys show: states in words, marks of copies, filters and places in the list. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from keystead.core.keys.model import Copy, KeyState, KeyType, Presence, Receipt
from keystead.core.keys.survival import CopyMark
from keystead.core.keys.waiting import WaitsFor, Work
from keystead.service.keys.listing import KeyFilter
from keystead.web.lists import choice_of, invalid, path_with, text_of
from keystead.web.rendering import counted, span
from keystead.web.tones import Tone

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from keystead.core.keys.waiting import WaitingCopy
    from keystead.service.keys.catalogue import CopyView, KeyView
    from keystead.service.keys.listing import ListedKey, Place
    from keystead.service.keys.reporting.waiting import WaitingView

KEYS: Final = "/keys"
"""The path of the list."""

_PLACE_LIMIT: Final = 4096

STATES: Final = {
    "": "all that are not destroyed",
    KeyState.COMMITTED.value: "in use",
    KeyState.RETIRED.value: "deleted",
    KeyState.PURGING.value: "being destroyed",
    KeyState.PURGED.value: "destroyed",
    KeyState.PENDING.value: "being created",
}
"""The states that the list can be filtered by, in words."""

MARKS: Final = {
    CopyMark.PROVEN: (Tone.OK, "proven"),
    CopyMark.PROVEN_AWAY: (Tone.WARN, "proven, away"),
    CopyMark.MISSING: (Tone.BAD, "missing"),
    CopyMark.DIFFERENT: (Tone.BAD, "different"),
    CopyMark.UNKNOWN: (Tone.UNKNOWN, "not known"),
}
"""The tone and the words of each mark. ``away``: the key server cannot be read now."""

PRESENCES: Final = {
    Presence.PRESENT: (Tone.OK, "proven"),
    Presence.MISSING: (Tone.BAD, "missing"),
    Presence.DIFFERENT: (Tone.BAD, "different"),
    Presence.SENT: (Tone.UNKNOWN, "sent, no answer yet"),
    Presence.UNKNOWN: (Tone.UNKNOWN, "not known"),
    Presence.DESTROYED: (Tone.UNKNOWN, "destroyed"),
}
"""The tone and the words of what is known of a copy."""

IN_DOMAIN: Final = (Tone.OK, "in its domain")
"""The tone and the words of a server without a copy, while another server of its domain has a proven one."""

TYPES: Final = {KeyType.VEK: "volume key", KeyType.NSE_AK: "authentication key"}

ACTIONS: Final = {
    "revoked": "revoked",
    "destroyed": "destroyed",
    "absent": "was already gone",
    "left": "left there, because it was adopted",
    "abandoned": "given up with its key server",
    "not_written": "was never written",
}
"""The words for the actions of receipts."""

WORKS: Final = {
    Work.SETTLE: "Find out whether the key server took the copy",
    Work.DESTROY: "Destroy what a failed creation left",
    Work.PURGE: "Destroy the copy",
}
WAITS: Final = {
    WaitsFor.SERVER: "the key server must answer and show our keys",
    WaitsFor.OTHER_SERVER: "another key server of this creation must answer first",
    WaitsFor.RELEASE: "an administrator must release destruction",
    WaitsFor.LATE_REGISTER: "for an hour, an unanswered write may still arrive",
    WaitsFor.EPOCH_MARKER: "the key server must store our next epoch marker; it may be full",
    WaitsFor.NEXT_ROUND: "nothing: it is done in one of the next rounds",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """A key's state: its tone and its words. ``detail`` says what follows, or is empty."""

    tone: Tone
    word: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class CopySummary:
    """A key's copies in a few words, and the mark of each server: address, tone, words."""

    tone: Tone
    words: str
    marks: tuple[tuple[str, Tone, str], ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key in the list. ``copies`` is None if the account does not see the key servers."""

    path: str
    of: ListedKey
    owner: str
    standing: Standing
    copies: CopySummary | None


def key_path(key_manager: str, key_id: str) -> str:
    """Return the path of a key's page."""
    return f"{KEYS}/{quote(key_manager, safe='')}/{quote(key_id, safe='')}"


def row(listed: ListedKey, now: datetime, *, destroys: bool) -> KeyRow:
    """Return a key as a row. ``destroys`` is False while destruction is held."""
    key = listed.key
    return KeyRow(
        key_path(key.key_manager, key.key_id),
        listed,
        key.svm.name if key.svm else listed.vserver,
        standing(listed, now, destroys=destroys),
        copy_summary(listed),
    )


def standing(listed: ListedKey, now: datetime, *, destroys: bool) -> Standing:
    """Return a key's state in words. For a deleted key, also for how long it can be recovered."""
    key = listed.key
    if key.state is KeyState.RETIRED:
        return _deleted(listed, now, destroys=destroys)
    if key.state is KeyState.PURGING and not destroys:
        return Standing(Tone.UNKNOWN, "being destroyed", "waits until an administrator releases destruction")
    tone = Tone.OK if key.state is KeyState.COMMITTED else Tone.UNKNOWN
    return Standing(tone, STATES[key.state.value])


def _deleted(listed: ListedKey, now: datetime, *, destroys: bool) -> Standing:
    if not listed.recoverable:
        return Standing(Tone.UNKNOWN, "deleted", "cannot be recovered, waits for key servers to be destroyed")
    ends = listed.recovery_ends
    if ends is None:
        return Standing(Tone.WARN, "deleted", "can be recovered: destroyed only if it is deleted again")
    if not destroys:
        return Standing(Tone.WARN, "deleted", "can be recovered while destruction is held")
    if ends <= now:
        return Standing(Tone.WARN, "deleted", "can be recovered until the next round destroys it")
    return Standing(Tone.WARN, "deleted", f"can be recovered for {span(ends - now)}")


def copy_summary(listed: ListedKey) -> CopySummary | None:
    """Return a key's copies in words. The worst tone is for a key in use that no key server holds for sure."""
    if listed.copies is None:
        return None
    proven, domains = listed.copies.proven, listed.copies.domains
    covered = listed.copies.covered
    marks = tuple(
        (address, *(IN_DOMAIN if address in covered else MARKS[mark])) for address, mark in listed.copies.marks
    )
    words = f"{proven} of {counted(domains, 'domain')}"
    sentence = f"{words} {'holds' if proven == 1 else 'hold'} a proven copy."
    away = sum(mark is CopyMark.PROVEN_AWAY for _, mark in listed.copies.marks)
    if away:
        words += f", {counted(away, 'server')} away"
        sentence += f" {counted(away, 'key server')} with a copy cannot be read now."
    if listed.key.state not in {KeyState.COMMITTED, KeyState.RETIRED}:
        return CopySummary(Tone.UNKNOWN, words, marks, sentence)
    is_whole = proven == domains and all(tone is Tone.OK for _, tone, _ in marks)
    return CopySummary(Tone.BAD if not proven else Tone.OK if is_whole else Tone.WARN, words, marks, sentence)


# --- filters and places ---


def key_filter(asked: Mapping[str, str]) -> KeyFilter:
    """Return the filter of a list's parameters. Raises 262185 (400) for a bad one."""
    name, svm, key_manager = (text_of(asked, each) for each in ("name", "svm", "key_manager"))
    state = choice_of(asked, "state", STATES)
    return KeyFilter(name, svm, key_manager, KeyState(state) if state else None)


def filter_values(wanted: KeyFilter) -> dict[str, str]:
    """Return the parameters of a filter, as the form shows them."""
    state = wanted.state.value if wanted.state else ""
    return {"name": wanted.name, "svm": wanted.svm, "key_manager": wanted.key_manager, "state": state}


def place(text: str) -> Place | None:
    """Return the place after which a page begins. Empty: the first page. Raises 262185 (400) if it is no place."""
    if not text:
        return None
    try:
        svm, name, uuid = json.loads(text[:_PLACE_LIMIT])
    except (ValueError, TypeError, RecursionError):
        raise invalid("after", "it is no place in the list") from None
    parts = (name, uuid) if svm is None else (svm, name, uuid)
    if not all(isinstance(each, str) and each.isprintable() for each in parts):
        raise invalid("after", "it is no place in the list")
    return svm, name, uuid


def next_page(wanted: KeyFilter, last: ListedKey) -> str:
    """Return the path of the page that follows the key."""
    key = last.key
    after = json.dumps([key.svm.name if key.svm else None, key.name, key.uuid])
    return path_with(KEYS, {**filter_values(wanted), "after": after})


# --- one key ---


def copies(view: KeyView, listed: ListedKey) -> list[tuple[CopyView, Copy, Tone, str]]:
    """Return the copies of a key, each with a tone and words."""
    return [(each, each.of, *_seen(each, each.of, listed)) for each in view.copies if isinstance(each.of, Copy)]


def _seen(view: CopyView, of: Copy, listed: ListedKey) -> tuple[Tone, str]:
    """Return what is known of a copy. A proven one may be on a server that is away now."""
    known = listed.copies
    if known and of.presence is Presence.PRESENT and (view.server, CopyMark.PROVEN_AWAY) in known.marks:
        return MARKS[CopyMark.PROVEN_AWAY]
    if known and of.presence is Presence.MISSING and view.server in known.covered:
        return IN_DOMAIN
    return PRESENCES[of.presence]


def receipts(view: KeyView) -> list[tuple[CopyView, Receipt, str]]:
    """Return the receipts of a key, each with its action in words."""
    return [(each, each.of, ACTIONS[each.of.action]) for each in view.receipts if isinstance(each.of, Receipt)]


def deletion(days: int, ends: datetime, *, destroys: bool) -> str:
    """Return what deleting a key would mean. ``ends`` is when its recovery window would end."""
    if not days:
        when = "at once" if destroys else "as soon as an administrator releases destruction"
        return f"It is destroyed {when}: key_recovery_days is 0, so it cannot be recovered."
    return f"Then it cannot be read. Until {ends:%d %b %Y, %H:%M} UTC it can be recovered. After that it is destroyed."


def waiting_for(found: Iterable[WaitingView], key_id: str) -> list[tuple[str, str, str, WaitingCopy]]:
    """Return what waits for a key: what, for what, at which address, and the copy."""
    return [
        (WORKS[each.of.work], WAITS[each.of.waits_for], each.of.copy.host or each.server, each.of)
        for each in found
        if each.of.key.key_id == key_id
    ]
