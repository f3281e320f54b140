"""A history of what callers did to keys and were told, and a checker of it, as of a register that must lose nothing.

The recorder numbers every beginning and every end, so that an operation that ended before another began came before it;
of two that overlap, either may have come first. The checker demands only what holds in every such order:

* an acknowledged key is readable, with the bytes that it was made with, from its acknowledgement on, by every read for
  which the guarantee holds (``guaranteed``: a proven copy on a server that was well all the time, and a node that ran);
  a retirement that is refused under the same guarantee shows a lost key as well;
* no read returns other bytes, whatever fails; no key has two materials, no name two keys;
* a creation that was refused leaves nothing that can be read; one of unknown outcome is a key or is none;
* a retired key is not readable until it is recovered, which it cannot be once its window has passed;
* a purged key never comes back;
* a key manager never has more than four key servers, and has those that were added and not removed.

On real nodes the numbers are seconds. Then the checker also says how long a node without its database may answer.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count, pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

NEVER: Final = float("inf")
MOST_SERVERS: Final = 4


def short(key_id: str) -> str:
    """Return what tells key ids apart."""
    return key_id[-48:-16] or key_id


class Kind(StrEnum):
    """What was done. ``purged``: the key was seen to be gone. ``window``: what was retired cannot be recovered now."""

    CREATE = "create"
    READ = "read"
    RETIRE = "retire"
    RECOVER = "recover"
    PURGED = "purged"
    WINDOW = "window"
    ADD_SERVER = "add server"
    REMOVE_SERVER = "remove server"
    SERVERS = "list servers"


class Outcome(StrEnum):
    """What the caller was told. ``unknown``: nothing; it happened before the operation's end, or not at all."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass
class Operation:
    """One operation. ``began`` and ``ended`` are numbers of the recorder's; what never ended, ended :data:`NEVER`.

    ``key`` is the key's id, empty where it is not known; ``material`` what was given or returned, None where it is not
    known. ``alone``: the node had just lost its database, and answered by what it knew last. ``servers`` are the key
    servers that a list showed. ``by`` and ``said`` are for the reader: who was asked, and the text of a refusal.
    """

    kind: Kind
    name: str
    began: float
    key: str = ""
    ended: float = NEVER
    outcome: Outcome = Outcome.UNKNOWN
    material: bytes | None = field(default=None, repr=False)
    guaranteed: bool = False
    alone: bool = False
    servers: frozenset[str] = frozenset()
    by: str = ""
    said: str = ""

    def __str__(self) -> str:
        marks = (" (guaranteed)" if self.guaranteed else "") + (f" by {self.by}" if self.by else "")
        said = f": {self.said}" if self.said else ""
        what = f"{self.kind} {self.name!r} {short(self.key)}"
        return f"[{self.began:.10g}-{self.ended:.10g}] {what}: {self.outcome}{marks}{said}"

    def ok(self, *, key: str | None = None, material: bytes | None = None) -> None:
        """It was done; ``key`` and ``material`` are what came back."""
        self.outcome = Outcome.OK
        self.key = self.key if key is None else key
        self.material = self.material if material is None else material

    def failed(self) -> None:
        """It was refused for good."""
        self.outcome = Outcome.FAILED

    @property
    def may_have_happened(self) -> bool:
        """Return True if it was done, as far as the caller knows."""
        return self.outcome is not Outcome.FAILED


class History:
    """The recorder, for several threads. ``number`` gives the numbers.

    ``late``: what has no known outcome may still happen after its caller has given up.
    """

    def __init__(self, number: Callable[[], float] | None = None, *, late: bool = False) -> None:
        self.operations: list[Operation] = []
        self._number = number or count(1).__next__
        self._late = late

    @contextmanager
    def operation(
        self, kind: Kind, name: str = "", key: str = "", material: bytes | None = None
    ) -> Iterator[Operation]:
        """Record an operation from here to the end of the block; until it is told otherwise its outcome is unknown."""
        made = Operation(kind, name, self._number(), key, material=material)
        self.operations.append(made)
        try:
            yield made
        finally:
            if made.outcome is not Outcome.UNKNOWN or not self._late:
                made.ended = self._number()

    def window_passed(self) -> None:
        """Note that what was retired by now cannot be recovered any more."""
        with self.operation(Kind.WINDOW) as passed:
            passed.ok()


def check(operations: Sequence[Operation], alone: float = NEVER) -> list[str]:
    """Return what is wrong with a history, a line each; nothing when it is sound.

    A node without its database may serve a key for so long after its retirement: ``alone``, in the history's numbers.
    """
    facts = _Facts(operations, alone)
    return [f"{rule.__name__.strip('_')}: {line}" for rule in RULES for line in rule(facts)]


class _Facts:
    """A history, looked at from several sides."""

    def __init__(self, operations: Sequence[Operation], alone: float) -> None:
        self.operations = operations
        self.alone = alone
        self.acknowledged = {each.key: each for each in self.of(Kind.CREATE) if each.outcome is Outcome.OK}

    def of(self, *kinds: Kind, key: str | None = None) -> list[Operation]:
        """Return the operations of some kinds, and of one key."""
        return [each for each in self.operations if each.kind in kinds and key in {None, each.key}]

    def servers(self) -> list[Operation]:
        """Return the lists of key servers."""
        return [each for each in self.of(Kind.SERVERS) if each.outcome is Outcome.OK]

    def reads(self) -> list[Operation]:
        """Reads that returned something."""
        return [each for each in self.of(Kind.READ) if each.outcome is Outcome.OK]

    def may_be_retired(self, read: Operation) -> bool:
        """Return True if any order has the key retired at some time of a read."""
        recovered = [each for each in self.of(Kind.RECOVER, key=read.key) if each.outcome is Outcome.OK]
        return any(
            retire.may_have_happened
            and retire.began < read.ended
            and not any(retire.ended < each.began and each.ended < read.began for each in recovered)
            for retire in self.of(Kind.RETIRE, key=read.key)
        )

    def retired_by(self, operation: Operation, *, until: float) -> Operation | None:
        """Return what had retired the key in every order when an operation began, and was not taken back until then."""
        for retire in self.of(Kind.RETIRE, key=operation.key):
            if retire.outcome is Outcome.OK and retire.ended < operation.began:
                undone = [each for each in self.of(Kind.RECOVER, key=operation.key) if each is not operation]
                if not any(
                    each.may_have_happened and each.began < until and each.ended > retire.began for each in undone
                ):
                    return retire
        return None

    def may_be_gone(self, key: str, by: float) -> bool:
        """Return True if the key may have been purged by then: it may have been retired, and then a window passed."""
        return any(
            retire.may_have_happened and retire.began < window.began and window.began < by
            for retire in self.of(Kind.RETIRE, key=key)
            for window in self.of(Kind.WINDOW)
        )


# --- the rules: each yields what breaks it ---


def _readable(facts: _Facts) -> Iterator[str]:
    for each in facts.of(Kind.READ, Kind.RETIRE):
        created = facts.acknowledged.get(each.key)
        if created is None or created.ended > each.began or each.outcome is not Outcome.FAILED or not each.guaranteed:
            continue
        if not facts.may_be_retired(each):
            yield f"an acknowledged key is lost: {each}, created by {created}"


def _same_bytes(facts: _Facts) -> Iterator[str]:
    known: dict[str, bytes | None] = {}
    for key, created in facts.acknowledged.items():
        if created.material is not None:
            known[key] = created.material
    for read in facts.reads():
        if known.setdefault(read.key, read.material) != read.material:
            yield f"a key has two materials: {read}"


def _made_by_a_creation(facts: _Facts) -> Iterator[str]:
    unknown = [each for each in facts.of(Kind.CREATE) if each.outcome is Outcome.UNKNOWN]
    for read in facts.reads():
        created = facts.acknowledged.get(read.key)
        if created is not None and created.name == read.name:
            continue
        if not any(
            each.name == read.name and each.began < read.ended and each.material in {None, read.material}
            for each in unknown
        ):
            yield f"no creation made what was read: {read}"


def _one_key_per_name(facts: _Facts) -> Iterator[str]:
    shown: dict[str, dict[str, list[Operation]]] = {}
    for each in [*facts.acknowledged.values(), *facts.reads()]:
        shown.setdefault(each.name, {}).setdefault(each.key, []).append(each)
    for name, keys in shown.items():
        order = sorted(keys, key=lambda key: min(each.ended for each in keys[key]))
        for one, other in pairwise(order):
            seen = min(each.ended for each in keys[other])
            if not facts.may_be_gone(one, seen) or any(each.began > seen for each in keys[one]):
                yield f"a name has two keys: {name!r} {short(one)}, {short(other)}"


def _unreadable_while_retired(facts: _Facts) -> Iterator[str]:
    for read in facts.reads():
        retire = facts.retired_by(read, until=read.ended)
        if retire is not None and not (read.alone and read.began <= retire.ended + facts.alone):
            yield f"a retired key was read: {read} after {retire}"


def _purged_for_good(facts: _Facts) -> Iterator[str]:
    for purged in facts.of(Kind.PURGED):
        for each in facts.of(Kind.READ, Kind.RECOVER, Kind.RETIRE, key=purged.key):
            if each.outcome is Outcome.OK and each.began > purged.ended:
                yield f"a purged key came back: {each} after {purged}"
        if not facts.may_be_gone(purged.key, purged.began):
            yield f"a key was purged that nobody had retired: {purged}"


def _four_servers(facts: _Facts) -> Iterator[str]:
    for seen in facts.servers():
        if len(seen.servers) > MOST_SERVERS:
            yield f"more than {MOST_SERVERS} key servers: {seen} shows {sorted(seen.servers)}"


def _servers_are_kept(facts: _Facts) -> Iterator[str]:
    changes = facts.of(Kind.ADD_SERVER, Kind.REMOVE_SERVER)
    for seen in facts.servers():
        for change in changes:
            if change.outcome is not Outcome.OK or change.ended > seen.began or not seen.guaranteed:
                continue
            undone = any(
                each.name == change.name
                and each.kind is not change.kind
                and each.may_have_happened
                and each.began < seen.ended
                and each.ended > change.began
                for each in changes
            )
            if not undone and (change.name in seen.servers) != (change.kind is Kind.ADD_SERVER):
                yield f"an acknowledged change of key servers is lost: {change}, {seen} shows {sorted(seen.servers)}"


def _servers_were_added(facts: _Facts) -> Iterator[str]:
    added = [each for each in facts.of(Kind.ADD_SERVER) if each.may_have_happened]
    for seen in facts.servers():
        for server in sorted(seen.servers):
            if not any(each.name == server and each.began < seen.ended for each in added):
                yield f"nobody added a key server, or it was refused: {server}, in {seen}"


RULES: Final[Sequence[Callable[[_Facts], Iterable[str]]]] = (
    _readable,
    _same_bytes,
    _made_by_a_creation,
    _one_key_per_name,
    _unreadable_while_retired,
    _purged_for_good,
    _four_servers,
    _servers_are_kept,
    _servers_were_added,
)


def told(operations: Iterable[Operation]) -> str:
    """The operations, a line each: for the report of a failure."""
    return "\n".join(map(str, operations))
