"""What is wrong with the cluster, and with the node that answers."""

from __future__ import annotations

import shlex
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from keystead.core.attention.items import Item, Severity, Subject, scoped
from keystead.core.availability import SERVER, silent_nodes
from keystead.core.forwarding.destinations import Log

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from keystead.core.availability import UsedCertificate
    from keystead.core.forwarding.destinations import Destination
    from keystead.core.keys.model import Incarnation
    from keystead.core.model import Node

BACKUP_DUE: Final = timedelta(days=7)
"""How old the last backup may be."""

DROPPED_SHOWN: Final = timedelta(days=1)
"""For how long it is listed that messages were dropped."""

DISK_FREE: Final = 0.05
"""The part of the data directory's file system that must be free."""


_OURS: Final = (
    "It is installed here",
    "Install its successor, and change what uses it.",
    "keystead security certificate show",
)
_LISTENERS: Final = (
    "The HTTPS listener shows it",
    "Replace the files of the listener's certificate and key. They are taken without a restart.",
    "keystead serve --help",
)


def certificate_items(used: Iterable[UsedCertificate], now: datetime) -> Iterator[Item]:
    """Yield the certificates that ended or end soon, each once. ``since`` is when that began."""
    for each in {each.identity: each for each in used}.values():
        left = each.not_after - now
        if left > each.warning_span:
            continue
        ended = left <= timedelta()
        whose, advice, command = _OURS
        if each.key_server:
            whose, advice = f"The key server {each.key_server} shows it", "Renew it on the key server."
            command = scoped("keystead security key-manager external probe", each.svm)
        elif each.type == SERVER:
            whose, advice, command = _LISTENERS
        yield Item(
            Subject.CERTIFICATE,
            each.common_name,
            Severity.WARNING,
            reason=f"It {'ended' if ended else 'ends'} on {each.not_after:%Y-%m-%d %H:%M} UTC. {whose}: serial number"
            f" {each.serial_number}, issued by {each.certificate_authority}.",
            advice=advice,
            command=command,
            since=each.not_after if ended else each.not_after - each.warning_span,
            svm=each.svm,
            vserver=each.vserver,
        )


_SILENT: Final = (
    "The node has given no sign of life. What it observed does not count.",
    "Start it again on its host, or look at its log there. If it is gone for good: `keystead node remove`.",
)
_LEFT: Final = (
    "The node was stopped. What it observed does not count.",
    "Start it again on its host. If it is gone for good: `keystead node remove`.",
)
_STARTING: Final = (
    "It is starting, and has not looked at every key server yet. What it observed before does not count.",
    "Wait for it. If it takes more than some minutes, look at its log on its host.",
)


def node_items(nodes: Sequence[Node]) -> Iterator[Item]:
    """Yield the nodes that are silent. One that starts gives its first sign of life after its first looks."""
    silent = silent_nodes(nodes)
    for node in nodes:
        if node.uuid in silent:
            reason, advice = _LEFT if node.has_left else _STARTING if node.starting else _SILENT
            yield Item(
                Subject.NODE,
                node.name,
                Severity.WARNING,
                reason=reason,
                advice=advice,
                command="keystead node show",
                since=node.heard_at,
                identifier=node.uuid,
            )


def destruction_items(incarnation: Incarnation) -> Iterator[Item]:
    """Yield an item if destruction is held. While nodes vouch, nobody need act."""
    if not incarnation.destroys and not incarnation.vouching:
        yield Item(
            Subject.DESTRUCTION,
            f"incarnation {incarnation.number}",
            Severity.WARNING,
            reason=f"Nothing is destroyed on key servers: the database began a new incarnation ({incarnation.reason}).",
            advice="Make sure that no other copy of the database is in use. Then release destruction.",
            command="keystead security key-manager incarnation release",
            since=incarnation.began,
        )


def spool_items(*, is_waiting: bool) -> Iterator[Item]:
    """Yield an item if audit records of reads wait for the database."""
    if is_waiting:
        yield Item(
            Subject.AUDIT,
            "read spool",
            Severity.WARNING,
            reason="Audit records of reads wait on this node's disk for the database.",
            advice="They are merged by themselves once the database takes writes again.",
            command="keystead event log show",
        )


def retention_items(*, unsaved: bool, overdue: bool) -> Iterator[Item]:
    """Yield an item if audit records stay that the settings let go: no backup or export has them, or they are overdue.

    See :func:`keystead.service.cluster.audit_retention.waiting`.
    """
    if unsaved:
        yield Item(
            Subject.AUDIT,
            "retention",
            Severity.WARNING,
            reason="Old audit records are not removed, because no export and no backup has them.",
            advice="Export them, or make a backup of an SQLite database. Then they are removed within a day.",
            command="keystead audit export FILE",
        )
    if overdue:
        yield Item(
            Subject.AUDIT,
            "retention",
            Severity.WARNING,
            reason="Old audit records that a backup or an export has are still not removed.",
            advice="Verify the chains: a broken one is not cut. A destination that lacks the records keeps them, too.",
            command="keystead audit verify",
        )


_OF_DESTINATIONS: Final = {
    Log.AUDIT: "keystead security audit destination show",
    Log.EVENTS: "keystead event destination show",
}


def destination_items(destinations: Iterable[Destination], now: datetime) -> Iterator[Item]:
    """Yield the destinations that take no messages, and those for which some were dropped."""
    for each in destinations:
        progress, command = each.progress, _OF_DESTINATIONS[each.log]
        if progress.failing_since is not None:
            yield Item(
                Subject.DESTINATION,
                each.address,
                Severity.WARNING,
                reason=f"It takes no messages of the log {each.log}: {progress.reason}.",
                advice="Bring it back, or correct the destination. What waits is sent then.",
                command=command,
                since=progress.failing_since,
            )
        if progress.dropped_at is not None and now - progress.dropped_at < DROPPED_SHOWN:
            yield Item(
                Subject.DESTINATION,
                each.address,
                Severity.WARNING,
                reason=f"{progress.dropped} messages of the log {each.log} were dropped, because too many waited.",
                advice="Audit records are still in the audit log here: read those that it lacks there.",
                command="keystead security audit show" if each.log is Log.AUDIT else "keystead event log show",
                since=progress.dropped_at,
            )


def is_disk_full(free: int, size: int) -> bool:
    """Return True if a file system is nearly full. Sizes are in bytes."""
    return free < size * DISK_FREE


def disk_items(folder: str, free: int, size: int) -> Iterator[Item]:
    """Yield an item if the file system of the data directory is nearly full. Sizes are in bytes."""
    if is_disk_full(free, size):
        yield Item(
            Subject.DISK,
            folder,
            Severity.WARNING,
            reason=f"The disk of the data directory is nearly full: {free // 2**20} MiB are free.",
            advice="Make room. Without it neither changes nor reads of keys can be recorded, and they are refused.",
            command=f"df -h {shlex.quote(folder)}",
        )


def is_backup_late(last: datetime, now: datetime) -> bool:
    """Return True if the last backup is too old. Without a backup, ``last`` is when the node was made."""
    return now - last > BACKUP_DUE


def backup_items(last: datetime, now: datetime, *, is_first: bool, is_bundle: bool) -> Iterator[Item]:
    """Yield an item if this node's last backup is too old.

    ``is_first``: there is none, and ``last`` is when the node was made. ``is_bundle``: the database has backups of its
    own, so that the node makes recovery bundles only.
    """
    if is_backup_late(last, now):
        said = "This node has made no backup" if is_first else f"The last backup is of {last:%Y-%m-%d %H:%M} UTC"
        yield Item(
            Subject.BACKUP,
            "database",
            Severity.WARNING,
            reason=f"{said}.",
            advice="Make one every day. Without it, the logins at the key servers are lost with the database.",
            command="keystead backup --bundle FILE" if is_bundle else "keystead backup FILE",
            since=last + BACKUP_DUE,
        )


def setting_items(*, allows_loopback: bool, simulated: Iterable[str] = ()) -> Iterator[Item]:
    """Yield the settings that are for trials only. ``simulated`` are the names of those that simulate something."""
    for name in simulated:
        yield Item(
            Subject.SETTING,
            name,
            Severity.WARNING,
            reason="Calls are refused as another cluster would refuse them.",
            advice=f"This is for tests of clients. Take KEYSTEAD_{name.upper()} away in production.",
            command="keystead serve --help",
        )
    if allows_loopback:
        yield Item(
            Subject.SETTING,
            "egress_allow",
            Severity.WARNING,
            reason="Key servers may be on this host: it would fail together with its keys.",
            advice="This is for trials. Take the loopback networks out of KEYSTEAD_EGRESS_ALLOW in production.",
            command="keystead serve --help",
        )
