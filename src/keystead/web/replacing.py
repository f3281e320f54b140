"""What stands against the removal of a key server, and how far its replacement is. Pure.

Only a removal itself proves that no key is lost: it reads the keys elsewhere. Here it is said what is known before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from keystead.core.attention.items import scoped
from keystead.core.key_servers import MAX_PRIMARIES
from keystead.core.keys.domains import wanted_copies
from keystead.core.keys.survival import CopyMark
from keystead.web.key_servers import marks_on
from keystead.web.rendering import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.core.keys.survival import Survival
    from keystead.core.model import KeyServer
    from keystead.service.keys.reporting.survival import Outlook

READABLE: Final = frozenset({CopyMark.PROVEN})
SENT: Final = frozenset({CopyMark.PROVEN, CopyMark.PROVEN_AWAY, CopyMark.UNKNOWN, CopyMark.DIFFERENT})

_EXTERNAL: Final = "keystead security key-manager external"


class Against(NamedTuple):
    """A reason against a removal: a sentence, what to do and the command for it, and the keys that it is about."""

    sentence: str
    next: str
    command: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a replacement: ``done``, ``now`` or ``later``. ``part`` of ``whole`` keys are done."""

    title: str
    state: str
    words: str
    part: int = 0
    whole: int = 0

    @property
    def percent(self) -> float:
        """How far it is."""
        return 100.0 if not self.whole else round(100 * self.part / self.whole, 1)


def against(found: Outlook, server: KeyServer) -> list[Against]:
    """Return what stands against the removal of a server, by what is known now."""
    svm = found.manager.svm
    replicate, add = (scoped(f"{_EXTERNAL} {words}", svm) for words in ("replicate", "add-servers --key-servers HOST"))
    only_here, named = _only_on(found.survival, server.uuid)
    said = []
    if only_here:
        has = "has" if only_here == 1 else "have"
        said.append(
            Against(
                f"{counted(only_here, 'key')} {has} no proven copy on another key server that answers.",
                "Bring the other key servers back, or add one and wait until it has its copies.",
                replicate,
                named,
            )
        )
    left = {found.domain_of[uuid] for uuid in candidates(found, server)}
    needed = wanted_copies(found.manager.min_copies, len(left))
    if not left:
        said.append(
            Against(
                "It is the last key server of its key manager.",
                "Add another one first. Without any, no key can be created.",
                add,
            )
        )
    elif needed > len(left):
        sentence = (
            f"New keys would be refused: {needed} copies are needed, and {counted(len(left), 'replication domain')}"
            f" {'is' if len(left) == 1 else 'are'} left."
        )
        said.append(Against(sentence, "Add a key server first, or lower min_copies.", add))
    return said


def _only_on(survival: Survival, server: str) -> tuple[int, tuple[str, ...]]:
    """Return how many keys may be on a server (uuid) and cannot be read elsewhere now, and the names of the first."""
    alone = [
        pattern
        for pattern in survival.patterns
        if dict(pattern.marks)[server] is not CopyMark.MISSING
        and not any(mark in READABLE for uuid, mark in pattern.marks if uuid != server)
    ]
    names = tuple(key.name or key.key_id for pattern in alone for key in pattern.named)
    return sum(pattern.keys for pattern in alone), names[:10]


def candidates(found: Outlook, server: KeyServer) -> Mapping[str, str]:
    """Return the other servers of the key manager, which may replace a server: their addresses by uuid."""
    return {each.uuid: str(each.address) for each in found.servers if each.uuid != server.uuid}


def steps(found: Outlook, server: KeyServer, new: str) -> list[Step]:
    """Return the four steps of a replacement by the server ``new`` (uuid; empty if it is not added yet)."""
    keys, is_added = found.survival.keys, bool(new)
    whole = keys if is_added else 0
    counts = marks_on(found.survival, new) if is_added else {}
    sent = sum(number for mark, number in counts.items() if mark in SENT)
    proven = sum(number for mark, number in counts.items() if mark in READABLE)
    fills = "Keystead writes the copies by itself, within minutes." if keys else "There is no key yet."
    proves = "Each copy is read back, and compared with the key's digest."
    planned = (
        ("Add the new key server", is_added, _adding(found, server, new), 0, 0),
        ("Copies fill", is_added and sent >= keys, fills, sent, whole),
        ("Copies are proven", is_added and proven >= keys, proves, proven, whole),
        (f"Remove {server.address}", False, "It is refused if a key could be lost by it.", 0, 0),
    )
    now = next(title for title, is_done, *_ in planned if not is_done)
    return [
        Step(title, "done" if is_done else "now" if title == now else "later", words, part, of)
        for title, is_done, words, part, of in planned
    ]


def _adding(found: Outlook, server: KeyServer, new: str) -> str:
    """Return what is to be done about the new server."""
    if new:
        return f"{candidates(found, server)[new]} is the new server."
    if len(found.servers) < MAX_PRIMARIES:
        return "Add it, or choose one that you added."
    return "All four places are taken. Remove a server that you can spare, or choose one of the others below."
