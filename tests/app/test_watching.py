"""``keystead serve`` watches its key servers: over HTTPS, as a process, with the settings that it has by default."""

from __future__ import annotations

import signal
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.peers.certificates import server_context
from tests.peers.fault_servers import FaultServer, tls
from tests.peers.key_server import KeyServerProcess
from tests.peers.keystead import create_key_manager, install_certificates
from tests.peers.kmip_answers import answering
from tests.peers.proxy import proxy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Client, Installation

KNOWN_WITHIN_S = 10
CERTIFICATE_KNOWN_WITHIN_S = 70
STOP_S = 20
QUICK = {"monitor_interval": "1", "monitor_probe_interval": "2"}


def until(holds: Callable[[], bool], within_s: float) -> float:
    """Wait until something holds; return the seconds that it took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < within_s
        time.sleep(0.05)
    return time.monotonic() - began


def states(call: Client, path: str, server: str) -> list[str]:
    """Return what the nodes say of a server."""
    body = call.get(f"{path}/{quote(server, safe='')}?fields=connectivity")
    return [said["state"] for said in body["connectivity"]["node_states"]]


def losses(call: Client) -> dict[str, str]:
    """Return the address and the reason of each loss that was announced."""
    query = "message.name=km.keyserver.notavailable&fields=parameters"
    found: dict[str, str] = {}
    for record in call.get(f"/support/ems/events?{query}")["records"]:
        values = {pair["name"]: pair["value"] for pair in record["parameters"]}
        found[values["address"]] = values["reason"]
    return found


def test_a_server_that_goes_and_comes_back(installation: Installation, pki: Pki, tmp_path: Path) -> None:
    """``connectivity`` flips, and each change is one event (checklist 116)."""
    server = KeyServerProcess(tmp_path / "server", pki.server, pki.client_ca)
    quick = type(installation)(installation.data, settings=QUICK)
    try:
        with quick.serving() as service, service.client() as call:
            path = create_key_manager(call, install_certificates(call, pki.client, pki.server_ca), server.address)
            assert states(call, path, server.address) == ["available"]
            server.kill()
            until(lambda: states(call, path, server.address) == ["not_responding"], KNOWN_WITHIN_S)
            server.start(pki.server, pki.client_ca)
            until(lambda: states(call, path, server.address) == ["available"], KNOWN_WITHIN_S)
            records = call.get("/support/ems/events?message.name=km.keyserver.*&fields=message.severity")["records"]
            assert [(each["message"]["severity"], each["index"] > 0) for each in records] == [
                ("alert", True),
                ("notice", True),
            ]
    finally:
        server.kill()


def test_after_a_restart_only_what_is_seen_counts(installation: Installation, pki: Pki, tmp_path: Path) -> None:
    """A server that fell silent while no node ran is unknown at first, and never "available"."""
    server = KeyServerProcess(tmp_path / "server", pki.server, pki.client_ca)
    try:
        with installation.serving() as service, service.client() as call:
            path = create_key_manager(call, install_certificates(call, pki.client, pki.server_ca), server.address)
        server.pause()
        hurried = installation.hurried("keystead.monitor.watcher:PROBE_S=1")
        with installation.serving(hurried) as service, service.client() as call:
            first = states(call, path, server.address)
            (item,) = call.get("/support/attention?subject=key_server&fields=*")["records"]
            assert (first, item["name"]) == (["unknown"], "1 key server")
            told = first

            def is_known() -> bool:
                told.extend(states(call, path, server.address))
                return told[-1] != "unknown"

            until(is_known, KNOWN_WITHIN_S)
            assert set(told) == {"unknown", "not_responding"}
    finally:
        server.kill()


def test_a_stop_is_quick_however_many_servers_hang(installation: Installation, pki: Pki) -> None:
    """SIGTERM ends it before the time-out of a silent server (25 s), while looks at it and kept connections go on."""
    context = server_context(pki.server, client_ca=pki.client_ca)
    quick = type(installation)(installation.data, settings=QUICK)
    with FaultServer(tls(context, answering())) as sound, proxy(sound.port) as (port, network):
        with quick.serving() as service, service.client() as call:
            certificates = install_certificates(call, pki.client, pki.server_ca)
            create_key_manager(call, certificates, f"127.0.0.1:{sound.port}", f"127.0.0.1:{port}")
            time.sleep(2)
            network.fail("drop")
            time.sleep(2)
            call.close()
            began = time.monotonic()
            service.signal(signal.SIGTERM)
            assert service.wait(STOP_S) == 0, service.stderr.read_text()
            assert time.monotonic() - began < STOP_S
        errors = service.stderr.read_text()
    assert "Traceback" not in errors
    assert "was never" not in errors


@pytest.mark.long
def test_every_loss_is_known_in_time_with_the_default_settings(
    installation: Installation, pki: Pki, tmp_path: Path
) -> None:
    """SIGKILL, SIGSTOP, dropped packets, resets: ten seconds. Certificates: seventy, from their end or a restart."""
    leaf_ends = time.monotonic() + 40
    expiring = pki.server_ca.issue(ends=timedelta(seconds=40))
    servers = {
        name: KeyServerProcess(tmp_path / name, expiring if name == "expired" else pki.server, pki.client_ca)
        for name in ("killed", "stopped", "behind", "expired", "distrusting")
    }
    with proxy(servers["behind"].port) as (dropping, drops), proxy(servers["behind"].port) as (resetting, resets):
        addresses = {
            "killed": servers["killed"].address,
            "stopped": servers["stopped"].address,
            "drop": f"127.0.0.1:{dropping}",
            "reset": f"127.0.0.1:{resetting}",
            "expired": servers["expired"].address,
            "distrusting": servers["distrusting"].address,
        }
        try:
            with installation.serving() as service, service.client() as call:
                certificates = install_certificates(call, pki.client, pki.server_ca)
                four = list(addresses.values())
                paths: dict[str, Any] = {}
                for chosen in (four[:4], four[4:]):
                    path = create_key_manager(call, certificates, *chosen)
                    paths |= dict.fromkeys(chosen, path)
                time.sleep(12)  # all have been looked at
                servers["distrusting"].kill()
                servers["distrusting"].start(pki.server, pki.server_ca)
                restarted = time.monotonic()
                known_after = {
                    name: _known_after(call, addresses[name], fail)
                    for name, fail in (
                        ("killed", servers["killed"].kill),
                        ("stopped", servers["stopped"].pause),
                        ("drop", lambda: drops.fail("drop")),
                        ("reset", lambda: resets.fail("reset")),
                    )
                }
                assert max(known_after.values()) < KNOWN_WITHIN_S, known_after
                within_s = restarted + CERTIFICATE_KNOWN_WITHIN_S - time.monotonic()
                until(lambda: addresses["distrusting"] in losses(call), within_s)
                within_s = leaf_ends + CERTIFICATE_KNOWN_WITHIN_S - time.monotonic()
                until(lambda: addresses["expired"] in losses(call), within_s)
                reasons = losses(call)
                assert {name: reasons[address] for name, address in addresses.items()} == {
                    "killed": "connection_refused",
                    "stopped": "tls_timed_out",
                    "drop": "tls_timed_out",
                    "reset": "connection_closed",
                    "expired": "server_certificate_expired",
                    "distrusting": "client_certificate_untrusted",
                }
                print(f"known after: {known_after}")
        finally:
            for server in servers.values():
                server.kill()


def _known_after(call: Client, address: str, fail: Callable[[], None]) -> float:
    fail()
    return until(lambda: address in losses(call), KNOWN_WITHIN_S)
