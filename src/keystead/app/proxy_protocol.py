"""The header of the PROXY protocol, version 2, by which a proxy says whose connection it passes on.

Pure: bytes in, an address out. A header is :data:`START_BYTES` long, and then as long as it says. Version 1 is refused.
Source: HAProxy's ``proxy-protocol.txt``, section 2.2.
"""

from __future__ import annotations

import ipaddress
from typing import Final

START_BYTES: Final = 16
"""Length of the part that says how long the rest is."""

MOST_BYTES: Final = 4096
"""Most bytes of the rest. Addresses take 36 at most; TLVs, which may follow them, are skipped."""

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_LOCAL, _PROXY = 0x20, 0x21  # version and command
_ADDRESS_BYTES: Final = {0x11: 4, 0x21: 16}
"""Length of an address, by family and transport: TCP over IPv4, TCP over IPv6."""

Client = tuple[str, int]
"""Address and port of a client."""


class ProxyHeaderError(Exception):
    """What the proxy sent is no header that can be used; the text says why."""


def rest_bytes(start: bytes) -> int:
    """Return how many bytes follow the first :data:`START_BYTES`. Raises ProxyHeaderError."""
    if len(start) != START_BYTES or not start.startswith(_SIGNATURE):
        raise ProxyHeaderError("no header of version 2")
    if start[12] not in {_LOCAL, _PROXY}:
        raise ProxyHeaderError("an unknown version or command")
    length = int.from_bytes(start[14:])
    if length > MOST_BYTES:
        raise ProxyHeaderError("too large")
    return length


def client_named(start: bytes, rest: bytes) -> Client | None:
    """Return whose connection it is, or None if it is the proxy's own (LOCAL). Raises ProxyHeaderError."""
    if len(rest) != rest_bytes(start):
        raise ProxyHeaderError("truncated")
    if start[12] == _LOCAL:
        return None
    size = _ADDRESS_BYTES.get(start[13])
    if size is None:
        raise ProxyHeaderError("neither TCP over IPv4 nor TCP over IPv6")
    if len(rest) < 2 * size + 4:  # two addresses, two ports
        raise ProxyHeaderError("too short for its addresses")
    return str(ipaddress.ip_address(rest[:size])), int.from_bytes(rest[2 * size : 2 * size + 2])
