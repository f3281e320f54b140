"""The single steps to a connection of a key server, shared by probes and key work. A failed step gives a symptom.

Each new connection resolves the name again and checks every address. Only checked addresses are connected to. The
caller chooses the order of the steps, their time limits and repetitions.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from keystead.keyservers.contexts import KeyMismatchError
from keystead.keyservers.resolve import AddressNotAllowedError, NameNotResolvedError
from keystead.keyservers.symptoms import Event, Symptom, connect_symptom, tls_symptom
from keystead.kmip.transport.connect import connect_tcp
from keystead.kmip.transport.tls import TLSError, handshake
from keystead.kmip.ttlv.errors import TransportError

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from keystead.core.probing import ProbeTarget, TlsIdentity
    from keystead.core.server_address import ServerAddress
    from keystead.keyservers.contexts import ClientContext, Contexts
    from keystead.keyservers.resolve import Resolver
    from keystead.kmip.transport.connect import Address
    from keystead.kmip.transport.sessions import Sessions
    from keystead.kmip.transport.tls import Stream


class RefusedError(Exception):
    """A step failed. It carries the symptom."""

    def __init__(self, symptom: Symptom) -> None:
        super().__init__(symptom.event)
        self.symptom = symptom


def name_of(server: ServerAddress, target: ProbeTarget) -> str:
    """Return the name that the server's certificate must hold: the target's, or else the host itself."""
    return target.server_name.removesuffix(".") or host_of(server)


def host_of(server: ServerAddress) -> str:
    """Return the host without a final dot, as resolvers and certificates expect it."""
    return server.host.removesuffix(".")


async def look_up(resolver: Resolver, server: ServerAddress) -> tuple[Address, ...]:
    """Return all addresses of the server. They are not checked yet. Raises RefusedError."""
    try:
        return await resolver.look_up(host_of(server), server.port)
    except NameNotResolvedError as error:
        raise RefusedError(Symptom("resolve", Event.UNRESOLVED)) from error


def check(resolver: Resolver, addresses: Sequence[Address], *, new: bool = False) -> None:
    """Raise RefusedError, whose cause is the AddressNotAllowedError, if the egress rules forbid one of the addresses.

    ``new``: the server's address is not stored yet.
    """
    try:
        resolver.check(addresses, new=new)
    except AddressNotAllowedError as error:
        raise RefusedError(Symptom("egress", Event.FORBIDDEN)) from error


def context_of(contexts: Contexts, identity: TlsIdentity) -> ClientContext:
    """Return the TLS context of the identity. Raises RefusedError."""
    try:
        return contexts.get(identity)
    except KeyMismatchError as error:
        raise RefusedError(Symptom("tls", Event.OWN_KEY_MISMATCH)) from error
    except (ssl.SSLError, ValueError) as error:
        raise RefusedError(Symptom("tls", Event.OTHER)) from error


def check_dates(context: ClientContext) -> None:
    """Raise RefusedError, before any packet leaves, if our certificate is not valid now."""
    now = datetime.now(UTC)
    if now > context.not_after:
        raise RefusedError(Symptom("tls", Event.OWN_EXPIRED))
    if now < context.not_before:
        raise RefusedError(Symptom("tls", Event.OWN_NOT_YET_VALID))


async def connect(addresses: Sequence[Address]) -> socket.socket:
    """Connect to the first of the checked addresses that answers. Raises RefusedError."""
    try:
        return await connect_tcp(addresses)
    except TransportError as error:
        raise RefusedError(connect_symptom(error)) from error


async def do_handshake(
    sock: socket.socket, context: ssl.SSLContext, server_name: str, sessions: Sessions | None = None
) -> Stream:
    """Do the TLS handshake. Raises RefusedError, whose cause is the TLSError."""
    try:
        return await handshake(sock, context, server_name=server_name, sessions=sessions)
    except TLSError as error:
        raise RefusedError(tls_symptom(error)) from error
