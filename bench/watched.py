"""Many key servers in one process: ``python -m bench.watched PORT CERT KEY CA``.

It listens on all loopback addresses of a port, so that each of 127.x.y.z is a key server of its own. Each sound answer
is made once and then replayed: thousands of real servers do not share a core, so this one must cost little.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from typing import cast

import uvloop

from keystead.kmip.messages.connection import ServerConnection
from keystead.kmip.server.responder import Responder

_answers: dict[bytes, bytes] = {}


class Replaying(asyncio.Protocol):
    """One connection. Requests are small, and come whole and alone."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if data not in _answers:
            _answers[data] = _sound(data)
        self._transport.write(_answers[data])


def _sound(request: bytes) -> bytes:
    connection = ServerConnection()
    connection.receive_data(request)
    received = connection.next_request()
    assert received is not None
    return connection.send_response(Responder().respond(received))


async def serve(port: int, context: ssl.SSLContext) -> None:
    """Serve for ever."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Replaying, "0.0.0.0", port, ssl=context, backlog=1024)  # noqa: S104 - 127.0.0.0/8
    await server.serve_forever()


if __name__ == "__main__":
    number, certificate, key, authority = sys.argv[1:]
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    server.load_verify_locations(authority)
    server.verify_mode = ssl.CERT_REQUIRED
    uvloop.run(serve(int(number), server))
