"""Where the service listens: what an address may be, and the names that its certificate holds."""

from __future__ import annotations

import socket
from datetime import UTC, datetime

import pytest
from cryptography import x509

from keystead.app.listener import is_self_made, make_certificate, parse_listen
from keystead.settings import SettingsError
from tests.peers.certificates import Authority


@pytest.mark.parametrize(
    ("listen", "parts"),
    [
        ("127.0.0.1:8443", ("127.0.0.1", 8443)),
        ("[::1]:0", ("::1", 0)),
        ("ks_1.example.com:65535", ("ks_1.example.com", 65535)),
    ],
)
def test_addresses(listen: str, parts: tuple[str, int]) -> None:
    """Host and port; an IPv6 address stands in brackets."""
    assert parse_listen(listen) == parts


@pytest.mark.parametrize(
    "listen",
    [
        "",
        ":8443",
        "8443",
        "host:",
        "host:65536",
        "host:-1",
        "127.0.0.1:\N{ARABIC-INDIC DIGIT THREE}",
        "127.0.0.1:" + "1" * 5000,
        "\N{LATIN SMALL LETTER E WITH ACUTE}:0",
        "\udce9:0",
        "a b:0",
        "a..b:0",
        "a\0:0",
        "x" * 64 + ":0",
        "x." * 200 + "x:0",
        "::1:0",
        "[127.0.0.1]:0",
        "[nothing]:0",
    ],
)
def test_what_is_no_address(listen: str) -> None:
    """One short line that names the setting."""
    with pytest.raises(SettingsError, match=r"^setting 'listen': HOST:PORT is expected") as refused:
        parse_listen(listen)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("machine", ["b\N{LATIN SMALL LETTER U WITH DIAERESIS}ro", "\udcfcber", "a b", "(none)", ""])
def test_a_machine_name_that_is_no_host_name_is_left_out(monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    """The kernel takes any bytes for it, a certificate does not."""
    monkeypatch.setattr(socket, "gethostname", lambda: machine)
    made, _ = make_certificate("ks.example.com", datetime.now(UTC))
    names = x509.load_pem_x509_certificate(made).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["ks.example.com", "localhost"]
    assert len(names.get_values_for_type(x509.IPAddress)) == 2


def test_the_own_certificate_is_recognised() -> None:
    """By its names, so that another one, also one that its owner signed itself, is not taken for it."""
    made, _ = make_certificate("ks.example.com", datetime.now(UTC))
    assert is_self_made(x509.load_pem_x509_certificate(made))
    authority = Authority("Keystead")
    issued = authority.issue(("ks.example.com",), common_name="ks1").certificate_pem
    own = Authority("ks1").pem
    for other in (issued, own):
        assert not is_self_made(x509.load_pem_x509_certificate(other.encode()))
