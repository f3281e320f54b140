"""Batches against the test server and PyKMIP's: order, partial failure, Stop and Continue, and what is too large."""

from __future__ import annotations

import dataclasses
import socket
from typing import TYPE_CHECKING, Any

import pytest

from keystead.kmip.client.client import Client
from keystead.kmip.messages.attributes import attribute
from keystead.kmip.messages.payloads.activate import ActivateRequestPayload, ActivateResponsePayload
from keystead.kmip.messages.payloads.create import CreateResponsePayload
from keystead.kmip.messages.payloads.get import GetRequestPayload, GetResponsePayload
from keystead.kmip.messages.payloads.locate import LocateRequestPayload, LocateResponsePayload
from keystead.kmip.testing import server as testing
from keystead.kmip.transport import tls
from keystead.kmip.transport.connect import Address, connect_tcp
from keystead.kmip.ttlv import enums
from keystead.kmip.ttlv.enums import BatchErrorContinuationOption, ObjectType, Operation, ResultReason, ResultStatus
from keystead.kmip.ttlv.errors import (
    LocalProtocolError,
    OperationFailed,
    RemoteProtocolError,
    TransportError,
    TTLVError,
)
from keystead.kmip.ttlv.ttlv import Limits
from keystead.kmip.ttlv.versions import V1_0, V1_2, V2_0, VERSIONS, Version
from tests.kmip import wire
from tests.kmip.pooled import SERVER, TIMEOUT, Site, number_of
from tests.peers.certificates import client_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.peers.fixtures import Pki
    from tests.peers.processes import Program

CONTINUE, STOP = BatchErrorContinuationOption.CONTINUE, BatchErrorContinuationOption.STOP


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Yield the test server."""
    async with testing.KeyServer(SERVER) as server:
        yield Site(server)


def shown(results: list[Any]) -> list[Any]:
    """Return the numbers of seeds, the reasons of failures, and ``None`` for items without an answer."""
    return [
        number_of(result.managed_object) if isinstance(result, GetResponsePayload) else getattr(result, "reason", None)
        for result in results
    ]


@pytest.mark.parametrize("version", VERSIONS)
async def test_keys_in_their_order(site: Site, version: Version) -> None:
    """Several keys come in one message in order, in every version, and the request is as specified."""
    keys = await site.keys(12)
    key_server = await site.connect()
    key_server.version = version
    assert shown(await key_server.get_many(reversed(keys), timeout=TIMEOUT)) == list(reversed(range(12)))
    assert shown(await key_server.get_many(keys[:1], timeout=TIMEOUT)) == [0]
    sent = site.server.requests[-2]
    assert sent.request_header.batch_order_option is True
    assert sent.request_header.batch_error_continuation_option == CONTINUE
    assert sent.request_header.batch_count == 12
    assert len({item.unique_batch_item_id for item in sent.batch_item} - {None}) == 12
    before = len(site.server.requests)
    assert await key_server.get_many([]) == await key_server.batch([]) == []
    assert len(site.server.requests) == before
    key_server.close()


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (CONTINUE, [0, ResultReason.ITEM_NOT_FOUND, 1, ResultReason.ITEM_NOT_FOUND, 2]),
        (STOP, [0, ResultReason.ITEM_NOT_FOUND, None, None, None]),
    ],
)
async def test_a_failure_in_the_middle(site: Site, option: BatchErrorContinuationOption, expected: list[Any]) -> None:
    """A failed item has its own failure; later items are answered with Continue, not with Stop."""
    keys = await site.keys(3)
    payloads = [GetRequestPayload(key) for key in (keys[0], "nothing", keys[1], "nothing", keys[2])]
    key_server = await site.connect()
    results = await key_server.batch(payloads, on_error=option, timeout=TIMEOUT)
    assert shown(results) == expected
    failure = results[1]
    assert isinstance(failure, OperationFailed)
    assert (failure.operation, failure.status) == (Operation.GET, ResultStatus.OPERATION_FAILED)
    assert key_server.usable
    assert shown(await key_server.batch([*payloads[:1], *payloads[2:3]], timeout=TIMEOUT)) == [0, 1]
    key_server.close()


async def test_the_id_placeholder(site: Site) -> None:
    """Later operations of a batch use the identifier that an earlier one found."""
    (key,) = await site.keys(1)
    key_server = await site.connect()
    wanted = attribute("Unique Identifier", key)
    located, activated, got = await key_server.batch(
        [LocateRequestPayload(attribute=(wanted,)), ActivateRequestPayload(None), GetRequestPayload(None)],
        timeout=TIMEOUT,
    )
    assert isinstance(located, LocateResponsePayload)
    assert located.unique_identifier == (key,)
    assert isinstance(activated, ActivateResponsePayload)
    assert isinstance(got, GetResponsePayload)
    assert got.unique_identifier == key
    key_server.close()


async def test_a_message_that_is_refused_as_a_whole(site: Site) -> None:
    """A failure of the whole message counts for each item, and the connection continues."""
    keys = await site.keys(3)
    profile = site.server.responder.profile
    site.server.responder.profile = dataclasses.replace(profile, maximum_batch=2)
    key_server = await site.connect()
    assert shown(await key_server.get_many(keys, timeout=TIMEOUT)) == [ResultReason.INVALID_MESSAGE] * 3
    assert shown(await key_server.get_many(keys[:2], timeout=TIMEOUT)) == [0, 1]
    site.server.responder.refusals[Operation.GET] = ResultReason.RESPONSE_TOO_LARGE
    assert shown(await key_server.get_many(keys[:2], timeout=TIMEOUT)) == [ResultReason.RESPONSE_TOO_LARGE] * 2
    assert key_server.usable
    key_server.close()


async def test_an_answer_above_our_limit(site: Site) -> None:
    """An answer above the limit is not read, and the connection is closed."""
    keys = await site.keys(10)
    site = Site(site.server, limits=Limits(1024))
    key_server = await site.connect()
    assert shown(await key_server.get_many(keys[:2], timeout=TIMEOUT)) == [0, 1]
    with pytest.raises(TTLVError) as caught:
        await key_server.get_many(keys, timeout=TIMEOUT)
    assert caught.value.limit
    assert caught.value.sent
    assert not key_server.usable


async def test_mistakes_and_lost_answers(site: Site) -> None:
    """A payload that cannot be encoded sends nothing; a lost answer closes the connection."""
    (key,) = await site.keys(1)
    key_server = await site.connect()
    before = len(site.server.requests)
    with pytest.raises(LocalProtocolError) as caught:
        await key_server.get_many([key, 5], timeout=TIMEOUT)
    assert not caught.value.sent
    assert len(site.server.requests) == before
    assert key_server.usable
    site.server.faults[Operation.GET] = testing.silence
    with pytest.raises(TransportError) as lost:
        await key_server.get_many([key, key], timeout=0.1)
    assert lost.value.sent
    assert not key_server.usable


def _items(*items: bytes) -> bytes:
    header = wire.structure(0x42007A, wire.version(1, 4), wire.integer(0x42000D, len(items)))
    return wire.structure(0x42007B, header, *[wire.structure(0x42000F, item) for item in items])


def _item(operation: int, number: int, *rest: bytes) -> bytes:
    identifier = wire.item(0x420093, wire.BYTES, number.to_bytes(8, "big"))
    return wire.enumeration(0x42005C, operation) + identifier + wire.enumeration(0x42007F, 0) + b"".join(rest)


NONSENSE = {
    "no payload": _items(_item(Operation.GET, 0), _item(Operation.GET, 1)),
    "another operation": _items(_item(Operation.DESTROY, 0, wire.structure(0x42007C))),
    "an unknown identifier": _items(_item(Operation.GET, 7)),
    "the same twice": _items(_item(Operation.GET, 0), _item(Operation.GET, 0)),
    "a wrong count": _items(_item(Operation.GET, 0)).replace(
        wire.integer(0x42000D, 1), wire.integer(0x42000D, 2)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NONSENSE)
async def test_answers_that_make_no_sense(site: Site, name: str) -> None:
    """Answers that do not match the items close the connection."""
    site.server.faults[Operation.GET] = testing.garbage(NONSENSE[name])
    key_server = await site.connect()
    with pytest.raises(RemoteProtocolError):
        await key_server.get_many(["1", "2"], timeout=TIMEOUT)
    assert not key_server.usable


@pytest.mark.parametrize("version", [V1_0, V1_2, V2_0])
async def test_pykmip(pki: Pki, pykmip_servers: list[Program], version: Version) -> None:
    """PyKMIP's server agrees about batches: partial failure, Stop, Continue, one message for all."""
    server = pykmip_servers[0]
    sock = await connect_tcp([Address(socket.AF_INET, (server.host, server.port))])
    key_server = Client(
        await tls.handshake(sock, client_context(pki.server_ca, pki.client), server_name="localhost"), version=version
    )
    made = [
        await key_server.create(
            [
                attribute("Cryptographic Algorithm", enums.CryptographicAlgorithm.AES),
                attribute("Cryptographic Length", 256),
                attribute("Cryptographic Usage Mask", 12),
            ],
            object_type=ObjectType.SYMMETRIC_KEY,
            timeout=TIMEOUT,
        )
        for _ in range(2)
    ]
    assert all(isinstance(answer, CreateResponsePayload) for answer in made)
    first, second = (answer.unique_identifier for answer in made)
    alone = [(await key_server.get(key, timeout=TIMEOUT)).managed_object for key in (first, second)]
    one, missing, two = await key_server.get_many([first, "999999", second], timeout=TIMEOUT)
    assert isinstance(one, GetResponsePayload)
    assert isinstance(two, GetResponsePayload)
    assert isinstance(missing, OperationFailed)
    assert missing.reason in {ResultReason.ITEM_NOT_FOUND, ResultReason.PERMISSION_DENIED}
    assert [one.managed_object, two.managed_object] == alone
    stopped = await key_server.batch([GetRequestPayload(key) for key in (first, "999999", second)], timeout=TIMEOUT)
    assert [type(result) for result in stopped] == [GetResponsePayload, OperationFailed, type(None)]
    for key in (first, second):
        await key_server.destroy(key, timeout=TIMEOUT)
    key_server.close()
