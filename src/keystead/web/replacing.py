"""What stands against the removal of a key server, and how far its replacement is. Pure.

Only a removal itself proves that no key is lost: it reads the keys elsewhere. Here it is said what is known before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from keystead.core.attention.items import scoped
from keystead.core.keys.domains import wanted_copies
from keystead.core.keys.survival import CopyMark
from keystead.web.key_servers import marks_on
from keystead.web.overview import SLOTS
from keystead.web.rendering import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.core.keys.survival import Survival
    from keystead.service.configuration.key_server_details import KeyServerDetails

READABLE: Final = frozenset({CopyMark.PROVEN})
SENT: Final = frozenset({CopyMark.PROVEN, CopyMark.PROVEN_AWAY, CopyMark.UNKNOWN, CopyMark.DIFFERENT})

_EXTERNAL: Final = "keystead security key-manager external"
_IS: Final = {True: "is", False: "are"}


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


def against(found: KeyServerDetails) -> list[Against]:
    """Return what stands against the removal of a server, by what is known now."""
    svm = found.key_manager.svm
    replicate, add = (scoped(f"{_EXTERNAL} {words}", svm) for words in ("replicate", "add-servers --key-servers HOST"))
    only_here, named = _only_on(found.survival, found.server.uuid)
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
    left = {found.domain_of[uuid] for uuid in candidates(found)}
    needed = wanted_copies(found.key_manager.min_copies, len(left))
    if not left:
        said.append(
            Against("It is the last key server of its key manager.", "Without one, no key can be created.", add)
        )
    elif needed > len(left):
        sentence = (
            f"New keys would be refused: {needed} copies are needed, and {counted(len(left), 'replication domain')}"
            f" {_IS[len(left) == 1]} left."
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


def candidates(found: KeyServerDetails) -> Mapping[str, str]:
    """Return the other servers of the key manager, which may replace a server: their addresses by uuid."""
    return {each.uuid: str(each.address) for each in found.servers if each.uuid != found.server.uuid}


def steps(found: KeyServerDetails, new: str) -> list[Step]:
    """Return the four steps of a replacement by the server ``new`` (uuid; empty if it is not added yet)."""
    keys = found.survival.keys
    counts = marks_on(found.survival, new) if new else {}
    sent = sum(number for mark, number in counts.items() if mark in SENT)
    proven = sum(number for mark, number in counts.items() if mark in READABLE)
    free = SLOTS - len(found.servers)
    add_words = "Add it, or choose one that you added." if not new else f"{candidates(found)[new]} is the new server."
    if not new and not free:
        add_words = "All four places are taken. Remove a server that you can spare, or choose one of the others below."
    done = [bool(new), bool(new) and sent >= keys, bool(new) and proven >= keys, False]
    words = [
        add_words,
        "Keystead writes the copies by itself, within minutes." if keys else "There is no key yet.",
        "Each copy is read back, and compared with the key's digest.",
        "It is refused if a key could be lost by it.",
    ]
    titles = ("Add the new key server", "Copies fill", "Copies are proven", f"Remove {found.server.address}")
    parts = (0, sent, proven, 0)
    first = done.index(False)
    return [
        Step(
            title,
            "done" if done[at] else "now" if at == first else "later",
            words[at],
            parts[at],
            keys if at in {1, 2} and new else 0,
        )
        for at, title in enumerate(titles)
    ]
