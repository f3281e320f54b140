"""What ends with a certificate: which key servers, of whom that is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keystead.core.certificates.ending import Ending, ending
from keystead.core.model import Certificate, CertificateType, KeyManager, Observation, PeerCertificate, State
from tests.core.factories import certificate

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CA = replace(
    certificate("ca", CertificateType.SERVER_CA),
    common_name="CA",
    ca="CA",
    serial_number="A",
    subject_key_identifier="AA:BB",
    expiry_time=NOW,
)
OTHER = replace(CA, uuid="other", common_name="Other CA", ca="Other CA", serial_number="B", subject_key_identifier="C")
MANAGER = KeyManager("m", None, enabled=True, client_certificate="client", server_ca_certificates=("ca", "other"))
SERVERS = ("ks1", "ks2", "ks3")


def seen(server: str, *chain: tuple[str, str], state: State = State.AVAILABLE, host: str = "") -> Observation:
    """Return what a node saw of a server: a chain of issuers and serial numbers."""
    shown = tuple(PeerCertificate("x", issuer, serial, NOW) for issuer, serial in chain)
    return Observation("n", server, host, state, NOW, certificates=shown)


def test_without_the_client_certificate_all_are_lost() -> None:
    """Certificates that the key servers showed do not matter."""
    client = replace(certificate("client", CertificateType.CLIENT), uuid="client")
    assert ending(client, MANAGER, (), SERVERS, ()) == Ending(frozenset(SERVERS), frozenset())


@pytest.mark.parametrize(
    ("observation", "lost", "known"),
    [
        (seen("ks1", ("CA", "1")), True, True),
        (seen("ks1", ("CA", "1"), ("CA", "A")), True, True),
        (seen("ks1", ("Sub CA", "1"), ("CA", "2")), True, True),
        (seen("ks1", ("CA", "A"), ("Root", "2")), True, True),
        (seen("ks1", ("Other CA", "1")), False, True),
        (seen("ks1"), False, False),
        (seen("ks1", ("CA", "1"), state=State.NOT_RESPONDING), False, False),
    ],
)
def test_servers_that_a_ca_proves(observation: Observation, lost: bool, known: bool) -> None:
    """A chain that it issued, or that holds it; what was not proved says nothing."""
    found = ending(CA, MANAGER, (CA, OTHER), ("ks1",), [observation])
    assert (bool(found.lost), not found.unknown) == (lost, known)


def test_another_address_keeps_a_server() -> None:
    """A server is lost if all of its addresses are."""
    addresses = [seen("ks1", ("CA", "1")), seen("ks1", ("Other CA", "1"), host="secondary")]
    assert ending(CA, MANAGER, (CA, OTHER), ("ks1",), addresses).lost == frozenset()


@pytest.mark.parametrize(
    ("successor", "helps"),
    [
        (replace(CA, uuid="new", expiry_time=NOW + timedelta(days=1)), True),
        (replace(CA, uuid="new", expiry_time=NOW), False),
        (replace(CA, uuid="new", expiry_time=NOW + timedelta(days=1), subject_key_identifier="D"), False),
    ],
)
def test_a_successor_of_the_same_key(successor: Certificate, helps: bool) -> None:
    """It proves the same chains, if it lasts longer."""
    found = ending(CA, MANAGER, (CA, successor), ("ks1",), [seen("ks1", ("CA", "1"))])
    assert (not found.lost) is helps
