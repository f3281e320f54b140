"""What ``docs/how-to/operate.md`` says of files and of the database's driver is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from keystead.store.opening import DRIVER

if TYPE_CHECKING:
    from tests.peers.keystead import Installation

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "operate.md").read_text()
OF_SQLITE = ("-wal", "-shm")


def test_every_file_of_the_data_directory_is_listed(installation: Installation) -> None:
    """Those of a node that serves, and those that it leaves."""
    with installation.serving():
        there = {each.name for each in installation.data.iterdir()}
    there |= {each.name for each in installation.data.iterdir()}
    listed = set(re.findall(r"`([a-z.]+)`", "".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE))))
    assert {"incarnation.witness", "keystead.db.place", "serve.lock"} <= there
    assert {name for name in there if not name.endswith(OF_SQLITE)} <= listed


def test_the_driver_is_named_as_it_is_installed() -> None:
    """By the command that is said where it is missing."""
    assert f"$ {DRIVER}\n" in PAGE
