"""Egress rules as a table of addresses."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.keyservers.egress import EgressRules

REFUSED = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",  # noqa: S104 - an address to refuse
    "0.1.2.3",
    "169.254.0.1",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "224.0.0.1",
    "239.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
    "fd00:ec2::254",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::127.0.0.1",
    "64:ff9b:1::169.254.169.254",
    "64:ff9b:1:7f00:0:100::",  # 127.0.0.1 in the /48 layout
    "64:ff9b:1:7f:0:1::",  # 127.0.0.1 in the /56 layout
    "64:ff9b:1:0:7f:0:100:0",  # 127.0.0.1 in the /64 layout
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo: the inverted client address is 127.0.0.1
]
PERMITTED = [
    "10.0.0.1",
    "192.168.1.1",
    "172.16.0.1",
    "100.64.0.1",
    "100.100.100.201",
    "168.63.129.17",
    "8.8.8.8",
    "fd00::1",
    "fd00:ec2::253",
    "2001:db8::1",
    "::ffff:10.0.0.1",
    "::10.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::10.1.2.3",
    "2002:a00:1::",
    "2001:0:4136:e378:8000:63bf:f5ff:fffe",
]


@pytest.mark.parametrize("address", REFUSED)
def test_refused(address: str) -> None:
    """Loopback, link-local, multicast, unspecified, 0/8 and metadata addresses are refused in every form."""
    assert not EgressRules().permits(address)


@pytest.mark.parametrize("address", PERMITTED)
def test_permitted(address: str) -> None:
    """Everything else may be connected to, private networks first of all."""
    assert EgressRules().permits(address)


@pytest.mark.parametrize(
    ("allow", "address", "permitted"),
    [
        ("127.0.0.0/8", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.0/8", "::1", False),
        ("::1/128", "::1", True),
        ("127.0.0.0/8", "::ffff:127.0.0.1", True),
        ("::ffff:127.0.0.0/104", "127.0.0.1", True),
        ("127.0.0.0/8", "64:ff9b::127.0.0.1", True),
        ("64:ff9b::/96", "64:ff9b::127.0.0.1", True),
        ("fe80::/10", "fe80::1%eth0", True),
        ("127.0.0.0/8", "169.254.169.254", False),
        (" 10.1.2.3/8 ", "10.0.0.1", True),
    ],
)
def test_exceptions(allow: str, address: str, permitted: bool) -> None:
    """KEYSTEAD_EGRESS_ALLOW opens what it names and nothing else."""
    assert EgressRules.parse(allow=[allow]).permits(address) is permitted


@pytest.mark.parametrize(
    ("address", "permitted"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("10.2.0.1", False), ("127.0.0.1", False), ("fd00::1", False)],
)
def test_the_full_list(address: str, permitted: bool) -> None:
    """KEYSTEAD_EGRESS_ONLY is the full list: nothing outside it, not even an exception, is allowed."""
    rules = EgressRules.parse(allow=["127.0.0.0/8"], only=["10.1.0.0/16"])
    assert rules.permits(address) is permitted


def test_the_full_list_may_name_loopback() -> None:
    """A loopback address in the full list is permitted without an exception."""
    assert EgressRules.parse(only=["127.0.0.1"]).permits("127.0.0.1")


@pytest.mark.parametrize("text", ["", "localhost", "10.0.0.0/33", "10.0.0.0-10.0.0.9", "1.2.3"])
def test_a_malformed_network_is_refused(text: str) -> None:
    """A list with a malformed network is refused as a whole."""
    with pytest.raises(ValueError, match=r"address|network"):
        EgressRules.parse(allow=[text])


@given(st.ip_addresses(v=4, network="127.0.0.0/8"))
def test_no_form_hides_loopback(address: ipaddress.IPv4Address) -> None:
    """Each IPv6 form of a refused IPv4 address is refused as well."""
    low = int(address)
    inverted = ~low & 0xFFFF_FFFF
    forms = [
        int(ipaddress.IPv6Address(prefix)) | low
        for prefix in ("::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "64:ff9b:1::")
    ]
    forms += [0x2002 << 112 | low << 80, 0x20010000 << 96 | inverted]
    assert not any(EgressRules().permits(str(ipaddress.IPv6Address(form))) for form in forms)
