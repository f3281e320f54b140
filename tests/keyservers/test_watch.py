"""The watch of one address: a probe leaves its connection to light checks, and no other stays open."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from keystead.keyservers.egress import EgressRules
from keystead.keyservers.gateway import Gateway
from keystead.kmip.testing.server import KeyServer, silence
from keystead.kmip.ttlv.enums import Operation
from tests.keyservers.cases import CLIENT_CA, LOOPBACK, SERVER, identity, target
from tests.peers import fault_servers as fault
from tests.peers import kmip_answers as kmip
from tests.peers.certificates import client, server_context
from tests.peers.sockets import expect_sockets, open_sockets

if TYPE_CHECKING:
    from keystead.keyservers.watch import Watch
    from tests.peers.fixtures import Run

LIMIT_S = 5.0


def watch_of(port: int, **changes: Any) -> Watch:
    """Return the watch of a loopback port."""
    wanted = replace(target(port), **changes)
    return Gateway(LOOPBACK).watch(ServerAddress("localhost", port), wanted, identity())


def test_light_checks_use_the_connection_that_the_probe_left(run: Run) -> None:
    """Light checks send one small request each on the connection of the probe."""

    async def work() -> None:
        async with KeyServer(server_context(SERVER, CLIENT_CA)) as server:
            watch = watch_of(server.port)
            connected = [watch.connected]
            assert (await watch.probe(LIMIT_S)).accepted
            connected.append(watch.connected)
            asked = len(server.requests)
            for _ in range(3):
                assert await watch.check(LIMIT_S)
            light = [request.batch_item[0].operation for request in server.requests[asked:]]
            assert light == [Operation.DISCOVER_VERSIONS] * 3
            assert server.connections == 1
            watch.close()
            assert [*connected, watch.connected] == [False, True, False]

    run(work())


def test_each_probe_is_on_a_fresh_connection(run: Run) -> None:
    """A probe makes a new connection and closes the kept one; none is open after the end."""
    context = server_context(SERVER, CLIENT_CA)

    async def work(port: int) -> None:
        watch = watch_of(port)
        before = open_sockets()
        for _ in range(3):
            assert (await watch.probe(LIMIT_S)).accepted
        watch.close()
        watch.close()
        await expect_sockets(before)

    with fault.FaultServer(fault.tls(context, kmip.answering())) as server:
        run(work(server.port))
        assert server.accepted == 3


@pytest.mark.parametrize(
    ("answers", "question"),
    [
        ({}, kmip.DISCOVER_VERSIONS),
        ({kmip.DISCOVER_VERSIONS: kmip.failure(kmip.DISCOVER_VERSIONS, kmip.NOT_SUPPORTED)}, kmip.QUERY),
        ({kmip.DISCOVER_VERSIONS: kmip.failure(kmip.DISCOVER_VERSIONS, kmip.PERMISSION_DENIED)}, kmip.QUERY),
        (
            {
                kmip.DISCOVER_VERSIONS: kmip.failure(kmip.DISCOVER_VERSIONS, kmip.NOT_SUPPORTED),
                kmip.QUERY: kmip.failure(kmip.QUERY, kmip.NOT_SUPPORTED),
            },
            kmip.QUERY,
        ),
    ],
    ids=["sound", "KMIP 1.0", "Discover Versions denied", "neither"],
)
def test_the_light_question_is_one_that_the_server_knows(run: Run, answers: Any, question: int) -> None:
    """The light check asks Discover Versions, else Query; a refusal counts as an answer."""
    asked: list[int] = []

    def noting(operation: int) -> Any:
        def answer(_: Any) -> Any:
            asked.append(operation)
            return answers.get(operation, kmip.SOUND[operation])

        return answer

    async def work(port: int) -> None:
        watch = watch_of(port)
        assert (await watch.probe(LIMIT_S)).accepted
        asked.clear()
        assert await watch.check(LIMIT_S)
        assert await watch.check(LIMIT_S)
        watch.close()

    script = kmip.answering({operation: noting(operation) for operation in kmip.SOUND})
    with fault.FaultServer(fault.tls(server_context(SERVER, CLIENT_CA), script)) as server:
        run(work(server.port))
    assert asked == [question] * 2


@pytest.mark.parametrize(
    "answer",
    [None, b"\xff" * 64, kmip.failure(kmip.DISCOVER_VERSIONS, kmip.AUTHENTICATION_NOT_SUCCESSFUL)],
    ids=["closes", "no TTLV", "credential refused"],
)
def test_a_check_that_fails_closes_the_connection(run: Run, answer: Any) -> None:
    """The next look has to be a probe, which says why."""
    sound = [True]

    async def work(port: int) -> None:
        watch = watch_of(port)
        assert (await watch.probe(LIMIT_S)).accepted
        sound[0] = False
        assert not await watch.check(LIMIT_S)
        assert not watch.connected
        assert not await watch.check(LIMIT_S)

    def discover(_: Any) -> Any:
        return kmip.SOUND[kmip.DISCOVER_VERSIONS] if sound[0] else answer

    script = kmip.answering({kmip.DISCOVER_VERSIONS: discover})
    with fault.FaultServer(fault.tls(server_context(SERVER, CLIENT_CA), script)) as server:
        run(work(server.port))


def test_a_check_ends_in_time(run: Run) -> None:
    """A server that falls silent costs the check's limit, no more."""

    async def work() -> float:
        async with KeyServer(server_context(SERVER, CLIENT_CA)) as server:
            watch = watch_of(server.port)
            assert (await watch.probe(LIMIT_S)).accepted
            server.faults[Operation.DISCOVER_VERSIONS] = silence
            began = time.monotonic()
            assert not await watch.check(0.2)
            return time.monotonic() - began

    assert run(work()) < 20


def test_a_refused_probe_leaves_nothing_open(run: Run) -> None:
    """Not the connection that it had, and not its own; it says what a probe says, with the server's certificates."""
    context = server_context(SERVER, CLIENT_CA)
    refuse = [False]

    def locate(_: Any) -> Any:
        return kmip.failure(kmip.LOCATE, kmip.GENERAL_FAILURE) if refuse[0] else kmip.SOUND[kmip.LOCATE]

    async def work(port: int) -> None:
        watch = watch_of(port)
        assert (await watch.probe(LIMIT_S)).accepted
        refuse[0] = True
        result = await watch.probe(LIMIT_S)
        assert result.reason == "operation_failed"
        assert [certificate.subject for certificate in result.certificates] == ["key server"]
        assert not watch.connected

    with fault.FaultServer(fault.tls(context, kmip.answering({kmip.LOCATE: locate}))) as server:
        run(work(server.port))


def test_a_cancelled_look_closes_its_connection(run: Run) -> None:
    """A cancelled probe leaves no socket open."""

    async def work() -> None:
        async with KeyServer(server_context(SERVER, CLIENT_CA)) as server:
            server.faults[Operation.LOCATE] = silence
            before = open_sockets()
            watch = watch_of(server.port)
            probing = asyncio.create_task(watch.probe(LIMIT_S))
            while not any(each.batch_item[0].operation == Operation.LOCATE for each in server.requests):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            probing.cancel()
            await asyncio.wait([probing])
            watch.close()
            await expect_sockets(before)

    run(work())


def test_the_name_of_the_target_is_verified(run: Run) -> None:
    """``tls_server_name`` counts instead of the host, in watches too."""

    async def work() -> str | None:
        async with KeyServer(server_context(SERVER, CLIENT_CA)) as server:
            right = watch_of(server.port)
            assert (await right.probe(LIMIT_S)).accepted
            right.close()
            return (await watch_of(server.port, server_name="other.example").probe(LIMIT_S)).reason

    assert run(work()) == "server_certificate_wrong_name"


def test_an_address_that_is_not_allowed_is_not_connected_to(run: Run) -> None:
    """The egress rules hold for every connection of a watch."""

    async def work(port: int) -> str | None:
        watch = Gateway(EgressRules()).watch(ServerAddress("127.0.0.1", port), target(port), identity())
        return (await watch.probe(LIMIT_S)).reason

    with fault.FaultServer(fault.silence) as server:
        assert run(work(server.port)) == "address_not_allowed"
        assert server.accepted == 0


def test_a_key_that_does_not_match_is_told_by_the_probe(run: Run) -> None:
    """A context that cannot be made is the probe's to explain."""

    async def work() -> str | None:
        wrong = replace(identity(), private_key=Secret(client(CLIENT_CA).key_pem))
        watch = Gateway(LOOPBACK).watch(ServerAddress("localhost", 1), target(1), wrong)
        return (await watch.probe(LIMIT_S)).reason

    assert run(work()) == "client_certificate_key_mismatch"
