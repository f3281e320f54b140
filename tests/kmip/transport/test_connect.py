"""Connecting to the first of several addresses that answers."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest

from keystead.kmip.transport.connect import Address, connect_tcp
from keystead.kmip.transport.tls import handshake
from keystead.kmip.ttlv.errors import TransportError
from tests.peers import fault_servers as fault
from tests.peers.certificates import Authority, client_context, server_context
from tests.peers.sockets import expect_sockets, open_sockets

SERVER_CA = Authority()
SERVER = SERVER_CA.issue()


def address(port: int, host: str = "127.0.0.1") -> Address:
    """Return the socket address of a loopback port."""
    return Address(socket.AF_INET6, (host, port, 0, 0)) if ":" in host else Address(socket.AF_INET, (host, port))


def test_the_first_address_that_answers_wins(run: Any) -> None:
    """An address that does not answer costs the stagger, one that refuses costs nothing."""

    async def attempt(ports: list[int], stagger: float) -> float:
        start = asyncio.get_running_loop().time()
        sock = await connect_tcp([address(port) for port in ports], stagger=stagger)
        assert sock.getpeername()[1] == ports[-1]
        sock.close()
        return asyncio.get_running_loop().time() - start

    with fault.FaultServer(fault.silence) as server, fault.black_hole() as hole:
        assert 0.19 < run(attempt([hole, server.port], 0.2)) < 2  # uvloop keeps time in milliseconds
        assert run(attempt([fault.refused_port(), server.port], 5)) < 2
        assert run(attempt([server.port], 5)) < 2


def test_two_winners_leave_one_socket(run: Any) -> None:
    """Without stagger all addresses are tried at once, and only the winner's socket stays open."""

    async def attempt(port: int) -> None:
        before = open_sockets()
        sock = await connect_tcp([address(port)] * 5, stagger=0)
        sock.close()
        await expect_sockets(before)

    with fault.FaultServer(fault.silence) as server:
        run(attempt(server.port))


def test_ipv6(run: Any) -> None:
    """An IPv6 address is connected to and checked as any other."""

    async def attempt(server: fault.FaultServer) -> None:
        sock = await connect_tcp([address(server.port, "::1")])
        stream = await handshake(sock, client_context(SERVER_CA), server_name="::1")
        assert (sock.family, stream.peer_certificate is not None) == (socket.AF_INET6, True)
        stream.close()

    with fault.FaultServer(fault.tls(server_context(SERVER), fault.silence), host="::1") as server:
        run(attempt(server))


@pytest.mark.allow_hosts(["127.0.0.1", "255.255.255.255"])  # the kernel refuses the second before any packet
def test_the_most_telling_failure_is_kept(run: Any) -> None:
    """If all addresses fail, a refused connection is reported before an unreachable address."""
    nowhere = Address(socket.AF_INET, ("255.255.255.255", 1))

    async def attempt(addresses: list[Address]) -> TransportError:
        with pytest.raises(TransportError) as caught:
            await connect_tcp(addresses)
        return caught.value

    for addresses in ([nowhere, address(fault.refused_port())], [address(fault.refused_port()), nowhere]):
        error = run(attempt(addresses))
        assert error.phase == "connect"
        assert isinstance(error.__cause__, ConnectionRefusedError)
    unreachable: Any = run(attempt([nowhere])).__cause__
    assert unreachable.errno in {errno.EACCES, errno.ENETUNREACH}
    assert run(attempt([])).__cause__ is None


def test_a_cancelled_race_leaves_nothing_behind(run: Any) -> None:
    """A cancelled connect ends all attempts and closes their sockets."""

    async def attempt(port: int) -> int:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await connect_tcp([address(port), address(port)], stagger=0.05)
        await asyncio.sleep(0)
        return len(asyncio.all_tasks())

    with fault.black_hole() as hole:
        assert run(attempt(hole)) == 1  # the test itself
