"""Taking down what was set up on a real service, with ``key_recovery_days`` 0: in the minute of the last key."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.peers.keystead import create_key, create_key_manager, install_certificates

if TYPE_CHECKING:
    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group
    from tests.peers.keystead import Certificates, Client, Installation

MINUTE_S = 60


def test_everything_is_taken_down_in_a_minute(installation: Installation, pki: Pki, pykmip_group: Group) -> None:
    """The keys end at once. Then the key manager and its certificates can be deleted."""
    with installation.serving() as service, service.client() as admin:
        manager, certificates = set_up(admin, pki, pykmip_group)
        delete_keys(admin, manager)
        until = time.monotonic() + MINUTE_S
        while (answer := admin("DELETE", manager)).status != 200:
            assert time.monotonic() < until, answer.content
            time.sleep(0.2)
        for uuid in (certificates.client, certificates.server_ca):
            assert admin("DELETE", f"/security/certificates/{uuid}").status == 200


def test_a_silent_server_keeps_its_key_manager(installation: Installation, pki: Pki, pykmip_group: Group) -> None:
    """The refusal names the server, and the command that shows what waits."""
    silent = pykmip_group.primaries[1]
    with installation.serving() as service, service.client() as admin:
        manager, _ = set_up(admin, pki, pykmip_group)
        silent.pause()
        try:
            delete_keys(admin, manager)
            waits = {"code": "waits_for", "message": silent.address}
            until = time.monotonic() + MINUTE_S
            while waits not in (error := admin("DELETE", manager).body["error"])["arguments"]:
                assert time.monotonic() < until, error
                time.sleep(0.2)
        finally:
            silent.resume()
        assert error["code"] == "65536867"
        assert error["arguments"][-1]["code"] == "next"


def set_up(admin: Client, pki: Pki, group: Group) -> tuple[str, Certificates]:
    """Make a key manager with two servers and two keys, and no recovery window. Return its path and certificates."""
    assert admin("PATCH", "/security/key-manager-configs", {"key_recovery_days": 0}).status == 200
    certificates = install_certificates(admin, pki.client, pki.server_ca)
    path = create_key_manager(admin, certificates, *(server.address for server in group.primaries[:2]))
    manager = path.removesuffix("/key-servers")
    for name in ("vol1", "vol2"):
        create_key(admin, manager, name)
    return manager, certificates


def delete_keys(admin: Client, manager: str) -> None:
    """Delete all keys of a key manager."""
    assert admin("DELETE", f"{manager}/volume-keys?name=*").body["num_records"] == 2
