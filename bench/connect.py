"""CPU of connecting, TLS and Discover Versions, against a blocking ``ssl`` socket that exchanges the same bytes.

Both use one shared context and a full TLS 1.3 handshake with client certificates. The floor does nothing that the
standard library does not do for it: no time-outs, no decoding.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from statistics import median
from typing import TYPE_CHECKING

import uvloop

from bench.client import Setting, replaying
from bench.row import Row
from keystead.kmip import Client
from keystead.kmip.messages.headers import ProtocolVersion, RequestHeader, ResponseHeader
from keystead.kmip.messages.messages import (
    RequestBatchItem,
    RequestMessage,
    ResponseBatchItem,
    ResponseMessage,
    encode_request,
    encode_response,
)
from keystead.kmip.messages.payloads.discover_versions import (
    DiscoverVersionsRequestPayload,
    DiscoverVersionsResponsePayload,
)
from keystead.kmip.transport.connect import Address, connect_tcp
from keystead.kmip.transport.tls import handshake
from keystead.kmip.ttlv.enums import Operation, ResultStatus
from keystead.kmip.ttlv.versions import V1_1, VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECTIONS = 40
ROUNDS = 25
OFFERED = tuple(ProtocolVersion(*version) for version in VERSIONS)


def connect_cpu() -> Row:
    """Our CPU time of a connect and Discover Versions as a multiple of the floor's, on asyncio; median of ratios."""
    return _measured(asyncio.run, 1.3)


def connect_cpu_uvloop() -> Row:
    """Measure the same on uvloop, which the service runs on: watched, without a budget of its own."""
    return _measured(uvloop.run, None)


ROWS: dict[str, Callable[[], Row]] = {
    "connect_cpu": connect_cpu,
    "connect_cpu_uvloop": connect_cpu_uvloop,
}


def _measured(run: Callable[..., float], budget: float | None) -> Row:
    request, answer = _request(), _answer()
    with replaying(answer) as setting:
        floor(setting, request, len(answer))
        run(ours(setting))
        ratios = [run(ours(setting)) / floor(setting, request, len(answer)) for _ in range(ROUNDS)]
    return Row(median(ratios), "x", budget, "lower", "blocking ssl socket, same bytes")


async def ours(setting: Setting) -> float:
    """CPU seconds of one connection with our client."""
    addresses = [Address(socket.AF_INET, ("127.0.0.1", setting.server.port))]
    start = time.process_time()
    for _ in range(CONNECTIONS):
        stream = await handshake(await connect_tcp(addresses), setting.context, server_name="localhost")
        key_server = Client(stream)
        await key_server.negotiate(timeout=10)
        key_server.close()
    return (time.process_time() - start) / CONNECTIONS


def floor(setting: Setting, request: bytes, size: int) -> float:
    """CPU seconds of one connection with a blocking socket."""
    start = time.process_time()
    for _ in range(CONNECTIONS):
        with (
            socket.create_connection(("127.0.0.1", setting.server.port)) as sock,
            setting.context.wrap_socket(sock, server_hostname="localhost") as tls,
        ):
            tls.sendall(request)
            received = 0
            while received < size:
                received += len(tls.recv(65536))
            tls.settimeout(0)
            with contextlib.suppress(OSError):
                tls.unwrap()  # says goodbye, as we do, and does not wait for the peer's
    return (time.process_time() - start) / CONNECTIONS


def _request() -> bytes:
    header = RequestHeader(ProtocolVersion(*V1_1), batch_order_option=True, batch_count=1)
    item = RequestBatchItem(Operation.DISCOVER_VERSIONS, request_payload=DiscoverVersionsRequestPayload(OFFERED))
    return encode_request(RequestMessage(header, (item,)))


def _answer() -> bytes:
    header = ResponseHeader(ProtocolVersion(*V1_1), int(time.time()), batch_count=1)
    item = ResponseBatchItem(
        Operation.DISCOVER_VERSIONS,
        result_status=ResultStatus.SUCCESS,
        response_payload=DiscoverVersionsResponsePayload(OFFERED),
    )
    return encode_response(ResponseMessage(header, (item,)))
