"""TLS contexts: settings, caching, faults of our own certificate, and protection of the private key."""

from __future__ import annotations

import os
import ssl
import tempfile
import weakref
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from keystead.core.probing import TlsIdentity
from keystead.core.secret import Secret
from keystead.keyservers.contexts import Contexts, KeyMismatchError, _load_through_encrypted_file, build
from tests.peers.certificates import Authority, Credentials, client, server_context

SERVER_CA, CLIENT_CA = Authority(), Authority("Client CA")
CLIENT = client(CLIENT_CA)


SERVER_CONTEXTS = {
    "1.2": server_context(SERVER_CA.issue(), CLIENT_CA, versions="1.2"),
    "1.3": server_context(SERVER_CA.issue(), CLIENT_CA, versions="1.3"),
}


def identity(
    credentials: Credentials = CLIENT, *, key: str | None = None, cas: tuple[str, ...] = (SERVER_CA.pem,)
) -> Any:
    """Return an identity of test credentials, perhaps with another key."""
    return TlsIdentity(credentials.certificate_pem, Secret(key or credentials.key_pem), (), cas)


def handshake(client_side: ssl.SSLContext, server_side: ssl.SSLContext) -> ssl.SSLObject:
    """Shake hands in memory and return the server's side."""
    one, two = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client_side.wrap_bio(one, two, server_hostname="localhost")
    far = server_side.wrap_bio(two, one, server_side=True)
    waiting = [near, far]
    for _ in range(6):
        for side in tuple(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
    assert not waiting
    return far


def test_the_settings_are_explicit() -> None:
    """TLS 1.2 and later, names checked, partial chains trusted, no strict X.509, on every Python alike."""
    context = build(identity()).ssl
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.maximum_version is ssl.TLSVersion.MAXIMUM_SUPPORTED
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.verify_flags & ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    assert not context.verify_flags & ssl.VerifyFlags.VERIFY_X509_STRICT
    assert context.options & ssl.OP_NO_RENEGOTIATION


@pytest.mark.parametrize("versions", ["1.2", "1.3"])
@pytest.mark.parametrize("anonymous_file", [True, False])
def test_our_certificate_is_shown(monkeypatch: pytest.MonkeyPatch, versions: Any, anonymous_file: bool) -> None:
    """The certificate arrives, with its intermediate, also where there is no memory file."""
    if not anonymous_file:
        monkeypatch.delattr(os, "memfd_create")
    intermediate = Authority("Client Issuing CA", parent=CLIENT_CA)
    credentials = client(intermediate)
    ours = TlsIdentity(credentials.certificate_pem, Secret(credentials.key_pem), (intermediate.pem,), (SERVER_CA.pem,))
    far = handshake(build(ours).ssl, SERVER_CONTEXTS[versions])
    assert far.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(credentials.certificate_pem)


def test_the_key_is_never_in_a_clear_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a memory file the key is written encrypted, readable by us alone, and deleted afterwards."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[tuple[int, bytes]] = []

    class Watching(ssl.SSLContext):
        def load_cert_chain(self, certfile: Any, keyfile: Any = None, password: Any = None) -> None:
            seen.append((Path(certfile).parent.stat().st_mode & 0o777, Path(certfile).read_bytes()))
            super().load_cert_chain(certfile, keyfile, password)

    _load_through_encrypted_file(Watching(ssl.PROTOCOL_TLS_CLIENT), CLIENT.certificate_pem, CLIENT.key_pem.encode())
    ((mode, content),) = seen
    assert mode == 0o700
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in content
    assert not any(line in content for line in CLIENT.key_pem.encode().splitlines()[1:-1])
    assert list(tmp_path.iterdir()) == []


def test_the_validity_of_our_certificate_is_told() -> None:
    """A context has the dates of its certificate, because a cached context may outlive it."""
    context = build(identity())
    assert context.not_before == CLIENT.certificate.not_valid_before_utc
    assert context.not_after == CLIENT.certificate.not_valid_after_utc


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_a_key_of_another_certificate(kind: Any) -> None:
    """A key that does not match is told apart from one that cannot be read, also when its type differs."""
    other = CLIENT_CA.issue((), purpose="client", key=kind)
    with pytest.raises(KeyMismatchError):
        build(identity(key=other.key_pem))


@pytest.mark.parametrize("key", ["garbage", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_cannot_be_read(key: str) -> None:
    """Garbage is an error of OpenSSL, and nobody is asked for a password."""
    with pytest.raises((ssl.SSLError, ValueError)):
        build(identity(key=key))


def test_an_encrypted_key_asks_nobody() -> None:
    """An encrypted key is refused without asking for a password on the terminal."""
    encrypted = CLIENT.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    ).decode()
    with pytest.raises(ssl.SSLError):
        build(identity(key=encrypted))


def test_no_ca_trusts_nobody() -> None:
    """An empty list of CAs is usable and accepts no server; the system's CAs are not asked."""
    assert build(identity(cas=())).ssl.get_ca_certs() == []


def test_contexts_are_shared_and_bounded() -> None:
    """The same identity gets the same context; the least recently used one is dropped."""
    known = Contexts(limit=2)
    identities = [identity(client(CLIENT_CA)) for _ in range(3)]
    first = weakref.ref(known.get(identities[0]))
    assert known.get(identity(CLIENT)) is known.get(identity(CLIENT))
    assert known.get(identities[0]) is first()
    known.get(identities[1])
    assert known.get(identities[0]) is first()
    known.get(identities[2])
    known.get(identities[1])
    assert first() is None


def test_a_context_that_is_held_is_not_built_again() -> None:
    """A context that a caller holds is returned again, even after it left the cache."""
    known = Contexts(limit=1)
    held = known.get(identity(CLIENT))
    known.get(identity(client(CLIENT_CA)))
    assert known.get(identity(CLIENT)) is held


def test_every_part_of_an_identity_counts() -> None:
    """Identities that differ in one part, or in its position, have different contexts."""
    known = Contexts()
    ca = SERVER_CA.pem
    made = [
        known.get(TlsIdentity(CLIENT.certificate_pem, Secret(CLIENT.key_pem), intermediates, cas))
        for intermediates, cas in [((), (ca,)), ((ca,), ()), ((), ()), ((ca,), (ca,)), ((), (ca, CLIENT_CA.pem))]
    ]
    assert len({id(context) for context in made}) == len(made)
