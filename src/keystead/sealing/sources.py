"""The file of the root key: 32 random bytes that only the service's user may read.

The file is never overwritten, because without the root key the database is lost.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from keystead.core.secret import Secret
from keystead.sealing.envelope import KEY_BYTES
from keystead.service.ports.sealing import SealError

if TYPE_CHECKING:
    from pathlib import Path

OWNER_ONLY = 0o600
"""The widest mode that is allowed. `keystead init` makes the file with mode 0400."""

CREDENTIAL = 0o440
"""The widest mode of a credential of systemd. Its access list for the service looks like group access."""


def create_root_key(path: Path) -> Secret:
    """Write a new root key to a file (mode 0400) that must not exist. Raises SealError, FileExistsError."""
    key = Secret(os.urandom(KEY_BYTES))
    write_root_key(path, key)
    return key


def write_root_key(path: Path, key: Secret) -> None:
    """Write a root key to a file (mode 0400) that must not exist. Raises SealError, FileExistsError."""
    whole = unfinished(path)  # so that a kill leaves no half key under the name
    try:
        whole.unlink(missing_ok=True)
        descriptor = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o400)  # whatever the umask
                file.write(key.reveal())
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


def unfinished(path: Path) -> Path:
    """Return the path of a root key file before it is complete. A kill may leave such a file behind."""
    return path.with_name(f".{path.name}.new")


def read_root_key(path: Path) -> Secret:
    """Read the root key. Raises SealError if the file is missing, has a wrong size, or if others may read it."""
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
    """Make a new file's name durable: it is durable only after its directory is synced."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
