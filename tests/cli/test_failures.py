"""What commands print of jobs that fail, and of a refusal that names keys: key servers that are really away."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

from tests.peers.keystead import create_key, create_key_manager, install_certificates

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group
    from tests.peers.keystead import Installation

RESTORE = ("keystead", "security", "key-manager", "key", "restore")
REMOVE = ("keystead", "security", "key-manager", "external", "remove-servers")
RESTORE_FAILED = ["Error 65536855: Internal error. Failed to restore the volume encryption key."]


def test_servers_that_are_away(
    installation: Installation, pki: Pki, pykmip_group: Group, environment: dict[str, str], folder: Path
) -> None:
    """A job's error has the form of every other; keys, and the reason, stand on lines of their own."""
    first, second = pykmip_group.primaries[:2]
    with installation.serving() as service, service.client() as call:
        certificates = install_certificates(call, pki.client, pki.server_ca)
        path = create_key_manager(call, certificates, first.address, second.address)
        manager = path.removesuffix("/key-servers")
        svm = call.get(manager)["svm"]["name"]
        key_id = create_key(call, manager, "vol1")["key_id"]
    first.kill()
    second.kill()
    with installation.serving() as service:  # which has no key in memory
        own = {"KEYSTEAD_URL": service.url, "KEYSTEAD_CA": str(installation.data / "tls.crt")}
        run = _runner(environment | own, folder)
        failed = run(*RESTORE, "--vserver", svm)
        told = run(*RESTORE, "--vserver", svm, "-o", "json")
        removed = run(*REMOVE, "--vserver", svm, "--key-servers", first.address, "--yes")
    assert failed.stderr.splitlines() == [*RESTORE_FAILED, f"  key_id: {key_id}"]
    assert json.loads(told.stderr)["error"]["code"] == "65536855"
    warned, refused, *lines = removed.stderr.splitlines()
    assert warned.startswith("1 of 1 key ")
    assert refused.startswith("Error 65536700: ")
    assert lines[:3] == ["  keys: 1", f"  key_id: {key_id}", "  reason: connection_refused"]


def _runner(environment: dict[str, str], folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command that is refused."""

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        return done

    return run
