"""Connections to hosts that are no key servers, under the same egress rules: those that get audit records and events.

Each connection resolves the name again and checks every address. TCP does not tell whether a program has read what was
sent to it. So :meth:`Outlet.finish` waits until the peer's host has all bytes, closes our direction, and waits for the
peer's close. A program that ends without having read everything makes its host reset the connection instead.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import ipaddress
import os
import socket
import ssl
import sys
import termios
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from keystead.keyservers.contexts import KeyMismatchError, destination_context
from keystead.keyservers.resolve import AddressNotAllowedError, NameNotResolvedError, Resolver
from keystead.kmip.transport.connect import connect_tcp
from keystead.kmip.transport.tls import TLSError, handshake
from keystead.kmip.ttlv.errors import TransportError
from keystead.service.ports.forwarding import Undelivered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from keystead.keyservers.egress import EgressRules
    from keystead.kmip.transport.tls import Stream
    from keystead.service.ports.forwarding import Endpoint

CONNECT_S: Final = 10.0
"""Seconds for the name, the connection and the TLS handshake."""

OWN_CONNECTION: Final = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
"""A header of the PROXY protocol, version 2 (section 2.2): the connection is not passed on for anybody (LOCAL)."""

POLL_S: Final = 0.01
_READ_SIZE: Final = 64 * 1024

# OpenSSL's X509_V_ERR_* codes (x509_vfy.h).
_CERTIFICATE_FAULTS: Final = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is self-signed, and not trusted",
    19: "its certificate is from a CA that the cluster does not trust",
    20: "its certificate is from a CA that the cluster does not trust",
    21: "its certificate is from a CA that the cluster does not trust",
    62: "its certificate is for another name",
    64: "its certificate is for another address",
}


class Outlet:
    """One connection: TCP, or TLS over it."""

    def __init__(self, sock: socket.socket, stream: Stream | None) -> None:
        self._sock = sock
        self._stream = stream
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        """Hand all of ``data`` to this host's network. Raises OSError."""
        if self._stream is not None:
            await self._stream.send(data)
        else:
            await self._loop.sock_sendall(self._sock, data)

    async def receive(self) -> bytes:
        """Wait for data, and return some; ``b""`` if the peer has closed. Raises OSError, TLSError."""
        if self._stream is not None:
            return await self._stream.receive()
        return await self._loop.sock_recv(self._sock, _READ_SIZE)

    async def finish(self) -> None:
        """Return when the peer has taken all that was sent, and has closed the connection after us. Raises OSError."""
        while self._unconfirmed():  # noqa: ASYNC110 - the kernel has no event for this
            await asyncio.sleep(POLL_S)
        with self._sock.dup() as left:  # because the stream's close sends the end of TLS, and closes its own descriptor
            if self._stream is not None:
                self._stream.close()
            left.shutdown(socket.SHUT_WR)
            while await self._loop.sock_recv(left, _READ_SIZE):
                pass

    def close(self) -> None:
        """Close the connection. It may be called twice."""
        if self._stream is not None:
            self._stream.close()
        self._sock.close()

    def _unconfirmed(self) -> bool:
        """Return True while the peer's host has not confirmed all bytes. Raises OSError if the peer has closed."""
        if not self._silent():
            raise ConnectionError("the peer closed the connection")
        pending = fcntl.ioctl(self._sock, termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(pending, sys.byteorder) > 0

    def _silent(self) -> bool:
        """Return True if the peer has not closed. What it sends besides is of no interest."""
        if self._stream is not None:
            return self._stream.silent()
        with suppress(BlockingIOError):
            return bool(self._sock.recv(_READ_SIZE))
        return True


class Outlets:
    """The maker of connections. It belongs to one event loop."""

    def __init__(self, rules: EgressRules) -> None:
        self._resolver = Resolver(rules)

    @asynccontextmanager
    async def open(self, endpoint: Endpoint) -> AsyncIterator[Outlet]:
        """Connect, and close the connection at the end. What fails while it is open raises Undelivered, too."""
        with _failures():
            async with asyncio.timeout(CONNECT_S):
                outlet = await self._connect(endpoint)
            try:
                yield outlet
            finally:
                outlet.close()

    async def _connect(self, endpoint: Endpoint) -> Outlet:
        host = endpoint.host.removesuffix(".")
        addresses = await self._resolver.look_up(host, endpoint.port)
        self._resolver.check(addresses)
        if not endpoint.tls:
            return Outlet(await connect_tcp(addresses), None)
        verify = endpoint.verify and not endpoint.pin
        context = destination_context(endpoint.authorities, endpoint.client, verify=verify)
        sock = await connect_tcp(addresses)
        if _is_in(sock.getsockname()[0], endpoint.proxies):
            await asyncio.get_running_loop().sock_sendall(sock, OWN_CONNECTION)
        stream = await handshake(sock, context, server_name=host)
        if endpoint.pin and hashlib.sha256(stream.peer_certificate or b"").hexdigest() != endpoint.pin:
            stream.close()
            raise Undelivered("it shows another certificate than it told")
        return Outlet(sock, stream)


def _is_in(address: str, networks: tuple[str, ...]) -> bool:
    """Return True if an address is in one of these networks."""
    own = ipaddress.ip_address(address.partition("%")[0])
    return any(own in ipaddress.ip_network(each) for each in networks)


@contextmanager
def _failures() -> Iterator[None]:
    """Raise Undelivered for a connection that fails, with a reason that quotes nothing of the peer's."""
    try:
        yield
    except NameNotResolvedError:
        raise Undelivered("its name is not resolved") from None
    except AddressNotAllowedError as error:
        raise Undelivered(f"the egress rules refuse its address: {error.rule.word}") from None
    except TLSError as error:
        raise Undelivered(_tls_reason(error)) from None
    except TransportError as error:
        raise Undelivered(_reason(error.__cause__)) from None
    except TimeoutError:
        raise Undelivered("it does not answer in time") from None
    except (KeyMismatchError, ssl.SSLError, ValueError):
        raise Undelivered("TLS does not take the client certificate, or a CA certificate") from None
    except OSError as error:
        raise Undelivered(_reason(error)) from None


def _reason(error: BaseException | None) -> str:
    number = getattr(error, "errno", None)
    return f"the connection failed: {os.strerror(number)}" if number else "it closed the connection too early"


def _tls_reason(error: TLSError) -> str:
    if error.verify_code:
        return _CERTIFICATE_FAULTS.get(error.verify_code, f"its certificate is not accepted ({error.verify_code})")
    return f"TLS failed: {error.reason}" if error.reason else "it closed the connection in TLS"
