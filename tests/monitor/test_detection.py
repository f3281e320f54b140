"""Detection of failures and returns of a key server within ten seconds, with the reason."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.monitor.conftest import KNOWN_WITHIN_S, Node, available, lost
from tests.peers.certificates import server_context
from tests.peers.fault_servers import FaultServer, tls
from tests.peers.key_server import KeyServerProcess
from tests.peers.kmip_answers import answering
from tests.peers.proxy import proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.fixtures import Pki


@pytest.fixture
def server(pki: Pki, tmp_path: Path) -> Iterator[KeyServerProcess]:
    """Yield a key server in a process of its own."""
    started = KeyServerProcess(tmp_path / "server", pki.server, pki.client_ca)
    yield started
    started.kill()


async def test_a_killed_server_is_lost_and_found_again(node: Node, server: KeyServerProcess, pki: Pki) -> None:
    """A killed server is lost with connection_refused and found after its start; each change is announced once."""
    await node.key_manager(server.address)
    first = await node.observation()
    assert available(first)
    await node.expect_connected()
    server.kill()
    gone = await node.expect(lost("connection_refused"))
    assert gone.stage == "connect"
    assert gone.since > first.since
    assert gone.certificates == first.certificates != ()
    await asyncio.sleep(1)
    server.start(pki.server, pki.client_ca)
    back = await node.expect(available)
    assert back.since > gone.since
    assert (back.stage, back.reason) == ("", "")
    assert [event.name for event in await node.events()] == ["km.keyserver.notavailable", "km.keyserver.available"]


@pytest.mark.usefixtures("brief_looks")
async def test_a_stopped_server_is_lost(node: Node, server: KeyServerProcess) -> None:
    """A stopped server (SIGSTOP) is lost with tls_timed_out, and available after it continues."""
    await node.key_manager(server.address)
    await node.expect_connected()
    server.pause()
    await node.expect(lost("tls_timed_out"))
    server.resume()
    await node.expect(available)


@pytest.mark.usefixtures("brief_looks")
@pytest.mark.parametrize(("mode", "reason"), [("drop", "tls_timed_out"), ("reset", "connection_closed")])
async def test_a_failing_network_loses_its_server(node: Node, server: KeyServerProcess, mode: str, reason: str) -> None:
    """Dropped packets and resets are detected, on the kept connection and on new ones."""
    with proxy(server.port) as (port, network):
        await node.key_manager(f"127.0.0.1:{port}")
        await node.expect_connected()
        network.fail(mode)
        await node.expect(lost(reason))
        network.fail("forward")
        await node.expect(available)


async def test_an_expired_server_certificate(node: Node, pki: Pki) -> None:
    """A server is lost when its certificate expires, although the kept connection still works."""
    ends = timedelta(seconds=5)
    expires = time.monotonic() + ends.total_seconds()
    context = server_context(pki.server_ca.issue(ends=ends), client_ca=pki.client_ca)
    with FaultServer(tls(context, answering())) as running:
        await node.key_manager(f"127.0.0.1:{running.port}")
        await node.expect(lost("server_certificate_expired"), expires + KNOWN_WITHIN_S - time.monotonic())
        assert time.monotonic() > expires - 1


async def test_a_server_that_comes_back_without_trust_in_us(node: Node, server: KeyServerProcess, pki: Pki) -> None:
    """A server that restarts with another client CA is lost with client_certificate_untrusted."""
    await node.key_manager(server.address)
    await node.expect_connected()
    server.kill()
    server.start(pki.server, pki.server_ca)
    await node.expect(lost("client_certificate_untrusted"))


async def test_a_server_that_comes_back_with_another_certificate(
    node: Node, server: KeyServerProcess, pki: Pki
) -> None:
    """A server that restarts with a certificate of an untrusted CA is lost; one of a trusted CA is not."""
    await node.key_manager(server.address)
    first = await node.observation()
    await node.expect_connected()
    server.kill()
    server.start(pki.server_ca.issue(), pki.client_ca)
    found = await node.expect(lambda found: found.certificates != first.certificates and available(found))
    assert found.certificates[0].serial_number != first.certificates[0].serial_number
    server.kill()
    server.start(pki.client_ca.issue(), pki.client_ca)
    await node.expect(lost("server_certificate_self_signed"))
