"""The unit for systemd: how much it leaves open, and its page, run as root under a real systemd."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers import systemd
from tests.peers.processes import accepts, free_port

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "deploy" / "systemd" / "keystead.service"
PAGE = (ROOT / "docs" / "how-to" / "systemd.md").read_text()
MOST_EXPOSURE = 2.0

PROGRAM = f"""#!/bin/sh
export PYTHONPATH={ROOT / "src"} PYTHONDONTWRITEBYTECODE=1
exec {sys.executable} -m keystead "$@"
"""


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze on this machine")
def test_how_much_is_left_open(tmp_path: Path) -> None:
    """The unit has no fault, as systemd says, which also says how exposed the service is. The page says the same."""
    (tmp_path / UNIT.name).write_text(UNIT.read_text().replace("/opt/keystead/bin/keystead", "/bin/true"))
    checked = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / UNIT.name], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", UNIT],
        capture_output=True,
        text=True,
        check=True,
    )
    (exposure,) = re.findall(r"exposure level for keystead\.service: ([\d.]+)", rated.stdout)
    assert float(exposure) <= MOST_EXPOSURE
    assert f"an exposure of {exposure}" in PAGE.replace("\n", " ")


def follow(machine: systemd.Machine, part: str) -> str:
    """Do what the blocks of a part of the page say: run commands, write files. Return what the commands print."""
    shown = ""
    for language, text in re.findall(r"^```(console|ini)\n(.*?)^```$", part, re.MULTILINE | re.DOTALL):
        if language == "console":
            shown += machine.run(re.sub(r"^\$ ", "", text, flags=re.MULTILINE))
        else:
            machine.write(re.findall(r"^# (\S+)", text)[0], text)
    return shown


@pytest.mark.long
def test_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All that it says is done: the service answers, with the root key in no file of its own; stuck, it is restarted.

    At last it has a port below 1024.
    """
    if lacks := systemd.missing():
        pytest.skip(f"this machine lacks {lacks}")
    monkeypatch.chdir(ROOT)  # the page's commands name the unit in the checkout
    before, installed, below_1024 = re.split(r"^Make the user|^A port below", PAGE, flags=re.MULTILINE)
    assert "python3 -m venv /opt/keystead" in before
    drop_in, port = f"{systemd.UNITS}/keystead.service.d/test.conf", free_port()
    with systemd.booted(tmp_path / "log") as machine:
        machine.write("/opt/keystead/bin/keystead", PROGRAM, "755")
        machine.write(drop_in, f"[Service]\nEnvironment=KEYSTEAD_LISTEN=127.0.0.1:{port}\nWatchdogSec=3")
        assert re.search(r"^node \S+: intact", follow(machine, installed), re.MULTILINE)
        assert accepts(port)
        assert "root.key" not in machine.run("ls -A /var/lib/keystead /etc/keystead").split()
        machine.run("systemctl kill --signal=STOP keystead")
        machine.wait_for("keystead", "NRestarts", "1")
        machine.wait_for("keystead", "ActiveState", "active")
        follow(machine, below_1024)
        machine.write(drop_in, "[Service]\nEnvironment=KEYSTEAD_LISTEN=127.0.0.1:443")
        machine.run("systemctl daemon-reload; systemctl restart keystead")
        assert accepts(443)
