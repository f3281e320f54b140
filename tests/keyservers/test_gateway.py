"""The gateway: many probes at once, deadlines whatever a peer does, secondaries, and nothing left behind."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.server_address import ServerAddress
from keystead.keyservers.gateway import Gateway
from tests.keyservers.cases import CLIENT_CA, LOOPBACK, SERVER, identity, kmip_server, serving, target
from tests.peers import fault_servers as fault
from tests.peers import kmip_answers as kmip
from tests.peers.certificates import server_context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystead.core.probing import ProbeResult


def stubborn_peers() -> Iterator[Any]:
    """Peers that would hold a probe for ever."""
    context = server_context(SERVER, CLIENT_CA)
    whole = kmip.response((1, 1), *kmip.discovered((1, 4)))
    yield pytest.param(fault.black_hole, id="black hole")
    yield pytest.param(serving(fault.silence), id="silence")
    yield pytest.param(serving(fault.drip(b"\x16\x03\x03\x3f\xff" + bytes(999), pause=0.02)), id="drips in TLS")
    yield pytest.param(serving(fault.tls(context, fault.silence)), id="silence in TLS")
    yield pytest.param(serving(fault.tls(context, fault.drip(whole, pause=0.05))), id="drips in KMIP")
    yield pytest.param(serving(fault.tls(context, fault.flood(whole))), id="flood")
    yield pytest.param(serving(fault.after_client_hello(fault.flood(bytes.fromhex("160303000400000000")))), id="hellos")


@pytest.mark.parametrize("peer", list(stubborn_peers()))
def test_a_probe_never_outlives_its_deadline(run: Any, peer: Any) -> None:
    """A probe ends in time whatever the peer does; the overall deadline shortens a longer time-out."""

    async def timed(port: int, timeout_s: float, deadline_s: float) -> float:
        gateway, start = Gateway(LOOPBACK), time.monotonic()
        (result,) = await gateway.probe_all([target(port, timeout_s=timeout_s)], identity(), deadline_s)
        assert not result.accepted
        return time.monotonic() - start

    with peer() as opened:
        port = opened if isinstance(opened, int) else opened.port
        assert run(timed(port, 0.3, 40)) < 20
        assert run(timed(port, 40, 0.3)) < 20


def test_a_hanging_resolver_obeys_the_deadline(run: Any) -> None:
    """A DNS lookup that never answers is reported in time as a name that was not resolved."""

    async def probe() -> tuple[ProbeResult, float]:
        start = time.monotonic()
        gateway = Gateway(LOOPBACK, getaddrinfo=lambda *_, **__: time.sleep(30))  # type: ignore[arg-type]
        (result,) = await gateway.probe_all([target(1, "slow.example", 0.3)], identity(), 40)
        return result, time.monotonic() - start

    result, seconds = run(probe())
    assert result.reason == "name_not_resolved"
    assert seconds < 20


def test_a_cancelled_probe_leaves_nothing_behind(run: Any) -> None:
    """A cancelled probe closes all of its connections."""

    async def cancel(port: int) -> int:
        probing = asyncio.create_task(Gateway(LOOPBACK).probe_all([target(port)] * 4, identity(), 40))
        await asyncio.sleep(0.3)
        probing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probing
        return len(asyncio.all_tasks())

    with fault.FaultServer(fault.silence) as server:
        assert run(cancel(server.port)) == 1


def test_four_servers_with_three_secondaries_each(run: Any) -> None:
    """Sixteen addresses are probed side by side: each answers when all sixteen are connected."""
    all_are_there = threading.Barrier(16)

    def together(connection: Any) -> None:
        all_are_there.wait(30)
        kmip.answering()(connection)

    async def probe(port: int) -> list[ProbeResult]:
        secondaries = tuple(ServerAddress(f"127.0.0.{number}", port) for number in (1, 1, 1))
        return await Gateway(LOOPBACK).probe_all([target(port, secondaries=secondaries)] * 4, identity(), 40)

    with fault.FaultServer(fault.tls(server_context(SERVER, CLIENT_CA), together)) as server:
        results = run(probe(server.port))
        assert server.accepted == 16
    assert all(result.accepted for result in results)


def test_a_secondary_answers_for_its_primary(run: Any) -> None:
    """The first refused secondary gives the code of its primary; its address is named, and each is reported."""

    async def probe(port: int, *secondaries: ServerAddress) -> ProbeResult:
        one = target(port, "127.0.0.1", secondaries=secondaries)
        (result,) = await Gateway(LOOPBACK).probe_all([one], identity(), 40)
        return result

    with kmip_server()() as server:
        good, bad = ServerAddress("localhost", server.port), ServerAddress("127.0.0.1", fault.refused_port())
        forbidden = ServerAddress("169.254.0.1", server.port)
        accepted = run(probe(server.port, good))
        refused = run(probe(server.port, good, bad, forbidden))
    assert accepted.accepted
    assert refused.server == ServerAddress("127.0.0.1", server.port)
    assert refused.failed_server == bad
    assert (refused.error, refused.stage, refused.reason) == (errors.NETWORK, "connect", "connection_refused")
    secondaries: Any = refused.learned["secondaries"]
    assert secondaries[str(good)]["accepted"]
    assert secondaries[str(forbidden)]["reason"] == "address_not_allowed"


def test_a_refused_primary_answers_for_itself(run: Any) -> None:
    """A failure of the primary comes before those of its secondaries."""
    port = fault.refused_port()
    one = target(port, secondaries=(ServerAddress("169.254.0.1", port),))
    (result,) = run(Gateway(LOOPBACK).probe_all([one], identity(), 40))
    assert (result.failed_server, result.reason) == (one.server, "connection_refused")


def test_no_session_is_resumed(run: Any) -> None:
    """Each probe does a full handshake, because a resumed one proves nothing about a certificate."""
    resumed: list[bool | None] = []

    def script(connection: Any) -> None:
        resumed.append(connection.session_reused)
        kmip.answering()(connection)

    async def probe(port: int) -> None:
        gateway = Gateway(LOOPBACK)
        for _ in range(3):
            await gateway.probe_all([target(port)], identity(), 40)

    with fault.FaultServer(fault.tls(server_context(SERVER, CLIENT_CA), script)) as server:
        run(probe(server.port))
    assert resumed == [False] * 3
