"""``keystead audit``: verifies and exports the chains of audit records, without a service. It needs the root key.

The service may run meanwhile, on any node. This module must not print: it returns the lines to show.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from keystead.app.clock import SystemClock
from keystead.app.new_files import new_file
from keystead.app.opening import CannotStart, node_uuid, opened
from keystead.core.audit import BrokenChainError
from keystead.core.audit_files import DamagedFileError, Part, Stretch, header_in, in_order, joints, record_in
from keystead.core.audit_retention import Way
from keystead.sealing import Keyring, audit_mac, read_root_key
from keystead.service.audit.exporting import RemovedMeanwhileError, export, stretches
from keystead.service.audit.saving import note_saved
from keystead.service.audit.verifying import Walk, verify
from keystead.service.ports.sealing import SealError
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TextIO

    from keystead.core.audit import Mac
    from keystead.settings import Settings

DATABASE: Final = "the database"


AT_ONCE: Final = 1000
"""Lines of a file that are verified at once."""

Walks = dict[tuple[str, str], Walk]
"""The walks by place and node."""


class Found(NamedTuple):
    """A line to show, and whether what it tells of is intact."""

    line: str
    intact: bool


# --- export ---


def export_audit(settings: Settings, file: Path, *, only_new: bool) -> list[str]:
    """Export the audit records to a file that must not exist. Return the lines to show. Raises CannotStart."""
    return asyncio.run(_export(settings, file, only_new=only_new))


async def _export(settings: Settings, file: Path, *, only_new: bool) -> list[str]:
    store, clock = opened(settings), SystemClock()
    try:
        mac = Keyring.open(read_root_key(settings.root_key_file), await store.read(lambda tx: tx.data_keys())).mac
        with new_file(file) as target:
            found = await export(
                store, mac, clock.now(), lambda line: target.write(f"{line}\n".encode()), only_new=only_new
            )
        await note_saved(store, mac, clock, Way.EXPORT, [(each.node, each.until, each.until_mac) for each in found])
    except RemovedMeanwhileError:
        raise CannotStart("old records were removed meanwhile, so nothing is written: export again") from None
    except BrokenChainError as broken:
        raise CannotStart(f"the chain is broken (`keystead audit verify`), so nothing is written: {broken}") from None
    except (SealError, StoreError) as error:
        raise CannotStart(str(error)) from None
    except OSError as error:
        raise CannotStart(f"{error.filename or file}: {error.strerror}") from None
    finally:
        await store.close()
    return [f"{file}: node {each.node}: {each}" for each in found]


# --- verification ---


def verify_audit(settings: Settings, files: Sequence[Path] = (), *, alone: bool = False) -> tuple[list[str], bool]:
    """Verify every node's audit chain, joined with exported files; with ``alone``, only the files.

    Return the lines to show, and True if all are intact. Raises CannotStart.
    """
    try:
        mac = audit_mac(read_root_key(settings.root_key_file))
        parts = {file: _parts(file, mac) for file in files}
        found = _of_files(parts, mac) if alone else asyncio.run(_with_database(settings, parts))
    except (SealError, StoreError) as error:
        raise CannotStart(str(error)) from None
    except OSError as error:
        raise CannotStart(f"{error.filename}: {error.strerror}") from None
    return [each.line for each in found], all(each.intact for each in found)


def _of_files(parts: Mapping[Path, Sequence[Part]], mac: Mac) -> list[Found]:
    walks = _walks([each for of in parts.values() for each in of], mac)
    return [*_verified(parts, walks), *_joined([each for of in parts.values() for each in of], walks)]


async def _with_database(settings: Settings, parts: Mapping[Path, Sequence[Part]]) -> list[Found]:
    store = opened(settings)
    try:
        keyring = Keyring.open(read_root_key(settings.root_key_file), await store.read(lambda tx: tx.data_keys()))
        kept = [Part(DATABASE, each) for each in await store.read(lambda tx: stretches(tx, keyring.mac))]
        every = [*(each for of in parts.values() for each in of), *kept]
        walks = _walks(every, keyring.mac)
        of_database = {node: walk for (place, node), walk in walks.items() if place == DATABASE}
        reports = await verify(store, keyring.mac, node_uuid(settings.data), walks=of_database)
    finally:
        await store.close()
    found = [Found(str(report), report.intact) for report in reports]
    return [*found, *_verified(parts, walks), *_joined(every, walks)] if parts else found


def _parts(file: Path, mac: Mac) -> list[Part]:
    """Return what a file says that it has. Raises CannotStart if it is no export."""
    with file.open(encoding="utf-8", errors="replace") as lines:
        try:
            return [Part(str(file), each) for each in header_in(lines.readline(), mac).stretches]
        except DamagedFileError as error:
            raise CannotStart(f"{file}: line 1 {error}") from None


def _walks(parts: Sequence[Part], mac: Mac) -> Walks:
    """Return a walk for each part. It looks up the MACs by which the parts before it are compared with it.

    A walk of the database begins at its first record; :func:`verify` finds out which that is.
    """
    wanted: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for node, of in _by_node(parts).items():
        for before, after in joints(of):
            if after is not None:
                wanted[after.place, node].add(before.stretch.until)

    def walk(part: Part) -> Walk:
        of, key = part.stretch, (part.place, part.stretch.node)
        start = (0, b"") if part.place == DATABASE else (of.after, of.after_mac)
        return Walk(of.node, mac, start, wanted[key])

    return {(each.place, each.stretch.node): walk(each) for each in parts}


def _verified(parts: Mapping[Path, Sequence[Part]], walks: Walks) -> Iterator[Found]:
    """Verify the records of each file, and yield a line for each part."""
    for file, of in parts.items():
        with file.open(encoding="utf-8", errors="replace") as lines:
            lines.readline()
            for part in of:
                said = f"{file}: node {part.stretch.node}"
                try:
                    _follow(lines, part.stretch, walks[part.place, part.stretch.node])
                except BrokenChainError as broken:
                    yield Found(f"{said}: BROKEN: record {broken.index} {broken.reason}", intact=False)
                else:
                    yield Found(f"{said}: intact, {part.stretch}", intact=True)
            if lines.read(1):
                yield Found(f"{file}: BROKEN: it goes on after what its first line says", intact=False)


def _follow(lines: TextIO, stretch: Stretch, walk: Walk) -> None:
    """Verify the next lines as the records of a stretch. Raises BrokenChainError."""
    left = stretch.until - stretch.after
    while left:
        try:
            records = [record_in(line) for line in islice(lines, min(left, AT_ONCE))]
        except DamagedFileError as error:
            raise BrokenChainError(walk.last[0] + 1, f"or one of the next {AT_ONCE} {error}") from None
        walk.go(records)
        if not records:
            raise BrokenChainError(walk.last[0] + 1, "is missing, and all after it")
        left -= len(records)
    if walk.last != (stretch.until, stretch.until_mac):
        raise BrokenChainError(stretch.until, "is another one than the first line says")


def _joined(parts: Sequence[Part], walks: Walks) -> Iterator[Found]:
    """Compare the parts of each node, and yield what is wrong, or how far they go together."""
    for node, of in _by_node(parts).items():
        wrong = [*_differences(of, walks)]
        for each in wrong:
            yield Found(f"node {node}: BROKEN: {each}", intact=False)
        if len(of) > 1 and not wrong:
            first, last = min(each.stretch.after for each in of) + 1, in_order(of)[-1].stretch.until
            yield Found(f"node {node}: records {first} to {last} are joined without a gap", intact=True)


def _differences(parts: Sequence[Part], walks: Walks) -> Iterator[str]:
    """Yield what is wrong between the parts of one node."""
    for before, after in joints(parts):
        end = before.stretch.until
        if after is None:
            yield f"the records after record {end}, the last in {before.place}, are missing"
            continue
        found = walks[after.place, before.stretch.node].found.get(end)
        if found is None:
            yield f"record {end}, the last in {before.place}, was not reached in {after.place}: it broke, or was cut"
        elif found != before.stretch.until_mac:
            yield f"record {end} of {after.place} is another one than in {before.place}"
    last = in_order(parts)[-1]
    for each in parts:
        if each.place == DATABASE and each.stretch.until < last.stretch.until:
            yield f"{DATABASE} ends at record {each.stretch.until}, {last.place} at record {last.stretch.until}"


def _by_node(parts: Sequence[Part]) -> dict[str, list[Part]]:
    found: defaultdict[str, list[Part]] = defaultdict(list)
    for part in parts:
        found[part.stretch.node].append(part)
    return dict(sorted(found.items()))
