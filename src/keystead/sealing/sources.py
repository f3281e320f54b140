"""Where the root key comes from: a file of 32 random bytes that nobody but the service's user may read.

The file is never written over: a lost root key is a lost database.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from keystead.core.secret import Secret
from keystead.sealing.envelope import KEY_BYTES
from keystead.service.ports.store import SealError

if TYPE_CHECKING:
    from pathlib import Path

OWNER_ONLY = 0o600
"""The widest mode; `keystead init` makes 0400."""

CREDENTIAL = 0o440
"""What systemd's credentials show: an access list lets the service read them, and its mask looks like group access."""


def create_root_key(path: Path) -> Secret:
    """Write a new root key to a file (mode 0400) that must not exist. Raises SealError, FileExistsError."""
    key = os.urandom(KEY_BYTES)
    whole = unfinished(path)  # a kill must not leave half a key under the name
    try:
        whole.unlink(missing_ok=True)
        descriptor = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o400)  # whatever the umask
                file.write(key)
                file.flush()
                os.fsync(file.fileno())
            path.hardlink_to(whole)
        finally:
            whole.unlink()
        _sync_folder(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise SealError(f"the root key {path} cannot be written: {error.strerror}") from None
    return Secret(key)


def unfinished(path: Path) -> Path:
    """Where a root key stands until it is whole; what is found there was left behind by a kill."""
    return path.with_name(f".{path.name}.new")


def read_root_key(path: Path) -> Secret:
    """Read the root key. Raises SealError when it is missing, of the wrong size, or others may read it."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            key = file.read(KEY_BYTES + 1)
    except OSError as error:
        raise SealError(f"the root key {path} cannot be read: {error.strerror}") from None
    mode = stat.S_IMODE(status.st_mode)
    if mode & ~(CREDENTIAL if _is_credential(path) else OWNER_ONLY) or status.st_uid not in {0, os.geteuid()}:
        raise SealError(
            f"the root key {path} has mode {mode:04o}: only its owner, us or root, may have access; set it to 0400"
        )
    if len(key) != KEY_BYTES:
        raise SealError(f"the root key {path} must hold exactly {KEY_BYTES} bytes")
    return Secret(key)


def _is_credential(path: Path) -> bool:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return folder is not None and os.path.realpath(path.parent) == os.path.realpath(folder)


def _sync_folder(folder: Path) -> None:
    """A file's name is durable when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
