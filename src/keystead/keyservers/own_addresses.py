"""Which addresses are this host's own: the kernel is asked, and nothing is sent.

The kernel knows the addresses of this network namespace only: neither those that NAT maps to this host, nor those of
another node or of the host around a container.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.keyservers.egress import IPAddress

FOREIGN: Final[Mapping[int, IPAddress]] = {
    4: ipaddress.IPv4Address("203.0.113.1"),  # RFC 5737
    6: ipaddress.IPv6Address("2001:db8::1"),  # RFC 3849
}
"""Addresses for documentation, by IP version: no host has them."""
_FAMILY: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
_ANY_PORT: Final = 9  # nothing is sent to it


def is_own(address: IPAddress, foreign: Mapping[int, IPAddress] = FOREIGN) -> bool:
    """Return True if an interface of this host has the address. Loopback has a rule of its own, so it gives False.

    A socket can be bound to own addresses only, unless the administrator has set ``ip_nonlocal_bind``, as on hosts with
    a virtual address. Then a socket can be bound to ``foreign``, too, and the source of a connection decides: the way
    to an own address begins at that address. There a second address in the network of another one is not found.
    """
    if address.is_loopback or not _binds(address):
        return False
    return not _binds(foreign[address.version]) or _source_to(address) == address


def _binds(address: IPAddress) -> bool:
    try:
        with socket.socket(_FAMILY[address.version], socket.SOCK_DGRAM) as sock:
            sock.bind((str(address), 0))
    except OSError:
        return False
    return True


def _source_to(address: IPAddress) -> IPAddress | None:
    """Return the address from which the kernel would send to ``address``, or None if there is no route."""
    try:
        with socket.socket(_FAMILY[address.version], socket.SOCK_DGRAM) as sock:
            sock.connect((str(address), _ANY_PORT))  # sends nothing: it is UDP
            return ipaddress.ip_address(sock.getsockname()[0])
    except OSError:
        return None
