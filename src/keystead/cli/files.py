"""New files that commands write: one that is there is not replaced, one that is not finished does not stay."""

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
    """A new file, gone again when the block fails or the disk is full: then the same command may be run again.

    Raises click.UsageError when it cannot be made, click.ClickException when it cannot be written.
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
