"""Files that appear complete or not at all, and replace nothing: backups and exports."""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Final
from uuid import uuid4

from keystead.app.opening import CannotStart

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KILLED_S: Final = 86_400.0
"""Seconds after the last write from which a temporary file counts as left by a killed process."""


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a new file (0600). It gets its name when it is complete and on disk. An existing file is not replaced."""
    exists = CannotStart(f"{path} exists: it is not written over")
    if os.path.lexists(path):  # because the path may be a dangling link
        raise exists
    _remove_leftovers(path)
    temporary = temporary_name(path, "new")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(temporary)
        _flush(path.parent)
    except FileExistsError:
        raise exists from None
    finally:
        temporary.unlink(missing_ok=True)


def _flush(folder: Path) -> None:
    """Wait until a new name in a folder is on disk."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def temporary_name(file: Path, what: str) -> Path:
    """Return a new name in the folder of a file, because another backup to the same file may be under way."""
    return file.with_name(f".{file.name}.{uuid4().hex}.{what}")


def _remove_leftovers(file: Path) -> None:
    """Remove what killed backups to a file have left. Younger files stay, because a backup may be under way."""
    left = re.compile(rf"\.{re.escape(file.name)}\.[0-9a-f]{{32}}\.(new|database)")
    with suppress(OSError):
        for each in file.parent.iterdir():
            if left.fullmatch(each.name) and time.time() - each.stat().st_mtime > KILLED_S:
                each.unlink()
