"""Many key servers in one process that can be broken: ``python -m bench.breakable CERT KEY CLIENT_CA PORT...``.

A line on standard input breaks all of them, and a line on standard output says that it was done:

- ``refuse``: every request is refused, as after a change of the client's role.
- ``forget keys``: the keys are gone and the canaries are there, as after the restore of an older copy.
- ``client-ca FILE``: new connections need a client certificate of another CA.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import uvloop

from keystead.core.keys.names import ObjectKind, parse
from keystead.kmip.testing.server import KeyServer
from keystead.kmip.ttlv.enums import Operation, ResultReason

if TYPE_CHECKING:
    from collections.abc import Sequence


def context(certificate: str, key: str, client_ca: str) -> ssl.SSLContext:
    """Return the TLS context of a key server."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    made.load_verify_locations(client_ca)
    made.verify_mode = ssl.CERT_REQUIRED
    return made


def break_all(servers: Sequence[KeyServer], words: Sequence[str], certificate: str, key: str) -> None:
    """Carry out a line."""
    for server in servers:
        match words:
            case ["refuse"]:
                server.responder.refusals = dict.fromkeys(Operation, ResultReason.AUTHENTICATION_NOT_SUCCESSFUL)
            case ["forget", "keys"]:
                for identifier, stored in list(server.responder.objects.items()):
                    if any(parsed and parsed.kind is ObjectKind.KEY for parsed in map(parse, stored.names)):
                        server.responder.store.forget(identifier)
            case ["client-ca", file]:
                server.context = context(certificate, key, file)


async def serve(certificate: str, key: str, client_ca: str, ports: Sequence[str]) -> None:
    """Serve until standard input ends."""
    async with AsyncExitStack() as stack:
        tls = context(certificate, key, client_ca)
        servers = [await stack.enter_async_context(KeyServer(tls, port=int(port))) for port in ports]
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            break_all(servers, line.split(), certificate, key)
            print("done", flush=True)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]))
