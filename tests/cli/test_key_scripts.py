"""Commands about keys as people type them: each file of ``scripts/keys/`` is run with servers that keep keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.scripting import Script
from tests.peers.keystead import install_certificates

if TYPE_CHECKING:
    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group
    from tests.peers.keystead import Service

SCRIPTS = sorted((Path(__file__).parent / "scripts" / "keys").glob("*.txt"))
CLUSTER = "auth"


@pytest.fixture(scope="module")
def key_servers(_group: Group) -> Group:
    """Empty ones, for all files: the service goes on to keep keys there, and would take them for somebody else's."""
    _group.reset()
    return _group


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_what_commands_print(
    path: Path, folder: Path, environment: dict[str, str], service: Service, pki: Pki, key_servers: Group
) -> None:
    """Letter by letter. 40021 and 40022 are the key manager's servers, 40023 is not yet; it is the cluster's in one."""
    ports = {f"4002{number}": server.port for number, server in enumerate(key_servers.primaries[:3], 1)}
    script = Script.read(path)
    with service.client() as call:
        svm = call.create("/svm/svms", {"name": path.stem})["name"]
        installed = install_certificates(call, pki.client, pki.server_ca)
        servers = [{"server": f"127.0.0.1:{ports[name]}"} for name in ("40021", "40022")]
        owner = None if path.stem == CLUSTER else svm
        manager = call.create("/security/key-managers", installed.new_key_manager(servers, owner))["uuid"]
    done = script.run(folder, environment | {"KEY_MANAGER": manager}, ports)
    assert [step.transcript for step in done] == [step.transcript for step in script.steps]
