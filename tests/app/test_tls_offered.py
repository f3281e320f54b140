"""keystead.app.tls_offered: what the API says of the listener, against real handshakes with it."""

from __future__ import annotations

import contextlib
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from keystead.app.listener import make_certificate
from keystead.app.tls import CERTIFICATE_FILE, KEY_FILE, plain_context, server_context
from keystead.app.tls_offered import offered

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_the_newest_first_and_nothing_old() -> None:
    """TLS 1.2 and 1.3."""
    assert offered().protocol_versions == ("TLSv1.3", "TLSv1.2")


def test_no_suite_that_works_with_a_certificate_is_left_out() -> None:
    """Of all that OpenSSL lists for the listener, only those with a pre-shared key or SRP are left out."""
    listed = plain_context().get_ciphers()
    with_secret = [suite for suite in listed if "PSK" in suite["name"] or "SRP" in suite["name"]]
    assert len(offered().cipher_suites) == len(listed) - len(with_secret)
    assert len(set(offered().cipher_suites)) == len(offered().cipher_suites)


@pytest.mark.parametrize(
    ("openssl", "iana"),
    [
        ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ],
)
def test_the_listener_takes_what_is_offered(tmp_path: Path, openssl: str, iana: str) -> None:
    """A client that has this suite alone shakes hands with the listener's context."""
    certificate, key = make_certificate("localhost", datetime.now(UTC))
    (tmp_path / CERTIFICATE_FILE).write_bytes(certificate)
    (tmp_path / KEY_FILE).write_bytes(key)
    assert iana in offered().cipher_suites
    assert negotiated(server_context(tmp_path, ()), openssl) == openssl


def negotiated(listener: ssl.SSLContext, suite: str) -> str:
    """Shake hands in memory with a client that has one suite, of TLS 1.2. Return the suite that was taken."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(suite)
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    client, server = context.wrap_bio(one, other), listener.wrap_bio(other, one, server_side=True)
    for _ in range(3):
        for end in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    found = client.cipher()
    assert found is not None
    return found[0]
