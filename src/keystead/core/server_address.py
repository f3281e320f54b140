"""Key server addresses: parse, show and compare ``host:port`` (ONTAP's ``server`` field).

An address is shown as the caller wrote it, plus the port. It is compared in normal form: host names without case and
trailing dot, IPv6 addresses by value. Nothing is trimmed, resolved or guessed. Host names follow RFC 1123, and may have
underscores, as DNS servers allow. Zone ids and non-ASCII names are refused.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

DEFAULT_PORT = 5696  # IANA "kmip"

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE | re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE | re.ASCII)
_HOST_LIMIT = 253  # octets of a name in presentation form, RFC 1035 section 2.3.4


@dataclass(frozen=True, slots=True, order=True)
class ServerAddress:
    """A host and a port. Two are equal if they name the same server, however they are spelled.

    ``host`` is the caller's spelling without brackets. ``str()`` is the caller's spelling with the port added.
    """

    host: str = field(compare=False)
    port: int = field(compare=False)
    key: str = field(init=False, repr=False)
    """The normal form, unique per server: ``host:port``. An IPv6 host is written as its 32 hexadecimal digits."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", f"{_normal_host(self.host)}:{self.port}")

    def __str__(self) -> str:
        return _join(self.host, self.port)

    @property
    def is_ip(self) -> bool:
        """True if the host is an IP address, False if it is a name."""
        return ":" in self.host or _NUMERIC.fullmatch(self.host.rpartition(".")[2]) is not None

    @classmethod
    def parse(cls, text: str) -> ServerAddress:
        """Parse ``host``, ``host:port``, ``a.b.c.d[:port]``, ``[v6]`` or ``[v6]:port``.

        Raises ValueError. Its text names the rule that is broken and quotes nothing.
        """
        if text.startswith("["):
            host, bracket, rest = text[1:].partition("]")
            if not bracket or (rest and not rest.startswith(":")):
                raise ValueError("an IPv6 address is written [address] or [address]:port")
            if ":" not in host:
                raise ValueError("only an IPv6 address stands in brackets")
            port = rest[1:] if rest else None
        else:
            host, colon, after = text.partition(":")
            if ":" in after:
                raise ValueError("an IPv6 address is written [address] or [address]:port")
            port = after if colon else None
        return cls(_checked_host(host), DEFAULT_PORT if port is None else _checked_port(port))

    @classmethod
    def parse_host(cls, text: str, port: int) -> ServerAddress:
        """Parse a secondary key server: a host name or an address (IPv6 with or without brackets), never with a port.

        Raises ValueError as :meth:`parse`.
        """
        bare = text[1:-1] if text.startswith("[") and text.endswith("]") and ":" in text else text
        return cls(_checked_host(bare), port)


def server_name(text: object) -> str:
    """Return the name that a certificate may hold: a host name or an address, without brackets. Empty text stays empty.

    Raises ValueError.
    """
    if not isinstance(text, str):
        raise ValueError("not text")  # noqa: TRY004 - one exception means "no name"
    return text and ServerAddress.parse_host(text, DEFAULT_PORT).host


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _normal_host(host: str) -> str:
    # Digits, because the text of an IPv4-mapped address differs between Python versions, and keys are stored.
    return f"{int(ipaddress.IPv6Address(host)):032x}" if ":" in host else host.lower().removesuffix(".")


def _checked_port(text: str) -> int:
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= 65535:
        raise ValueError("a port is a number from 1 to 65535")
    return int(text)


def _checked_host(host: str) -> str:
    """Return the host unchanged if it is an address or a host name, else raise ValueError."""
    if ":" in host:
        if "%" in host:
            raise ValueError("an address with a zone is not accepted")
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError("not an IPv6 address") from None
        return host
    name = host.removesuffix(".")
    labels = name.split(".")
    if not name or len(name) > _HOST_LIMIT or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("not a host name")
    if _NUMERIC.fullmatch(labels[-1]):
        # Some resolvers take "1.2.3", "127.1" and "0x7f.1" for addresses, so only a full dotted quad is allowed.
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise ValueError("not an IPv4 address") from None
    return host
