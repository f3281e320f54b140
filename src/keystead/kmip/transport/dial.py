"""From resolved and checked addresses to a TLS stream, with session resumption.

It does not resolve names or choose time-outs. No KMIP message is sent on the stream yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.kmip.transport.connect import Address, connect_tcp
from keystead.kmip.transport.tls import Stream, TLSError, handshake

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from keystead.kmip.transport.sessions import Sessions


async def dial(
    addresses: Sequence[Address], context: ssl.SSLContext, *, server_name: str | None, sessions: Sessions | None = None
) -> Stream:
    """Connect to the first address that answers and do the handshake. Resume a session if one is kept.

    If resuming fails, make one more connection with a full handshake, so that its error shows the real cause.

    Raises:
        TransportError: phase "connect".
        TLSError: phase "tls".
    """
    try:
        return await handshake(await connect_tcp(addresses), context, server_name=server_name, sessions=sessions)
    except TLSError as error:
        if not error.resuming:
            raise
    return await handshake(await connect_tcp(addresses), context, server_name=server_name)
