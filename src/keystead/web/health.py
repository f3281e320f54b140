"""What the page of health shows: the nodes, and what this node knows of itself, as checks with a state. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from keystead.core.attention.cluster import is_backup_late, is_disk_full
from keystead.web.overview import end_words
from keystead.web.rendering import counted
from keystead.web.tones import Tone

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from keystead.core.attention.items import Item
    from keystead.core.keys.model import Incarnation
    from keystead.core.model import Node
    from keystead.service.cluster.health import HealthView
    from keystead.service.ports.process import ListenerFacts, NodeFacts

ENGINES: Final = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
GIB: Final = 2**30


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. ``figure`` changes all the time, so that it is no news.

    ``time`` ends the sentence.
    """

    name: str
    tone: Tone
    word: str
    sentence: str
    figure: str = ""
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node in the list. ``keeps``: it is the one that keeps keys now."""

    of: Node
    is_own: bool
    keeps: bool
    tone: Tone
    word: str

    @property
    def is_removable(self) -> bool:
        """True if the node may be removed: it is down."""
        return not self.of.up and not self.is_own


def node_rows(view: HealthView) -> list[NodeRow]:
    """Return the nodes, the worst first."""
    keeper = keeper_of(view)
    rows = [NodeRow(node, node.uuid == view.own.uuid, node.uuid == keeper, *_node_state(node)) for node in view.nodes]
    return sorted(rows, key=lambda row: (row.tone.order, row.of.name))


def _node_state(node: Node) -> tuple[Tone, str]:
    """Return the tone and the word for a node. One that starts is silent until it has looked at each key server."""
    if node.has_left:
        return Tone.BAD, "stopped"
    if node.starting:
        return Tone.UNKNOWN, "starting"
    return (Tone.OK, "up") if node.up else (Tone.BAD, "silent")


def keeper_of(view: HealthView) -> str:
    """Return the uuid of the node that keeps keys now, empty if no node does."""
    lease = view.keeper
    return lease.node if lease and lease.expires > view.time else ""


def headline(items: Sequence[Item], worst: Check) -> tuple[Tone, str]:
    """Return one sentence about the service itself. ``worst`` is its worst check: it counts if no item is as bad."""
    tone = Tone.WARN if items else Tone.OK
    if worst.tone in {Tone.BAD, Tone.WARN} and worst.tone.order < tone.order:
        return worst.tone, f"{worst.name}: {worst.word}."
    if not items:
        return tone, "Nothing of the service itself needs attention."
    verb = "needs" if len(items) == 1 else "need"
    return tone, f"{counted(len(items), 'thing')} of the service itself {verb} attention."


def checks(view: HealthView, versions: Iterable[str]) -> list[Check]:
    """Return what was looked at, the worst first. ``versions`` are those of TLS that the listener offers."""
    own = view.own
    found = [
        _keeping(view),
        _database(own, not_ready=view.not_ready),
        _destruction(view.incarnation),
        _backup(own, view.time),
        _disk(own),
        _spool(own),
        _listener(view.listener, versions, view.time),
        _settings(own),
    ]
    return sorted(found, key=lambda check: check.tone.order)


def _keeping(view: HealthView) -> Check:
    name, lease = "Keeping of keys", view.keeper
    if lease is None:
        return Check(name, Tone.WARN, "nobody", "No node has kept keys yet.")
    node = next((each.name for each in view.nodes if each.uuid == lease.node), "a node that is gone")
    if not keeper_of(view):
        return Check(
            name, Tone.WARN, "nobody", f"No node keeps keys. The last one was {node}, until", time=lease.expires
        )
    return Check(name, Tone.OK, "kept", f"{node} keeps the keys: it writes missing copies, and destroys what is due.")


def _database(own: NodeFacts, *, not_ready: str) -> Check:
    engine = ENGINES.get(own.engine, own.engine)
    if not_ready:
        return Check("Database", Tone.BAD, "not ready", f"This node cannot serve calls: {not_ready} ({engine}).")
    sentence = f"{engine} answers and commits, with schema {own.revision}, that of this release."
    return Check("Database", Tone.OK, "ready", sentence)


def _destruction(of: Incarnation) -> Check:
    said = f"The database is in its incarnation {of.number}"
    if of.destroys:
        return Check("Destruction", Tone.OK, "allowed", f"{said}, which may destroy what is due on key servers.")
    if of.vouching:
        sentence = (
            f"{said} and was promoted. Nothing is destroyed until all nodes have found their records in it. Since"
        )
        return Check("Destruction", Tone.UNKNOWN, "waits", sentence, time=of.vouching_since)
    sentence = f"{said} ({of.reason}). Nothing is destroyed until an administrator releases destruction. It began"
    return Check("Destruction", Tone.WARN, "held", sentence, time=of.began)


def _backup(own: NodeFacts, now: datetime) -> Check:
    what = "recovery bundle" if own.makes_bundles else "backup"
    is_late = is_backup_late(own.last_backup or own.made, now)
    if own.last_backup is None:
        tone = Tone.WARN if is_late else Tone.UNKNOWN
        return Check("Backup", tone, "none", f"This node has made no {what} yet. It was made", time=own.made)
    word = "old" if is_late else "recent"
    tone = Tone.WARN if is_late else Tone.OK
    return Check("Backup", tone, word, f"The last {what} was made", time=own.last_backup)


def _disk(own: NodeFacts) -> Check:
    figure = f"{own.free / GIB:,.1f} of {own.size / GIB:,.1f} GiB are free."
    tone, word = (Tone.WARN, "nearly full") if is_disk_full(own.free, own.size) else (Tone.OK, "has room")
    return Check("Disk", tone, word, f"The data directory is {own.folder}.", figure)


def _spool(own: NodeFacts) -> Check:
    name = "Audit records of reads"
    if own.reads_wait:
        return Check(name, Tone.WARN, "waiting", "Some wait on this node's disk for the database.")
    return Check(name, Tone.OK, "stored", "All are in the database.")


def _listener(of: ListenerFacts | None, versions: Iterable[str], now: datetime) -> Check:
    name = "Listener"
    if of is None:
        return Check(name, Tone.UNKNOWN, "not known", "This process has no listener of its own.")
    shown = of.certificate
    left = shown.not_after - now
    tone, word = Tone.OK, "sound"
    if left <= shown.warning_span:
        tone, word = (Tone.BAD, "ended") if left.total_seconds() <= 0 else (Tone.WARN, "ends soon")
    certificate = f"certificate of {shown.common_name}, issued by {shown.certificate_authority},"
    sentence = (
        f"It listens on {of.address} with {' and '.join(versions)}. The {end_words(certificate, left)}, on"
        f" {shown.not_after:%Y-%m-%d}."
    )
    figure = f"{of.connections} of {counted(of.most, 'connection')} are in use."
    return Check(name, tone, word, sentence, figure)


def _settings(own: NodeFacts) -> Check:
    name = "Settings"
    said = [f"{each} has calls refused as another cluster would refuse them." for each in own.simulated]
    if own.allows_loopback:
        said.append("egress_allow lets key servers be on this host, where they would fail together with their keys.")
    if said:
        return Check(name, Tone.WARN, "for trials", " ".join(said))
    return Check(name, Tone.OK, "for production", "None simulates anything, and no key server may be on this host.")
