"""The root key's file: made once, readable by its owner only, of the right size."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from keystead.sealing import create_root_key, read_root_key
from keystead.service.ports.sealing import SealError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_root_key_is_made_and_read(tmp_path: Path) -> None:
    """32 random bytes, mode 0400 whatever the umask."""
    before = os.umask(0)
    try:
        made = create_root_key(tmp_path / "root.key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "root.key").stat().st_mode) == 0o400
    assert len(made.reveal()) == 32
    assert read_root_key(tmp_path / "root.key") == made
    assert create_root_key(tmp_path / "other.key") != made


def test_a_root_key_is_never_written_over(tmp_path: Path) -> None:
    """It would lose the database; a link in its place is no file of ours either."""
    made = create_root_key(tmp_path / "root.key")
    (tmp_path / "link.key").symlink_to(tmp_path / "elsewhere")
    for name in ("root.key", "link.key"):
        with pytest.raises(FileExistsError):
            create_root_key(tmp_path / name)
    assert read_root_key(tmp_path / "root.key") == made
    assert not (tmp_path / "elsewhere").exists()


def test_a_root_key_that_cannot_be_written_or_read_is_a_seal_error(tmp_path: Path) -> None:
    """With the path and the system's reason."""
    for use in (create_root_key, read_root_key):
        with pytest.raises(SealError, match=r"absent/root\.key .*No such file"):
            use(tmp_path / "absent" / "root.key")


@pytest.mark.parametrize("mode", [0o400, 0o600])
def test_the_owners_modes_are_accepted(tmp_path: Path, mode: int) -> None:
    """A root key that its owner may read, or read and write, is accepted."""
    key = create_root_key(tmp_path / "root.key")
    (tmp_path / "root.key").chmod(mode)
    assert read_root_key(tmp_path / "root.key") == key


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o640, 0o644, 0o700, 0o420, 0o401])
def test_wider_modes_are_refused(tmp_path: Path, mode: int) -> None:
    """And the mode is named."""
    create_root_key(tmp_path / "root.key")
    (tmp_path / "root.key").chmod(mode)
    with pytest.raises(SealError, match=f"mode {mode:04o}"):
        read_root_key(tmp_path / "root.key")


def test_a_credential_of_systemd_may_show_its_access_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its mask reads as group access: 0440 is accepted in that folder, and nothing wider."""
    create_root_key(tmp_path / "root.key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "root.key").chmod(0o440)
    read_root_key(tmp_path / "root.key")
    (tmp_path / "root.key").chmod(0o444)
    with pytest.raises(SealError, match="mode 0444"):
        read_root_key(tmp_path / "root.key")


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who owns a file can change it."""
    create_root_key(tmp_path / "root.key")
    if os.geteuid() == 0:
        os.chown(tmp_path / "root.key", 54321, -1)
    else:
        us = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: us + 1)
    with pytest.raises(SealError, match="owner"):
        read_root_key(tmp_path / "root.key")


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_another_size_is_refused(tmp_path: Path, size: int) -> None:
    """A key in hexadecimal, or one with a newline, is none."""
    path = tmp_path / "root.key"
    path.write_bytes(b"x" * size)
    path.chmod(0o400)
    with pytest.raises(SealError, match="exactly 32 bytes"):
        read_root_key(path)
