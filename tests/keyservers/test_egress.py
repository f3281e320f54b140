"""Egress rules as a table of addresses, and the rule that each breaks."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.keyservers.egress import NOT_LISTED, OWN, EgressRules

REFUSED = {
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "0.0.0.0": "unspecified",  # noqa: S104 - an address to refuse
    "0.1.2.3": "unspecified",
    "169.254.0.1": "link_local",
    "169.254.169.254": "link_local",
    "169.254.170.23": "link_local",
    "169.254.42.42": "link_local",
    "100.100.100.200": "metadata",
    "168.63.129.16": "metadata",
    "192.0.0.192": "metadata",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "::": "unspecified",
    "::1": "loopback",
    "fe80::1": "link_local",
    "fe80::1%eth0": "link_local",
    "fe80::a9fe:a9fe": "link_local",
    "febf:ffff::1": "link_local",
    "ff02::1": "multicast",
    "fd00:ec2::254": "metadata",
    "fd00:ec2::23": "metadata",
    "fd20:ce::254": "metadata",
    "fd20:00ce:0:0::0254": "metadata",
    "fd00:c1::a9fe:a9fe": "metadata",
    "fd00:c1::169.254.169.254": "metadata",
    "fd00:42::42": "metadata",
    "fd00:100::100:200": "metadata",
    "fd00:a9fe:a9fe::1": "metadata",
    "::ffff:127.0.0.1": "loopback",
    "::ffff:169.254.169.254": "link_local",
    "::ffff:192.0.0.192": "metadata",
    "::ffff:168.63.129.16": "metadata",
    "::ffff:0.0.0.0": "unspecified",
    "::127.0.0.1": "loopback",
    "::ffff:0:127.0.0.1": "loopback",
    "64:ff9b::127.0.0.1": "loopback",
    "64:ff9b::a9fe:a9fe": "link_local",
    "64:ff9b::192.0.0.192": "metadata",
    "64:ff9b:1::127.0.0.1": "loopback",
    "64:ff9b:1::169.254.169.254": "link_local",
    "64:ff9b:1::100.100.100.200": "metadata",
    "64:ff9b:1:7f00:0:100::": "unspecified",  # 127.0.0.1 in the /48 layout, 0.0.1.0 in another
    "64:ff9b:1:7f:0:1::": "unspecified",  # 127.0.0.1 in the /56 layout, 0.0.1.0 in another
    "64:ff9b:1:0:7f:0:100:0": "loopback",  # 127.0.0.1 in the /64 layout
    "2002:7f00:1::": "loopback",
    "2002:a9fe:a9fe::1": "link_local",
    "2002:c000:c0::1": "metadata",  # 192.0.0.192
    "2002:a83f:8110::1": "metadata",  # 168.63.129.16
    "2001:0:4136:e378:8000:63bf:80ff:fffe": "loopback",  # Teredo: the inverted client address is 127.0.0.1
    "2001:0:4136:e378:8000:63bf:3fff:ff3f": "metadata",  # Teredo: 192.0.0.192
}
PERMITTED = [
    "10.0.0.1",
    "192.168.1.1",
    "172.16.0.1",
    "100.64.0.1",
    "100.100.100.201",
    "168.63.129.17",
    "192.0.0.193",
    "8.8.8.8",
    "fd00::1",
    "fd00:ec2::253",
    "fd20:ce::253",
    "fd00:c1::a9fe:a9fd",
    "fd00:42::43",
    "fd00:100::100:201",
    "fd00:a9fe:a9fe::2",
    "2001:db8::1",
    "::ffff:10.0.0.1",
    "::10.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::10.1.2.3",
    "2002:a00:1::",
    "2001:0:4136:e378:8000:63bf:f5ff:fffe",
]


def permits(rules: EgressRules, address: str) -> bool:
    """Return True if no rule refuses the address for a stored key server."""
    return rules.refusal(address) is None


@pytest.mark.parametrize(("address", "word"), REFUSED.items())
def test_refused(address: str, word: str) -> None:
    """Loopback, link-local, multicast, unspecified, 0/8 and metadata addresses are refused in every form."""
    rule = EgressRules().refusal(address)
    assert rule is not None
    assert rule.word == word


@pytest.mark.parametrize("address", PERMITTED)
def test_permitted(address: str) -> None:
    """Everything else may be connected to, private networks first of all."""
    assert permits(EgressRules(), address)


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
    assert permits(EgressRules.parse(allow=[allow]), address) is permitted


@pytest.mark.parametrize(
    ("address", "permitted"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("10.2.0.1", False), ("127.0.0.1", False), ("fd00::1", False)],
)
def test_the_full_list(address: str, permitted: bool) -> None:
    """KEYSTEAD_EGRESS_ONLY is the full list: nothing outside it, not even an exception, is allowed."""
    rules = EgressRules.parse(allow=["127.0.0.0/8"], only=["10.1.0.0/16"])
    assert rules.refusal(address) is (None if permitted else NOT_LISTED)


def test_the_full_list_may_name_loopback() -> None:
    """A loopback address in the full list is permitted without an exception."""
    assert permits(EgressRules.parse(only=["127.0.0.1"]), "127.0.0.1")


@pytest.mark.parametrize(
    ("settings", "address", "refused"),
    [
        ({}, "10.0.0.5", True),
        ({}, "10.0.0.6", False),
        ({}, "fd00::5", True),
        ({}, "::ffff:10.0.0.5", True),
        ({}, "64:ff9b::10.0.0.5", True),
        ({}, "2002:a00:5::1", True),
        ({"allow": ["10.0.0.5"]}, "10.0.0.5", False),
        ({"allow": ["10.0.0.5"]}, "64:ff9b::10.0.0.5", False),
        ({"allow": ["10.0.0.5"]}, "fd00::5", True),
        ({"allow": ["fd00::/64"]}, "fd00::5", False),
        ({"only": ["10.0.0.0/8"]}, "10.0.0.5", True),
        ({"only": ["10.0.0.0/8"]}, "10.0.0.6", False),
        ({"only": ["10.0.0.0/8"], "allow": ["10.0.0.5"]}, "10.0.0.5", False),
    ],
)
def test_own_addresses(settings: dict[str, list[str]], address: str, refused: bool) -> None:
    """Addresses of this host are refused in every form where they count, unless they are exceptions."""
    own = {ipaddress.ip_address(each) for each in ("10.0.0.5", "fd00::5")}
    rules = EgressRules.parse(**settings)
    assert rules.refusal(address, own.__contains__) is (OWN if refused else None)
    assert rules.refusal(address) is None


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
    assert not any(permits(EgressRules(), str(ipaddress.IPv6Address(form))) for form in forms)
