"""Items: things that need somebody. Each says why, what to do, the command that helps and, if known, since when."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from keystead.core.model import Svm


class Severity(StrEnum):
    """How bad an item is, the worst first. ``critical``: no address of a key server can be read, or keys cannot."""

    CRITICAL = "critical"
    WARNING = "warning"


class Subject(StrEnum):
    """What an item is about. Of two items of one severity, the one whose subject is named first here is worse."""

    KEYS = "keys"
    KEY_SERVER = "key_server"
    DESTRUCTION = "destruction"
    AUDIT = "audit"
    DESTINATION = "destination"
    DISK = "disk"
    CERTIFICATE = "certificate"
    NODE = "node"
    UNCLAIMED_OBJECTS = "unclaimed_objects"
    BACKUP = "backup"
    SETTING = "setting"


@dataclass(frozen=True, slots=True)
class Item:
    """A thing that needs somebody. ``name`` says which: an address, a common name, the name of a node.

    ``vserver`` is the SVM's name, or the cluster's. ``key_manager`` is a uuid, empty for what concerns none.
    ``identifier`` is the subject's part of its path in the API.
    """

    subject: Subject
    name: str
    severity: Severity
    reason: str
    advice: str
    command: str
    since: datetime | None = None
    svm: Svm | None = None
    vserver: str = ""
    key_manager: str = ""
    identifier: str = ""


def scoped(command: str, svm: Svm | None) -> str:
    """Return a command with the option that names the SVM, quoted for a shell.

    ``svm`` is None for the cluster, which needs no option.
    """
    return f"{command} --vserver {shlex.quote(svm.name)}" if svm else command


def worst_first(items: Iterable[Item]) -> list[Item]:
    """Return the items in order: by severity, by subject, then the oldest first."""
    severities, subjects = list(Severity), list(Subject)
    return sorted(
        items,
        key=lambda item: (
            severities.index(item.severity),
            subjects.index(item.subject),
            item.since is None,
            item.since.timestamp() if item.since else 0,
            item.name,
        ),
    )
