"""A key server for benches, in a process of its own: Gets are answered from a template with next to no work.

``python -m tests.peers.canned PORT CERT KEY CLIENT_CA DELAY_S`` serves. Every Unique Identifier has an object: Secret
Data, a seed of 64 bytes that :func:`material` tells. Batches of Gets are answered alike. All else is answered by a real
responder, and so are Gets of what was registered there. An answer leaves so many seconds after its request came.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import struct
import sys
import time
from typing import TYPE_CHECKING, Final, cast

import uvloop

from keystead.kmip.messages.connection import ServerConnection
from keystead.kmip.messages.headers import ProtocolVersion, ResponseHeader
from keystead.kmip.messages.messages import ResponseBatchItem, ResponseMessage, encode_response
from keystead.kmip.messages.objects import KeyBlock, KeyValue, SecretData
from keystead.kmip.messages.payloads.get import GetResponsePayload
from keystead.kmip.server.responder import Responder
from keystead.kmip.ttlv.enums import KeyFormatType, ObjectType, Operation, ResultStatus, SecretDataType
from tests.peers.processes import Program, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.certificates import Authority, Credentials

MATERIAL_BYTES: Final = 64
VERSION_END: Final = 16 + 40
"""Where the Protocol Version ends, which opens every message."""

BATCH_ITEM: Final = bytes.fromhex("42000f01")
IDENTIFIER: Final = bytes.fromhex("42009407")
ITEM_ID: Final = bytes.fromhex("42009308")
PAYLOAD: Final = bytes.fromhex("42007901")
GET: Final = bytes.fromhex("42005c0500000004") + struct.pack(">I4x", Operation.GET)
_LENGTH: Final = struct.Struct(">4xI").unpack_from


def material(identifier: str) -> bytes:
    """The 64 bytes of the object with that Unique Identifier."""
    return hashlib.sha512(identifier.encode()).digest()


def start(folder: Path, credentials: Credentials, client_ca: Authority, *, delay_s: float = 0.0) -> Program:
    """Start one server whose files are in ``folder`` (made if absent); await it with ``wait_until_ready``."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = credentials.write(folder, "server")
    (folder / "client-ca.pem").write_text(client_ca.pem)
    port = free_port()
    files = [str(certificate), str(key), str(folder / "client-ca.pem")]
    command = [sys.executable, "-m", __name__, str(port), *files, str(delay_s)]
    return Program(command, port, log=folder / "log")


def answer(request: bytes, responder: Responder) -> bytes:
    """The answer to one request."""
    items = _gets(request)
    if not items or any(identifier[8:].rstrip(b"\0").decode() in responder.objects for _, identifier in items):
        return _real(request, responder)
    body = b"".join([_answered(*item) for item in items])
    header = request[16:VERSION_END] + struct.pack(
        ">IIqIIi4x", 0x42009209, 8, int(time.time()), 0x42000D02, 4, len(items)
    )
    return struct.pack(">IIII", 0x42007B01, 8 + len(header) + len(body), 0x42007A01, len(header)) + header + body


def _gets(request: bytes) -> list[tuple[bytes, bytes]]:
    """The Unique Batch Item ID and the Unique Identifier (as encoded) of each Get; none if there is anything else."""
    found: list[tuple[bytes, bytes]] = []
    at = 16 + _LENGTH(request, 8)[0]
    while at < len(request):
        end = at + 8 + _LENGTH(request, at)[0]
        if request[at : at + 4] != BATCH_ITEM or request[at + 8 : at + 24] != GET:
            return []
        at += 24
        item_id = _item(request, at) if request[at : at + 4] == ITEM_ID else b""
        at += len(item_id)
        if request[at : at + 4] != PAYLOAD or request[at + 8 : at + 12] != IDENTIFIER:
            return []
        found.append((item_id, _item(request, at + 8)))
        at = end
    return found


def _item(data: bytes, at: int) -> bytes:
    return data[at : at + 8 + (_LENGTH(data, at)[0] + 7 & ~7)]


def _answered(item_id: bytes, identifier: bytes) -> bytes:
    text = identifier[8 : 8 + _LENGTH(identifier)[0]]
    size = len(OBJECT_TYPE) + len(identifier) + len(OBJECT) + MATERIAL_BYTES
    return b"".join(
        (
            struct.pack(">II", 0x42000F01, len(GET) + len(item_id) + len(SUCCESS) + 8 + size),
            GET,
            item_id,
            SUCCESS,
            struct.pack(">II", 0x42007C01, size),
            OBJECT_TYPE,
            identifier,
            OBJECT,
            hashlib.sha512(text).digest(),
        )
    )


def _template() -> bytes:
    """Everything of an answer's Secret Data before the bytes themselves, with which it ends."""
    seed = SecretData(SecretDataType.SEED, KeyBlock(KeyFormatType.RAW, key_value=KeyValue(bytes(MATERIAL_BYTES))))
    payload = GetResponsePayload(ObjectType.SECRET_DATA, "1", seed)
    item = ResponseBatchItem(Operation.GET, result_status=ResultStatus.SUCCESS, response_payload=payload)
    data = encode_response(ResponseMessage(ResponseHeader(ProtocolVersion(1, 4), batch_count=1), (item,)))
    return data[data.index(bytes.fromhex("42008501")) : -MATERIAL_BYTES]


OBJECT: Final = _template()
OBJECT_TYPE: Final = bytes.fromhex("4200570500000004") + struct.pack(">I4x", ObjectType.SECRET_DATA)
SUCCESS: Final = bytes.fromhex("42007f0500000004") + bytes(8)


def _real(request: bytes, responder: Responder) -> bytes:
    connection = ServerConnection()
    connection.receive_data(request)
    received = connection.next_request()
    assert received is not None
    return connection.send_response(responder.respond(received))


class _Connection(asyncio.Protocol):
    """One connection; requests may come in pieces, or several at once."""

    def __init__(self, responder: Responder, delay_s: float) -> None:
        self._responder = responder
        self._delay_s = delay_s
        self._waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        came = asyncio.get_running_loop().time()
        data = self._waiting + data if self._waiting else data
        while len(data) >= 8 and len(data) >= (size := 8 + _LENGTH(data)[0]):
            self._send(answer(data[:size], self._responder), came)
            data = data[size:]
        self._waiting = data

    def _send(self, data: bytes, came: float) -> None:
        if self._delay_s:
            asyncio.get_running_loop().call_at(came + self._delay_s, self._transport.write, data)
        else:
            self._transport.write(data)


async def _serve(port: int, context: ssl.SSLContext, delay_s: float) -> None:
    responder = Responder(vendor="Canned answers")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Connection(responder, delay_s), "127.0.0.1", port, ssl=context, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    number, certificate_file, key_file, authority, delay = sys.argv[1:]
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate_file, key_file)
    server_context.load_verify_locations(authority)
    server_context.verify_mode = ssl.CERT_REQUIRED
    uvloop.run(_serve(int(number), server_context, float(delay)))
