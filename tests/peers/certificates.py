"""Certificates made on the fly, by the library for tests of others, and what only our own tests need beside them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from keystead.testing.certificates import (
    DAY,
    Authority,
    Credentials,
    Key,
    client,
    make_key,
    self_signed,
    server_context,
)

__all__ = [
    "DAY",
    "Authority",
    "Credentials",
    "Key",
    "Trusted",
    "client",
    "client_context",
    "make_key",
    "self_signed",
    "server_context",
]


@dataclass(frozen=True)
class Trusted:
    """An authority that another made: only its certificate is known."""

    pem: str


def client_context(server_ca: Authority, credentials: Credentials | None = None) -> ssl.SSLContext:
    """A plain client's context, for tests of the pump itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=server_ca.pem)
    if credentials is not None:
        credentials.load_into(context)
    return context
