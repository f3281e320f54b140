"""The egress rules: which addresses Keystead may connect to.

Rules are needed because administrators of a single SVM choose the addresses of key servers. By default, addresses of
this host, of our own link, and of a cloud's metadata service are refused. The rules also refuse IPv6 forms that carry
such an IPv4 address; ``ipaddress`` of Python 3.11 does not look into these. Private networks are allowed, because key
servers are there. This module does not resolve names, does not connect, and does not know this host's addresses.
``docs/reference/reasons.md`` is generated from the rules.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that refuses addresses. ``word`` is what callers see, ``about`` says what the addresses are."""

    word: str
    networks: tuple[IPNetwork, ...]
    about: str


def _rule(word: str, about: str, *networks: str) -> Rule:
    return Rule(word, tuple(map(ipaddress.ip_network, networks)), about)


REFUSED: Final = (
    _rule(
        "unspecified",
        "no host, or this one (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.2); Linux connects to this host",
        "0.0.0.0/8",
        "::/128",
    ),
    _rule("loopback", "this host (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3)", "127.0.0.0/8", "::1/128"),
    _rule(
        "link_local",
        "our own link (RFC 3927, RFC 4291 section 2.5.6), and the metadata service of most clouds",
        "169.254.0.0/16",
        "fe80::/10",
    ),
    _rule("multicast", "groups of hosts (RFC 5771, RFC 4291 section 2.7)", "224.0.0.0/4", "ff00::/8"),
    _rule(
        "metadata",
        "AWS: instance metadata (`metadata_service/endpoint.js` of its SDK for JavaScript), and EKS Pod Identity Agent"
        ' (EKS User Guide, "Set up the Amazon EKS Pod Identity Agent")',
        "fd00:ec2::254/128",
        "fd00:ec2::23/128",
    ),
    _rule("metadata", "Google Cloud (its image test `TestMetadataHostsCompliance`)", "fd20:ce::254/128"),
    _rule(
        "metadata",
        'Azure: wire server (Azure Virtual Network, "What is IP address 168.63.129.16?")',
        "168.63.129.16/32",
    ),
    _rule(
        "metadata",
        'Oracle Cloud (`DataSourceOracle.py` of cloud-init), and Oracle Compute Classic (Cloud at Customer, "Retrieve'
        ' Predefined Instance Metadata")',
        "fd00:c1::a9fe:a9fe/128",
        "192.0.0.192/32",
    ),
    _rule(
        "metadata",
        "Alibaba Cloud (cloud-init, data source AliYun and the tests of its IPv6 address)",
        "100.100.100.200/32",
        "fd00:100::100:200/128",
    ),
    _rule("metadata", "Scaleway (cloud-init, data source Scaleway)", "fd00:42::42/128"),
    _rule("metadata", 'Akamai (Akamai Cloud, "Use the Metadata service API")', "fd00:a9fe:a9fe::1/128"),
)
OWN: Final = _rule(
    "own_address", "an address of this host's interfaces: refused for new addresses of key servers, not for stored ones"
)
NOT_LISTED: Final = _rule("not_in_egress_only", "`KEYSTEAD_EGRESS_ONLY` is set, and the address is outside of it")

_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")  # RFC 4291 section 2.5.5.2
_LOW_32_BITS: Final = (
    _MAPPED,
    ipaddress.IPv6Network("::/96"),  # IPv4-compatible, RFC 4291 section 2.5.5.1
    ipaddress.IPv6Network("::ffff:0:0:0/96"),  # IPv4-translated, RFC 2765
    ipaddress.IPv6Network("64:ff9b::/96"),  # NAT64, RFC 6052
)
_LOCAL_NAT64: Final = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215
_6TO4: Final = ipaddress.IPv6Network("2002::/16")  # RFC 3056
_TEREDO: Final = ipaddress.IPv6Network("2001::/32")  # RFC 4380: the client's address, inverted, in the low 32 bits


@dataclass(frozen=True, slots=True)
class EgressRules:
    """The rules. ``allow`` are exceptions to the refused networks. If ``only`` is not empty, only it is allowed."""

    allow: tuple[IPNetwork, ...] = ()
    only: tuple[IPNetwork, ...] = ()

    @classmethod
    def parse(cls, allow: Iterable[str] = (), only: Iterable[str] = ()) -> EgressRules:
        """Read networks in CIDR notation, or single addresses. Raises ValueError if a text is neither."""
        return cls(tuple(map(_network, allow)), tuple(map(_network, only)))

    def refusal(self, text: str, is_own: Callable[[IPAddress], bool] = lambda _: False) -> Rule | None:
        """Return the rule that refuses an address, or None if it is allowed.

        ``text`` may have an IPv6 zone, as a resolver's answers do. ``is_own`` says which addresses are this host's;
        left out for connections to stored key servers, where these are not refused. ``only`` permits a loopback
        address, but an address of this host's interfaces needs ``allow``, because ``only`` is often a wide network.
        """
        address = ipaddress.ip_address(text.partition("%")[0])
        if address in _MAPPED:  # because the kernel connects to the IPv4 address itself
            address = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if self.only and not _in(address, self.only):
            return NOT_LISTED
        if _in(address, self.allow):
            return None
        forms = [each for each in (address, *carried(address)) if not _in(each, self.allow)]
        rules = () if self.only else REFUSED
        found = (rule for rule in rules if any(_in(each, rule.networks) for each in forms))
        return next(found, OWN if any(map(is_own, forms)) else None)


def carried(address: IPAddress) -> Iterator[ipaddress.IPv4Address]:
    """Yield the IPv4 addresses that an IPv6 address may carry for a translator or a tunnel on the way."""
    if not isinstance(address, ipaddress.IPv6Address):
        return
    value = int(address)
    if _in(address, _LOW_32_BITS) and value > 1:  # "::" and "::1" carry no IPv4 address
        yield ipaddress.IPv4Address(value & 0xFFFF_FFFF)
    elif address in _LOCAL_NAT64:
        yield from _carried_by_local_nat64(value)
    elif address in _6TO4:
        yield ipaddress.IPv4Address(value >> 80 & 0xFFFF_FFFF)
    elif address in _TEREDO:
        yield ipaddress.IPv4Address(~value & 0xFFFF_FFFF)


def _carried_by_local_nat64(value: int) -> Iterator[ipaddress.IPv4Address]:
    """Yield the IPv4 addresses of all layouts that an operator of 64:ff9b:1::/48 may use (RFC 6052 section 2.2).

    A layout is possible if the bits after its IPv4 address, and the octet that it must skip, are zero.
    """
    if value >> 56 & 0xFF == 0:
        octets = value.to_bytes(16)
        without_skipped = octets[:8] + octets[9:]
        for start in (6, 7, 8):
            if not any(without_skipped[start + 4 :]):
                yield ipaddress.IPv4Address(without_skipped[start : start + 4])
    if value & 0xFFFF_FFFF:
        yield ipaddress.IPv4Address(value & 0xFFFF_FFFF)


def _in(address: IPAddress, networks: tuple[IPNetwork, ...]) -> bool:
    return any(address in network for network in networks)


def _network(text: str) -> IPNetwork:
    network = ipaddress.ip_network(text.strip(), strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        return ipaddress.IPv4Network((int(network.network_address) & 0xFFFF_FFFF, network.prefixlen - 96))
    return network
