"""A real consumer of a key: a LUKS2 volume in a file, formatted and opened by Debian's ``cryptsetup``.

No device is mapped and nothing is mounted, so it needs no privileges: opening proves the key against the header.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.peers.keystead import create_key, create_key_manager, install_certificates

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group
    from tests.peers.keystead import Client, Installation, Service

CRYPTSETUP = shutil.which("cryptsetup", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
READER, PASSWORD = "host-7", "its own password, 1 of many"
VOLUME_BYTES = 20 * 2**20  # 16 MiB are LUKS2's header
WRONG_KEY = 2
CHEAP = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
"""A key of 64 random bytes needs no costly derivation."""

OCTETS = {"Accept": "application/octet-stream"}


def cryptsetup(key: bytes, *arguments: str) -> int:
    """Run cryptsetup with the key on its standard input; its exit status."""
    assert CRYPTSETUP is not None
    command = [CRYPTSETUP, "--batch-mode", "--key-file", "-", *arguments]
    return subprocess.run(command, input=key, capture_output=True, check=False, timeout=60).returncode


def retrieved(service: Service, path: str) -> bytes:
    """The key's material, as a host gets it that boots: by its own account, on a connection of its own."""
    with service.client(READER, PASSWORD) as call:
        answer = call("POST", f"{path}/retrieve", headers=OCTETS)
    assert answer.status == 200, answer.content
    assert answer.headers["content-type"] == "application/octet-stream"
    return answer.content


def make_key(call: Client, pki: Pki, group: Group) -> str:
    """Make a key manager with four primaries, a key in it, and an account that may read keys; the key's path."""
    certificates = install_certificates(call, pki.client, pki.server_ca)
    servers = create_key_manager(call, certificates, *(server.address for server in group.primaries))
    by_password = [{"application": "http", "authentication_methods": ["password"]}]
    account = {"name": READER, "role": {"name": "key-reader"}, "password": PASSWORD, "applications": by_password}
    call.create("/security/accounts", account)
    key_id = create_key(call, servers, "volume of host-7")["key_id"]
    return f"{servers.removesuffix('/key-servers')}/volume-keys/{key_id}"


@pytest.mark.skipif(CRYPTSETUP is None, reason="needs Debian's package cryptsetup, which .ci/run installs")
def test_a_volume_is_opened_after_two_of_four_key_servers_died(
    installation: Installation, pki: Pki, pykmip_group: Group, tmp_path: Path
) -> None:
    """Formatted with the key as it was created; opened with it as a restarted Keystead reads it from the other two."""
    volume = tmp_path / "volume.luks"
    with volume.open("wb") as file:
        file.truncate(VOLUME_BYTES)
    with installation.serving() as service, service.client() as call:
        path = make_key(call, pki, pykmip_group)
        key = retrieved(service, path)
        assert cryptsetup(key, "luksFormat", "--type", "luks2", *CHEAP, str(volume)) == 0
        assert key not in volume.read_bytes()
    for server in pykmip_group.primaries[:2]:
        server.kill()
    with installation.serving() as service:
        key = retrieved(service, path)
    assert cryptsetup(key, "open", "--test-passphrase", str(volume)) == 0
    changed = bytes([key[0] ^ 1]) + key[1:]
    assert cryptsetup(changed, "open", "--test-passphrase", str(volume)) == WRONG_KEY
