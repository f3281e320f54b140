"""Key server addresses: which are accepted, how they are shown, and which are equal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.core.server_address import ServerAddress, server_name

SHOWN = {
    "host": "host:5696",
    "HOST": "HOST:5696",
    "host.": "host.:5696",
    "ks_1.example.com:15696": "ks_1.example.com:15696",
    "10.0.0.20": "10.0.0.20:5696",
    "10.0.0.20:1": "10.0.0.20:1",
    "[::1]": "[::1]:5696",
    "[fd20:8b1e:b255::9]:1234": "[fd20:8b1e:b255::9]:1234",
    "[::ffff:10.0.0.1]:65535": "[::ffff:10.0.0.1]:65535",
    "0x10.example": "0x10.example:5696",
    "a-b.c-d": "a-b.c-d:5696",
    "host:00080": "host:80",
}

SAME = [
    ("HOST", "host"),
    ("host", "host:5696"),
    ("host.", "host"),
    ("[::1]", "[0:0::1]"),
    ("[FD20::A]:5696", "[fd20:0:0:0:0:0:0:a]"),
    ("[::ffff:10.0.0.1]", "[::ffff:a00:1]"),
]

DIFFERENT = [("host:1", "host:2"), ("a", "b"), ("[::1]", "127.0.0.1"), ("[::ffff:10.0.0.1]", "10.0.0.1")]

REFUSED = [
    "", " ", " host", "host ", "host:", "host:0", "host:65536", "host:abc", "host:-1", "host:+1", "host:1_0", "host:٣",
    "host:000001", ":5696", "::1", "fd20::9", "[]", "[::1", "::1]", "[::1]5696", "[::1]:", "[::1]:0", "[::1%eth0]",
    "[fe80::1%1]:5696", "[10.0.0.1]", "[host]", "a..b", ".a", "..", ".", "-a", "a-", "a.-b", "a b", "a/b", "a@b",
    "a\x00b", "a\n", "ho\u0455t", "xn--é", "1.2.3", "127.1", "2130706433", "0x7f000001", "0x7f.1",
    "1.2.3.4.", "256.1.1.1",
    "01.2.3.4", "1.2.3.4.5", "a.1", "a.0x", "a" * 64, ".".join(["a" * 60] * 5), "[:::1]", "[12345::]", "http://host",
]  # fmt: skip


@pytest.mark.parametrize(("text", "shown"), SHOWN.items())
def test_shown(text: str, shown: str) -> None:
    """An address is shown in the caller's spelling with its port, and reads back as the same server."""
    assert str(ServerAddress.parse(text)) == shown
    assert ServerAddress.parse(shown) == ServerAddress.parse(text)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_same(one: str, other: str) -> None:
    """Case, a trailing dot, the default port and the spelling of IPv6 make no difference."""
    assert ServerAddress.parse(one) == ServerAddress.parse(other)
    assert hash(ServerAddress.parse(one)) == hash(ServerAddress.parse(other))


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different(one: str, other: str) -> None:
    """Different ports, names and address families are different servers."""
    assert ServerAddress.parse(one) != ServerAddress.parse(other)


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    """An address is never trimmed, completed or guessed, and the error has a fixed text."""
    with pytest.raises(ValueError, match=r"^(a port is|an? IPv6 address|an address with|not an? |only an IPv6)"):
        ServerAddress.parse(text)


@pytest.mark.parametrize("text", ["host", "10.0.0.1", "::1", "[::1]"])
def test_secondary_uses_the_port_given(text: str) -> None:
    """A secondary is a host alone and takes its primary's port."""
    assert ServerAddress.parse_host(text, 7).port == 7


@pytest.mark.parametrize("text", ["host:1", "[::1]:1", "", "[host]", "1.2.3", "a b", "[::1"])
def test_secondary_refused(text: str) -> None:
    """A secondary with a port, or that is no host, is refused."""
    with pytest.raises(ValueError, match=r"."):
        ServerAddress.parse_host(text, 7)


@given(st.text(max_size=300))
def test_any_text(text: str) -> None:
    """Any text raises ValueError or is shown in a form that reads back as the same server."""
    try:
        address = ServerAddress.parse(text)
    except ValueError:
        return
    assert ServerAddress.parse(str(address)) == address
    assert 1 <= address.port <= 65535


@pytest.mark.parametrize(
    ("text", "name"),
    [("", ""), ("KMS.Example.", "KMS.Example."), ("10.0.0.1", "10.0.0.1"), ("::1", "::1"), ("[::1]", "::1")],
)
def test_a_server_name_is_a_host_or_nothing(text: str, name: str) -> None:
    """A TLS server name is a host name or an address without a port; its spelling stays, brackets are dropped."""
    assert server_name(text) == name


@pytest.mark.parametrize("wrong", ["a:1", "[::1]:1", "a b", "*.example", "1.2.3", "é", "a" * 300, 5, None])
def test_not_a_server_name(wrong: object) -> None:
    """A TLS server name is refused by the rules of a host in ``server``."""
    with pytest.raises(ValueError, match=r"."):
        server_name(wrong)


@pytest.mark.parametrize(
    ("text", "is_ip"),
    [("10.0.0.5", True), ("10.0.0.5:1", True), ("[fd00::5]", True), ("ks1.example.com", False), ("5.example", False)],
)
def test_a_host_is_an_ip_address_or_a_name(text: str, is_ip: bool) -> None:
    """Only a full dotted quad and an IPv6 address are no names."""
    assert ServerAddress.parse(text).is_ip is is_ip
