"""Lives of the database as people meet them: objects of another installation are adopted, destruction is released."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.terminal import Terminal
from tests.peers.keystead import create_key, create_key_manager, install_certificates

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group
    from tests.peers.keystead import Installation, Service

UNCLAIMED = ("keystead", "security", "key-manager", "unclaimed")
RELEASE = ("keystead", "security", "key-manager", "incarnation", "release")


@pytest.fixture
def theirs(installation: Installation, pki: Pki, pykmip_group: Group) -> str:
    """Return the address of a key server on which another installation keeps a key."""
    address = pykmip_group.primaries[0].address
    with installation.serving() as other, other.client() as call:
        path = create_key_manager(call, install_certificates(call, pki.client, pki.server_ca), address)
        create_key(call, path, "theirs")
    return address


def test_adopting(
    theirs: str, service: Service, pki: Pki, pykmip_group: Group, environment: dict[str, str], folder: Path
) -> None:
    """It is asked for, with the object's name and who wrote it; the new key's id is shown."""
    servers = [server.address for server in pykmip_group.primaries[:3]]
    with service.client() as call:
        path = create_key_manager(call, install_certificates(call, pki.client, pki.server_ca), *servers)
        svm = call.get(path.removesuffix("/key-servers"))["svm"]["name"]
    service.installation.run("key-manager", "rebuild")
    show = [*UNCLAIMED, "show", "--vserver", svm, "-o", "json"]
    shown = subprocess.run(show, env=environment, cwd=folder, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(shown.stdout)[0]
    named = ["--vserver", svm, "--key-server", theirs, "--unique-identifier", found["unique_identifier"]]
    adopt = [*UNCLAIMED, "adopt", *named, "--name", "ours"]
    with Terminal(adopt, folder, environment, columns=200) as terminal:
        terminal.wait_for("as key ours? [y/N]: ")
        assert found["object_name"] in terminal.screen
        assert f"of incarnation {found['object_name'].split('-')[1]} (" in terminal.screen
        terminal.type("y\n")
        assert terminal.end() == 0, terminal.screen
    with service.client() as call:
        (key,) = call.get(f"{path.removesuffix('/key-servers')}/volume-keys?name=ours")["records"]
    assert key["key_id"] in terminal.screen


def test_releasing(installation: Installation, folder: Path, environment: dict[str, str]) -> None:
    """A database that was restored destroys nothing until it is told to; what that did is said."""
    (folder / "passphrase").write_text("a passphrase of the tests\n")
    words = ("--passphrase-file", str(folder / "passphrase"), str(folder / "keystead.backup"))
    restored = replace(installation, data=folder / "restored")
    for made, command in ((installation, "backup"), (restored, "restore")):
        done = made.run(command, *words)
        assert done.returncode == 0, done.stderr
    with restored.serving() as running:
        own = environment | {"KEYSTEAD_URL": running.url, "KEYSTEAD_CA": str(restored.data / "tls.crt")}
        with Terminal(RELEASE, folder, own, columns=200) as terminal:
            terminal.wait_for("destroy the objects of purged keys? [y/N]: ")
            terminal.type("y\n")
            assert terminal.end() == 0, terminal.screen
        assert "released: incarnation 2 destroys objects of purged keys" in terminal.screen
        again = subprocess.run(RELEASE, env=own, cwd=folder, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stderr) == (
        0, "incarnation 2 destroys already: there is nothing to release\n",
    )  # fmt: skip
