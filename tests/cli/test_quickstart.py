"""The quickstart, as a newcomer pastes it: every block of the page is run, against real servers."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.cli.pages import PASTED, blocks, environment, run
from tests.peers.processes import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl")
def test_quickstart(tmp_path: Path, pki: Pki, pykmip_group: Group) -> None:
    """It ends well, with three key servers, a key, and an intact chain of audit records."""
    pki.client.write(tmp_path, "client")
    (tmp_path / "kmip-ca.pem").write_text(pki.server_ca.pem)
    servers = [server.port for server in pykmip_group.primaries[:3]]
    port = free_port()
    names = {
        "CLIENT_CERT": "client.pem",
        "CLIENT_KEY": "client.key",
        "KMIP_CA": "kmip-ca.pem",
        **{f"KS{number}": f"127.0.0.1:{server}" for number, server in enumerate(servers, 1)},
    }
    first, *others = (block for block in blocks("quickstart.md", port) if block.language in PASTED)
    assert sorted(first.names) == sorted(names)
    script = "set -eu -o pipefail\n" + "".join(block.script for block in others)
    ended = run(script, tmp_path, environment(tmp_path, port, names))
    assert (ended.status, ended.err) == (0, "no records\ncreated account storage, role key-reader\n")
    assert "account admin made, with the password given" in ended.out
    assert f"127.0.0.1:{servers[2]} 25" in ended.out.splitlines()
    assert re.search(rf"^127.0.0.1:{servers[1]} +available  ", ended.out, re.MULTILINE)
    assert re.search(
        r"^node [0-9a-f-]{36}: intact, \d+ records, the last with MAC [0-9a-f]{64}$", ended.out, re.MULTILINE
    )
    assert re.search(r"^vs0 +vol1 +committed +[0-9a-f]{80}$", ended.out, re.MULTILINE)
    assert len((tmp_path / "vol1.key").read_bytes()) == 64
    assert (tmp_path / "admin.password").read_text().strip() not in ended.out
