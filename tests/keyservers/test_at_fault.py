"""Which certificate is at fault, found with real peers; and what both sides showed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from keystead.core.probing import Whose
from keystead.keyservers.at_fault import _OF_CLIENT, _OF_SERVER, at_fault
from keystead.keyservers.failures import TABLE
from keystead.keyservers.gateway import Gateway
from tests.keyservers.cases import CLIENT, CLIENT_CA, LOOPBACK, OTHER_CA, SERVER, SERVER_CA, identity, target
from tests.peers import fault_servers as fault
from tests.peers import kmip_answers as kmip
from tests.peers.certificates import Authority, Credentials, client, make_key, self_signed, server_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.model import PeerCertificate

DAY = timedelta(days=1)
SINCE = datetime(2026, 3, 1, tzinfo=UTC)
ISSUING = Authority("Issuing CA", parent=SERVER_CA)
ENDED_ISSUING = Authority("Issuing CA", parent=SERVER_CA, ends=-DAY)
ENDED_CA = Authority("Ended CA", ends=-DAY)
OUR_ISSUING = Authority("Our issuing CA", parent=OTHER_CA)


@dataclass(frozen=True)
class Fault:
    """What a server shows, what we trust and show, and what must be found."""

    name: str
    reason: str
    whose: Whose
    certificate: x509.Certificate
    server: Credentials = SERVER
    trusted: tuple[Authority, ...] = (SERVER_CA,)
    ours: Credentials = CLIENT
    host: str = "127.0.0.1"

    def __str__(self) -> str:
        return self.name


def of_server(name: str, reason: str, server: Credentials, place: int = 0, **more: Any) -> Fault:
    """Return a fault of a certificate that the server shows: its own, or that at a place above."""
    shown = (server.certificate, *server.intermediates)
    return Fault(name, f"server_certificate_{reason}", Whose.SERVER, shown[place], server, **more)


def of_client(name: str, reason: str, ours: Credentials, place: int = 0) -> Fault:
    """Return a fault of a certificate that we show."""
    shown = (ours.certificate, *ours.intermediates)
    return Fault(name, f"client_certificate_{reason}", Whose.CLIENT, shown[place], ours=ours)


def issued_by_a_leaf() -> Credentials:
    """Return a chain whose middle certificate is no CA."""
    middle = SERVER_CA.issue()
    usurper = Authority("Usurper")
    usurper.key, usurper.subject = middle.key, middle.certificate.subject
    leaf = usurper.issue()
    return Credentials(leaf.certificate, leaf.key, (middle.certificate,))


def with_root(credentials: Credentials, root: Authority) -> Credentials:
    """Return credentials that are shown with their root."""
    return replace(credentials, intermediates=(*credentials.intermediates, root.certificate))


FAULTS = (
    of_server("expired", "expired", SERVER_CA.issue(starts=-3 * DAY, ends=-DAY)),
    of_server("expired intermediate", "expired", ENDED_ISSUING.issue(), 1),
    of_server("expired intermediate, with the root", "expired", with_root(ENDED_ISSUING.issue(), SERVER_CA), 1),
    Fault(
        "expired installed CA",
        "server_certificate_expired",
        Whose.SERVER_CA,
        ENDED_CA.certificate,
        ENDED_CA.issue(),
        (ENDED_CA,),
    ),
    of_server("not yet valid", "not_yet_valid", ISSUING.issue(starts=DAY, ends=3 * DAY)),
    of_server("issuer unknown", "issuer_not_found", SERVER, trusted=(OTHER_CA,)),
    of_server("intermediate missing", "issuer_not_found", ISSUING.issue().without_intermediates()),
    of_server("issuer of the intermediate unknown", "issuer_not_found", ISSUING.issue(), 1, trusted=(OTHER_CA,)),
    of_server("root not installed", "self_signed", with_root(ISSUING.issue(), SERVER_CA), 2, trusted=(OTHER_CA,)),
    of_server("self-signed", "self_signed", self_signed()),
    of_server("another CA of the same name", "issuer_not_found", SERVER, trusted=(Authority(),)),
    of_server("issued by a leaf", "invalid_ca", issued_by_a_leaf(), 1),
    of_server("for clients only", "wrong_purpose", ISSUING.issue(purpose="client")),
    of_server("weak key", "weak", ISSUING.issue(key="rsa-1024")),
    of_server("another name", "wrong_name", ISSUING.issue(["kms.example"]), host="localhost"),
    of_client("ours expired", "expired", client(CLIENT_CA, starts=-3 * DAY, ends=-DAY)),
    of_client("ours not yet valid", "not_yet_valid", client(CLIENT_CA, starts=DAY, ends=3 * DAY)),
    of_client("our CA unknown", "untrusted", client(OTHER_CA)),
    of_client("the CA of our intermediate unknown", "untrusted", client(OUR_ISSUING), 1),
    of_client("ours for servers", "refused", CLIENT_CA.issue((), purpose="server")),
)


@pytest.mark.parametrize("case", FAULTS, ids=str)
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_the_certificate_at_fault(run: Any, case: Fault, version: Any) -> None:
    """It is the very one, whoever showed it; and both chains are told."""
    ours = replace(identity(case.ours, *case.trusted), intermediates=pems(case.ours))
    context = server_context(case.server, CLIENT_CA, versions=version)
    with fault.FaultServer(fault.tls(context, kmip.answering())) as server:
        (result,) = run(Gateway(LOOPBACK).probe_all([target(server.port, case.host)], ours, 40))
    assert result.reason == case.reason
    assert result.at_fault is not None
    assert result.at_fault.whose is case.whose
    assert numbers([result.at_fault.certificate]) == [number(case.certificate)]
    assert numbers(result.client_certificates) == chain(case.ours)
    if case.whose is not Whose.CLIENT:
        assert numbers(result.certificates) == chain(case.server)


def pems(credentials: Credentials) -> tuple[str, ...]:
    """Return the intermediates."""
    return tuple(replace(credentials, certificate=each).certificate_pem for each in credentials.intermediates)


def number(certificate: x509.Certificate) -> str:
    """Return the serial number as results have it."""
    return f"{certificate.serial_number:X}"


def numbers(certificates: Sequence[PeerCertificate]) -> list[str]:
    """Return the serial numbers in a result."""
    return [certificate.serial_number for certificate in certificates]


def chain(credentials: Credentials) -> list[str]:
    """Return the serial numbers that are shown."""
    return [number(certificate) for certificate in (credentials.certificate, *credentials.intermediates)]


def test_no_certificate_is_at_fault(run: Any) -> None:
    """When the server is accepted, or the fault is another one."""
    context = server_context(ISSUING.issue(), CLIENT_CA)
    with fault.FaultServer(fault.tls(context, kmip.answering())) as server:
        targets = [target(server.port), target(fault.refused_port())]
        accepted, refused = run(Gateway(LOOPBACK).probe_all(targets, identity(), 40))
    assert (accepted.reason, accepted.at_fault) == (None, None)
    assert len(accepted.certificates) == 2
    assert (refused.reason, refused.at_fault) == ("connection_refused", None)


def test_the_certificate_of_a_secondary(run: Any) -> None:
    """Tell what the address showed that failed."""
    bad = SERVER_CA.issue(starts=-3 * DAY, ends=-DAY)
    first, second = (fault.tls(server_context(each, CLIENT_CA), kmip.answering()) for each in (SERVER, bad))
    with fault.FaultServer(first) as primary, fault.FaultServer(second, "::1", primary.port) as secondary:
        both = target(primary.port)
        both = replace(both, secondaries=(replace(both.server, host=secondary.host),))
        (result,) = run(Gateway(LOOPBACK).probe_all([both], identity(), 40))
    assert str(result.failed_server) == f"[::1]:{primary.port}"
    assert result.at_fault is not None
    assert numbers([result.at_fault.certificate]) == numbers(result.certificates) == chain(bad)
    assert numbers(result.addresses[0].certificates) == chain(SERVER)


def test_a_certificate_that_cannot_be_read() -> None:
    """A peer may show what it likes: then none is at fault."""
    key = make_key("ec")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ks1")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, SINCE, SINCE + DAY)
    garbage = x509.UnrecognizedExtension(x509.AuthorityKeyIdentifier.oid, b"\xff")
    broken = builder.add_extension(garbage, critical=False).sign(key, SHA256()).public_bytes(Encoding.DER)
    for shown in ([], [b"no certificate"], [broken]):
        assert at_fault("server_certificate_issuer_not_found", shown, identity()) is None


def test_every_reason_about_a_certificate_has_a_row() -> None:
    """And no other reason."""
    about = {row.reason for row in TABLE if row.reason.startswith(("server_certificate_", "client_certificate_"))}
    assert set(_OF_SERVER) | set(_OF_CLIENT) == about
