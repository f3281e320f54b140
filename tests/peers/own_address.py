"""An address of this host, other than loopback, for tests of the rule about own addresses. Nothing leaves the host."""

from __future__ import annotations

import fcntl
import socket
import struct
from contextlib import suppress

import pytest

_SIOCGIFADDR = 0x8915  # Linux, netdevice(7)


def _found() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # the interface has no IPv4 address
                answer = fcntl.ioctl(sock, _SIOCGIFADDR, struct.pack("256s", name.encode()))
                address = socket.inet_ntoa(answer[20:24])
                if not address.startswith("127."):
                    return address
    return ""


OWN = _found()
"""An IPv4 address of an interface; empty if there is none."""

needs_own = [
    pytest.mark.skipif(not OWN, reason="this host has no address but loopback"),
    pytest.mark.allow_hosts(["127.0.0.1", "::1", "localhost", OWN]),
]
"""Marks of tests that connect to this host by :data:`OWN`."""
