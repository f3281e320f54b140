"""The client with scripted streams: requests, answers, deadlines and versions."""

from __future__ import annotations

import asyncio
import time

import pytest

from keystead.kmip.client.client import Client
from keystead.kmip.messages.attributes import Attribute, VendorAttribute
from keystead.kmip.messages.headers import ProtocolVersion, username_credential
from keystead.kmip.messages.messages import decode_request
from keystead.kmip.messages.payloads.discover_versions import DiscoverVersionsRequestPayload
from keystead.kmip.ttlv.enums import Operation, ResultReason, ResultStatus
from keystead.kmip.ttlv.errors import (
    KMIPError,
    LocalProtocolError,
    NoCommonVersion,
    OperationFailed,
    RemoteProtocolError,
    TransportError,
    TTLVError,
)
from keystead.kmip.ttlv.ttlv import Limits
from keystead.kmip.ttlv.versions import V1_0, V1_1, V1_4, V2_0, V2_1, VERSIONS, Version
from tests.kmip import wire


class Script:
    """A stream that answers each request with the next of a list, and keeps what was sent."""

    def __init__(self, *answers: bytes | Exception | None) -> None:
        self.answers = list(answers)
        self.sent: list[bytes] = []
        self.closed = False

    async def send(self, data: bytes) -> None:
        self.sent.append(data)

    async def receive(self) -> bytes:
        answer = self.answers.pop(0)
        if answer is None:
            await asyncio.sleep(3600)
        if isinstance(answer, Exception):
            raise answer
        return answer or b""

    def silent(self) -> bool:
        return not self.closed

    def close(self) -> None:
        self.closed = True


def versions_answer(*versions: Version, protocol: Version = V1_1) -> bytes:
    """Return the answer to Discover Versions."""
    payload = wire.structure(0x42007C, *[wire.version(*version) for version in versions])
    return wire.response(Operation.DISCOVER_VERSIONS, payload, protocol)


def failure(reason: ResultReason, protocol: Version = V1_1, operation: int | None = None) -> bytes:
    """Return a failed answer."""
    return wire.response(operation, protocol=protocol, status=1, reason=reason)


ACTIVATED = wire.response(Operation.ACTIVATE, wire.unhex("42007C 01 00000010 420094 07 00000001 3700000000000000"))


# --- what goes out and what comes back ---


async def test_a_request_is_what_the_specification_wants() -> None:
    """The header has version, credential, Batch Order Option and Batch Count; the item has the payload."""
    stream = Script(ACTIVATED)
    await Client(stream, credential=username_credential("Fred", "hunter2")).activate("7")
    (message,) = map(decode_request, stream.sent)
    header = message.request_header
    assert header.protocol_version == ProtocolVersion(1, 4)
    assert header.batch_order_option is True
    assert header.batch_count == 1
    assert header.authentication
    assert header.authentication.credential == (username_credential("Fred", "hunter2"),)


async def test_an_answer_in_pieces() -> None:
    """Pieces of an answer are put together; the connection stays usable and the header is kept."""
    stream = Script(*[bytes([byte]) for byte in ACTIVATED])
    key_server = Client(stream)
    assert (await key_server.activate("7")).unique_identifier == "7"
    assert key_server.usable
    assert key_server.response_header
    assert key_server.response_header.time_stamp == 1_700_000_000


async def test_a_failed_operation() -> None:
    """Operation Failed raises an error with the numbers of the answer; the connection stays usable."""
    stream = Script(failure(ResultReason.ITEM_NOT_FOUND, V1_0, Operation.ACTIVATE), ACTIVATED)
    key_server = Client(stream)
    with pytest.raises(OperationFailed) as caught:
        await key_server.activate("7")
    error = caught.value
    assert (error.operation, error.status, error.reason, error.version, error.result_message) == (
        Operation.ACTIVATE,
        ResultStatus.OPERATION_FAILED,
        ResultReason.ITEM_NOT_FOUND,
        V1_0,
        None,
    )
    assert key_server.usable
    await key_server.activate("7")


PENDING = wire.response(Operation.ACTIVATE, status=2)
BROKEN: dict[str, tuple[bytes | Exception, type[KMIPError]]] = {
    "the end": (b"", TransportError),
    "a failed stream": (TransportError("exchange", "reset"), TransportError),
    "garbage": (b"HTTP/1.1 400 Bad Request", TTLVError),
    "too much": (wire.unhex("42007B 01 FFFFFFF8"), TTLVError),
    "no payload": (wire.response(Operation.ACTIVATE), RemoteProtocolError),
    "no operation": (wire.response(None, wire.structure(0x42007C)), RemoteProtocolError),
    "another operation": (wire.response(Operation.DESTROY, wire.structure(0x42007C)), RemoteProtocolError),
    "no items": (
        wire.structure(0x42007B, wire.structure(0x42007A, wire.version(1, 4), wire.integer(0x42000D, 0))),
        RemoteProtocolError,
    ),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_answer_closes_the_connection(name: str) -> None:
    """After anything but a complete answer to the request, the connection is closed and takes no other call."""
    answer, error = BROKEN[name]
    stream = Script(answer)
    key_server = Client(stream)
    with pytest.raises(error):
        await key_server.activate("7")
    assert stream.closed
    assert not key_server.usable
    with pytest.raises(LocalProtocolError):
        await key_server.activate("7")
    assert len(stream.sent) == 1


async def test_a_pending_answer() -> None:
    """Operation Pending is an error, because we do not permit it."""
    with pytest.raises(OperationFailed) as caught:
        await Client(Script(PENDING)).activate("7")
    assert caught.value.status == ResultStatus.OPERATION_PENDING


async def test_a_call_that_cannot_be_encoded_sends_nothing() -> None:
    """A payload that cannot be encoded raises an error, sends nothing, and leaves the connection usable."""
    stream = Script(ACTIVATED)
    key_server = Client(stream, version=V1_0)
    for mistake in (
        key_server.locate(offset_items=1),
        key_server.activate(5),  # type: ignore[arg-type]
        key_server.add_attribute("7", VendorAttribute("x", "ID", attribute_value=None)),  # type: ignore[arg-type]
    ):
        with pytest.raises(LocalProtocolError):
            await mistake
    key_server.version = V2_0
    for in_old_form in (
        key_server.get_attributes("7", ["x-ID"]),
        key_server.create([Attribute("x-ID", attribute_value="a")]),
    ):
        with pytest.raises(LocalProtocolError):
            await in_old_form
    assert stream.sent == []
    assert key_server.usable


async def test_the_limit_of_an_answer() -> None:
    """The client's limits apply to answers."""
    with pytest.raises(TTLVError) as caught:
        await Client(Script(ACTIVATED), limits=Limits(64)).activate("7")
    assert caught.value.limit


# --- time ---


async def test_the_deadline_is_the_calls_and_not_the_reads() -> None:
    """The deadline is for the whole call, so a server that sends byte by byte cannot extend it."""

    class Drip(Script):
        async def receive(self) -> bytes:
            await asyncio.sleep(0.01)
            self.read = getattr(self, "read", 0) + 1
            return ACTIVATED[self.read - 1 : self.read]

    stream = Drip()
    start = time.monotonic()
    with pytest.raises(TransportError, match="in time") as caught:
        await Client(stream).activate("7", timeout=0.1)
    assert time.monotonic() - start < 1
    assert caught.value.phase == "exchange"
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert stream.closed


async def test_a_cancelled_call_closes_the_connection() -> None:
    """A call that is cancelled after sending closes the connection."""
    stream = Script(None)
    key_server = Client(stream)
    call = asyncio.create_task(key_server.activate("7"))
    await asyncio.sleep(0)
    with pytest.raises(LocalProtocolError, match="BUSY"):
        await key_server.activate("8")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert stream.closed
    assert not key_server.usable
    key_server.close()


async def test_the_callers_own_timeout() -> None:
    """A time-out around the call raises the caller's TimeoutError and closes the connection."""
    stream = Script(None)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await Client(stream).activate("7", timeout=30)
    assert stream.closed


# --- versions ---


async def test_negotiation() -> None:
    """Discover Versions goes out under 1.1 with all our versions; the highest common one is used from then on."""
    stream = Script(versions_answer(V1_0, V1_4, V1_1, (3, 0)), ACTIVATED)
    key_server = Client(stream)
    assert await key_server.negotiate() == V1_4
    assert key_server.offered == (V1_0, V1_4, V1_1, (3, 0))
    await key_server.activate("7")
    first, second = map(decode_request, stream.sent)
    assert first.request_header.protocol_version.version == V1_1
    payload = first.batch_item[0].request_payload
    assert isinstance(payload, DiscoverVersionsRequestPayload)
    assert [version.version for version in payload.protocol_version] == list(VERSIONS)
    assert second.request_header.protocol_version.version == V1_4


@pytest.mark.parametrize("protocol", [V1_0, V1_1])
async def test_a_server_without_discover_versions_has_1_0(protocol: Version) -> None:
    """A server that does not support Discover Versions has version 1.0."""
    key_server = Client(Script(failure(ResultReason.OPERATION_NOT_SUPPORTED, protocol)))
    assert await key_server.negotiate() == V1_0
    assert key_server.usable


async def test_a_server_that_wants_another_header() -> None:
    """After Invalid Message with another version, Discover Versions is sent again in that version."""
    stream = Script(failure(ResultReason.INVALID_MESSAGE, V2_0), versions_answer(V2_0, V2_1, protocol=V2_0))
    assert await Client(stream).negotiate() == V2_1
    versions = [decode_request(data).request_header.protocol_version.version for data in stream.sent]
    assert versions == [V1_1, V2_0]


async def test_a_server_that_has_1_0_only_and_says_so() -> None:
    """A server that answers in 1.0 and does not support Discover Versions has version 1.0."""
    stream = Script(failure(ResultReason.INVALID_MESSAGE, V1_0), failure(ResultReason.OPERATION_NOT_SUPPORTED, V1_0))
    assert await Client(stream).negotiate() == V1_0


REFUSALS = [
    ([failure(ResultReason.INVALID_MESSAGE, V1_1)], 1),
    ([failure(ResultReason.INVALID_MESSAGE, (3, 0))], 1),
    ([failure(ResultReason.INVALID_MESSAGE, V2_0), failure(ResultReason.INVALID_MESSAGE, V1_0)], 2),
    ([failure(ResultReason.PERMISSION_DENIED, V2_0)], 1),
]


@pytest.mark.parametrize(("answers", "requests"), REFUSALS)
async def test_a_refused_negotiation(answers: list[bytes], requests: int) -> None:
    """Any other failure is raised, and there is no third try."""
    stream = Script(*answers)
    with pytest.raises(OperationFailed):
        await Client(stream).negotiate()
    assert len(stream.sent) == requests


@pytest.mark.parametrize("offered", [(), ((3, 0),), (V1_4,)])
async def test_no_common_version(offered: tuple[Version, ...]) -> None:
    """Without a common version the error has the versions of the server."""
    with pytest.raises(NoCommonVersion) as caught:
        await Client(Script(versions_answer(*offered))).negotiate([V2_1])
    assert caught.value.offered == offered


async def test_a_negotiation_in_time() -> None:
    """The deadline is for the whole negotiation."""
    stream = Script(failure(ResultReason.INVALID_MESSAGE, V2_0), None)
    with pytest.raises(TransportError, match="in time"):
        await Client(stream).negotiate(timeout=0.05)
    assert stream.closed
