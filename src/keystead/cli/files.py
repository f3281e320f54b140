"""New files that commands write. An existing file is never replaced, and an unfinished file is removed."""

from __future__ import annotations

import contextlib
import os
from typing import IO, TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRIVATE = 0o600
PUBLIC = 0o644


@contextlib.contextmanager
def new_file(path: Path, mode: int) -> Iterator[IO[bytes]]:
    """Open a new file. Remove it if the block fails or the disk is full, so that the same command can run again.

    Raise click.UsageError if the file cannot be created, and click.ClickException if it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise click.UsageError(f"{path} exists: it is not overwritten") from None
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as opened:
            yield opened
            opened.flush()
    except OSError as error:
        path.unlink(missing_ok=True)
        raise click.ClickException(f"{path}: {error.strerror}") from None
    except BaseException:
        path.unlink(missing_ok=True)
        raise
