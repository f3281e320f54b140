"""How a node tells the others that it is reached."""

from __future__ import annotations

import socket
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from keystead.app.listener import make_certificate
from keystead.app.peers import check_address, contact
from keystead.settings import Settings, SettingsError

CERTIFICATE = x509.load_pem_x509_certificate(make_certificate("localhost", datetime.now(UTC))[0])


@pytest.mark.parametrize(
    ("listen", "node_address", "machine", "address"),
    [
        ("192.0.2.1:8443", "", "host", "192.0.2.1:8000"),
        ("[2001:db8::1]:8443", "", "host", "[2001:db8::1]:8000"),
        ("keys1.example.com:0", "", "host", "keys1.example.com:8000"),
        ("0.0.0.0:8443", "", "keys1", "keys1:8000"),
        ("[::]:8443", "", "keys1", "keys1:8000"),
        ("0.0.0.0:8443", "", "no host name", "0.0.0.0:8000"),
        ("0.0.0.0:8443", "192.0.2.9:9000", "keys1", "192.0.2.9:9000"),
    ],
)
def test_where_a_node_is_reached(
    monkeypatch: pytest.MonkeyPatch, listen: str, node_address: str, machine: str, address: str
) -> None:
    """At its listener's port, which the system may have chosen, unless the setting says otherwise."""
    monkeypatch.setattr(socket, "gethostname", lambda: machine)
    settings = Settings(listen=listen, node_address=node_address, trusted_proxies=("192.0.2.2",))
    check_address(settings)
    told = contact(settings, 8000, CERTIFICATE, "a public key")
    assert (told.address, told.public_key, told.proxies) == (address, "a public key", ("192.0.2.2",))
    assert told.certificate == CERTIFICATE.fingerprint(hashes.SHA256()).hex()


@pytest.mark.parametrize("address", ["keys1", "keys1:", "2001:db8::1:8443", "keys1:99999", "https://keys1:8443"])
def test_a_wrong_address_is_refused(address: str) -> None:
    """At the start."""
    with pytest.raises(SettingsError, match="'node_address': HOST:PORT is expected"):
        check_address(Settings(node_address=address))
