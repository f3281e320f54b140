"""keystead.app.proxy_protocol: whose connection a header names, and what is no header."""

from __future__ import annotations

import pytest

from keystead.app.proxy_protocol import MOST_BYTES, START_BYTES, ProxyHeaderError, client_named, rest_bytes

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
HAPROXY = SIGNATURE + bytes.fromhex("2111000c ac130001 ac130003 a652 0050")  # what HAProxy sends for IPv4
IPV4 = bytes.fromhex("c0000201 c6336402 d431 20fb")  # 192.0.2.1:54321 to 198.51.100.2:8443
IPV6 = bytes.fromhex(f"20010db8{'00' * 11}01 20010db8{'00' * 11}02 d431 20fb")
TLVS = bytes.fromhex("03 0004 deadbeef 04 0001 00")  # PP2_TYPE_CRC32C, PP2_TYPE_NOOP


def header(version_command: int, family_transport: int, rest: bytes, length: int | None = None) -> bytes:
    """Return a header; its length is the rest's unless it lies."""
    announced = len(rest) if length is None else length
    return SIGNATURE + bytes([version_command, family_transport]) + announced.to_bytes(2) + rest


def read(data: bytes) -> tuple[str, int] | None:
    """Read a header as the listener does: the start, then as many bytes as it says, if they come."""
    start = data[:START_BYTES]
    return client_named(start, data[START_BYTES:][: rest_bytes(start)])


@pytest.mark.parametrize(
    ("data", "client"),
    [
        (HAPROXY, ("172.19.0.1", 42578)),
        (header(0x21, 0x11, IPV4), ("192.0.2.1", 54321)),
        (header(0x21, 0x21, IPV6), ("2001:db8::1", 54321)),
        (header(0x21, 0x11, IPV4 + TLVS), ("192.0.2.1", 54321)),
        (header(0x21, 0x21, IPV6 + TLVS), ("2001:db8::1", 54321)),
        (header(0x21, 0x11, IPV4 + bytes(MOST_BYTES - len(IPV4))), ("192.0.2.1", 54321)),
        (header(0x21, 0x11, IPV4 + b"\xff\xff\xff"), ("192.0.2.1", 54321)),  # TLVs are not even read
        (header(0x21, 0x11, IPV4) + b"\x16\x03\x01", ("192.0.2.1", 54321)),  # TLS follows
        (header(0x20, 0x00, b""), None),
        (header(0x20, 0x11, IPV4), None),  # the addresses of LOCAL do not count
        (header(0x20, 0xFF, TLVS), None),
    ],
)
def test_the_client_that_is_named(data: bytes, client: tuple[str, int] | None) -> None:
    """The source's address and port; None for LOCAL."""
    assert read(data) == client


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no header"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 54321 8443\r\n", "no header"),  # version 1
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), "no header"),  # TLS
        (HAPROXY.replace(b"QUIT", b"QUIP"), "no header"),
        *((HAPROXY[:length], "no header") for length in range(1, START_BYTES)),
        *((HAPROXY[:length], "truncated") for length in range(START_BYTES, len(HAPROXY))),
        (header(0x11, 0x11, IPV4), "version or command"),
        (header(0x31, 0x11, IPV4), "version or command"),
        (header(0x22, 0x11, IPV4), "version or command"),
        (header(0x2F, 0x11, IPV4), "version or command"),
        (header(0x21, 0x00, b""), "neither TCP"),  # unspecified
        (header(0x21, 0x10, IPV4), "neither TCP"),
        (header(0x21, 0x12, IPV4), "neither TCP"),  # UDP
        (header(0x21, 0x22, IPV6), "neither TCP"),
        (header(0x21, 0x31, bytes(216)), "neither TCP"),  # a Unix socket
        (header(0x21, 0x41, IPV4), "neither TCP"),
        (header(0x21, 0x11, IPV4[:-1]), "too short"),
        (header(0x21, 0x21, IPV4), "too short"),
        (header(0x21, 0x11, b""), "too short"),
        (header(0x21, 0x11, IPV4, length=len(IPV4) + 1), "truncated"),
        (header(0x20, 0x00, b"", length=1), "truncated"),
        (header(0x21, 0x11, bytes(MOST_BYTES + 1)), "too large"),
        (header(0x20, 0x00, b"", length=0xFFFF), "too large"),
    ],
)
def test_what_is_no_header(data: bytes, why: str) -> None:
    """One reason each; nothing is guessed."""
    with pytest.raises(ProxyHeaderError, match=why):
        read(data)
