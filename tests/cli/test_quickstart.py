"""The quickstart, as a newcomer pastes it: every block of the page is run, against real servers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.peers.keystead import EGRESS
from tests.peers.processes import free_port

if TYPE_CHECKING:
    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group

PAGE = Path(__file__).parents[2] / "docs" / "quickstart.md"
SECONDS = 120
_BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SERVE = "{} > serve.out 2> serve.err &\nuntil grep -qs '^listening on' serve.out; do kill -0 $!; sleep 0.05; done\n"


def _script(port: int) -> str:
    """Return the blocks after the first (which names the reader's servers) as one shell script."""
    pieces = ["set -eu -o pipefail\n"]
    _, *blocks = _BLOCK.findall(PAGE.read_text().replace("8443", str(port)))
    for language, text in blocks:
        if language == "python":
            pieces.append(f"python3 - <<'PYTHON'\n{text}PYTHON\n")
        elif text.startswith("keystead serve"):
            pieces.append(_SERVE.format(text.strip()))
        else:
            pieces.append(text)
    return "".join(pieces)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl")
def test_quickstart(tmp_path: Path, pki: Pki, pykmip_group: Group) -> None:
    """It ends well, with three key servers, a key, and an intact chain of audit records."""
    pki.client.write(tmp_path, "client")
    (tmp_path / "kmip-ca.pem").write_text(pki.server_ca.pem)
    servers = [server.port for server in pykmip_group.primaries[:3]]
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KEYSTEAD_")} | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "KEYSTEAD_LISTEN": f"127.0.0.1:{port}",
        "KEYSTEAD_EGRESS_ALLOW": EGRESS,
        "CLIENT_CERT": "client.pem",
        "CLIENT_KEY": "client.key",
        "KMIP_CA": "kmip-ca.pem",
        **{f"KS{number}": f"127.0.0.1:{server}" for number, server in enumerate(servers, 1)},
    }
    shell = subprocess.Popen(
        ["bash", "-c", _script(port)], cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        out, err = shell.communicate(timeout=SECONDS)
    finally:
        os.killpg(shell.pid, signal.SIGKILL)  # serve is in its session
        shell.wait()
    assert (shell.returncode, err) == (0, "no records\ncreated account storage, role key-reader\n")
    assert "account admin made, with the password given" in out
    assert f"127.0.0.1:{servers[2]} 25" in out.splitlines()
    assert re.search(rf"^127.0.0.1:{servers[1]} +available  ", out, re.MULTILINE)
    assert re.search(r"^node [0-9a-f-]{36}: intact, \d+ records, the last with MAC [0-9a-f]{64}$", out, re.MULTILINE)
    assert re.search(r"^vs0 +vol1 +committed +[0-9a-f]{80}$", out, re.MULTILINE)
    assert len((tmp_path / "vol1.key").read_bytes()) == 64
    assert (tmp_path / "admin.password").read_text().strip() not in out
