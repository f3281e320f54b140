"""Cases for the table of failures: a peer that causes each row, our identity, and the expected row."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from keystead.core import errors
from keystead.core.probing import ProbeTarget, TlsIdentity
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from keystead.keyservers.egress import EgressRules
from tests.peers import fault_servers as fault
from tests.peers import kmip_answers as kmip
from tests.peers.certificates import Authority, Credentials, client, self_signed, server_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

Versions = Literal["1.2", "1.3", "both"]

LOOPBACK = EgressRules.parse(allow=["127.0.0.0/8", "::1"])
PATIENCE_S = 20.0

SERVER_CA, CLIENT_CA, OTHER_CA = Authority(), Authority("Client CA"), Authority("Another CA")
SERVER = SERVER_CA.issue()
CLIENT, STRANGER = client(CLIENT_CA), client(OTHER_CA)


def identity(credentials: Credentials = CLIENT, *cas: Authority, key: str | None = None) -> TlsIdentity:
    """Return the identity that we show, and the CAs that we trust."""
    return TlsIdentity(
        credentials.certificate_pem, Secret(key or credentials.key_pem), (), tuple(ca.pem for ca in cas or (SERVER_CA,))
    )


def target(port: int, host: str = "127.0.0.1", timeout_s: float = PATIENCE_S, **more: Any) -> ProbeTarget:
    """Return a key server on loopback."""
    return ProbeTarget(ServerAddress(host, port), timeout_s, **more)


@dataclass(frozen=True)
class Case:
    """A peer, what we show it, and the row that must be found."""

    name: str
    reason: str | None
    error: errors.ErrorKind | None
    stage: str | None
    peer: Callable[[], AbstractContextManager[Any]]
    identity: TlsIdentity = field(default_factory=identity)
    host: str = "127.0.0.1"
    timeout_s: float = PATIENCE_S
    username: str = ""

    def __str__(self) -> str:
        return self.name


def serving(script: Any, host: str = "127.0.0.1") -> Callable[[], fault.FaultServer]:
    """Return a fault server with this script."""
    return lambda: fault.FaultServer(script, host)


def kmip_server(
    answers: Any = None, *, credentials: Credentials = SERVER, versions: Versions = "both", clock: float = 0
) -> Callable[[], fault.FaultServer]:
    """Return a server that does TLS well and answers by the table."""
    context = server_context(credentials, CLIENT_CA, versions=versions)
    return serving(fault.tls(context, kmip.answering(answers, clock=clock)))


def tls_cases(version: Versions) -> Iterator[Case]:
    """Faults of certificates: ours and the server's."""

    def wrong(name: str, reason: str, credentials: Credentials, *cas: Authority, host: str = "127.0.0.1") -> Case:
        peer = kmip_server(credentials=credentials, versions=version)
        return Case(name, reason, errors.SERVER_CA_REFUSED, "tls", peer, identity(CLIENT, *cas), host)

    intermediate = Authority("Issuing CA", parent=SERVER_CA)
    day = timedelta(days=1)
    yield wrong("another CA, root not sent", "server_certificate_issuer_not_found", SERVER, OTHER_CA)
    yield wrong("another CA, root sent", "server_certificate_self_signed", _with_root(SERVER), OTHER_CA)
    yield wrong("self-signed", "server_certificate_self_signed", self_signed())
    yield wrong(
        "intermediate missing", "server_certificate_issuer_not_found", intermediate.issue().without_intermediates()
    )
    yield wrong("issued by a leaf", "server_certificate_invalid_ca", _issued_by_a_leaf())
    yield wrong("expired", "server_certificate_expired", SERVER_CA.issue(starts=-3 * day, ends=-day))
    yield wrong("not yet valid", "server_certificate_not_yet_valid", SERVER_CA.issue(starts=day, ends=3 * day))
    yield wrong("for clients only", "server_certificate_wrong_purpose", SERVER_CA.issue(purpose="client"))
    yield wrong("weak key", "server_certificate_weak", SERVER_CA.issue(key="rsa-1024"))
    yield wrong("another name", "server_certificate_wrong_name", SERVER_CA.issue(["kms.example"]), host="localhost")
    yield wrong("another address", "server_certificate_wrong_name", SERVER_CA.issue(["10.0.0.1"]))
    yield wrong("no name", "server_certificate_wrong_name", SERVER_CA.issue([]), host="localhost")

    def refused(name: str, reason: str, ours: Credentials, refusing: Any = fault.tls) -> Case:
        script = refusing(server_context(SERVER, CLIENT_CA, versions=version), kmip.answering())
        return Case(name, reason, errors.CLIENT_CERTIFICATE_REFUSED, "tls", serving(script), identity(ours))

    yield refused("client CA unknown", "client_certificate_untrusted", STRANGER)
    yield refused("client CA unknown, hasty", "client_certificate_untrusted", STRANGER, fault.hasty_tls)
    yield refused("client certificate for servers", "client_certificate_refused", CLIENT_CA.issue((), purpose="server"))
    yield refused("closed in silence", "client_certificate_probably_refused", STRANGER, fault.mute_tls)
    yield refused("reset in silence", "client_certificate_probably_refused", STRANGER, _mute_reset)


def _mute_reset(context: Any, then: Any) -> Any:
    return fault.mute_tls(context, then, refuse=fault.reset)


def _with_root(credentials: Credentials) -> Credentials:
    return replace(credentials, intermediates=(*credentials.intermediates, SERVER_CA.certificate))


def _issued_by_a_leaf() -> Credentials:
    """Return a chain whose middle certificate is no CA."""
    middle = SERVER_CA.issue()
    usurper = Authority("Usurper")
    usurper.key = middle.key
    usurper.subject = middle.certificate.subject
    leaf = usurper.issue()
    return Credentials(leaf.certificate, leaf.key, (middle.certificate,))


def _prime_field_only() -> Any:
    """Return a server's context that agrees on keys by Diffie-Hellman over a prime field and in no other way."""
    ciphers = "DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0"
    return server_context(SERVER_CA.issue(key="rsa"), CLIENT_CA, versions="1.2", ciphers=ciphers)


# Record and handshake header, version 3.2, random, no session, TLS_RSA_WITH_AES_128_CBC_SHA, no compression.
TLS_1_1_SERVER_HELLO = bytes.fromhex("160302002a 02000026 0302") + bytes(32) + bytes.fromhex("00 002f 00")
# The same of TLS 1.2 with TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, and without the extension of RFC 5746.
LEGACY_SERVER_HELLO = bytes.fromhex("160303002a 02000026 0303") + bytes(32) + bytes.fromhex("00 c02f 00")


def network_cases() -> Iterator[Case]:
    """Faults before and inside the handshake."""

    def network(name: str, reason: str, stage: str, peer: Any, **more: Any) -> Case:
        return Case(name, reason, errors.NETWORK, stage, peer, **more)

    def engine(name: str, reason: str, peer: Any) -> Case:
        return Case(name, reason, errors.TLS_ENGINE, "tls", peer)

    yield network("forbidden address", "address_not_allowed", "egress", nothing, host="169.254.169.254")
    yield network("no such host", "name_not_resolved", "resolve", nothing, host="nowhere.invalid")
    yield network("refused", "connection_refused", "connect", lambda: contextlib.nullcontext(fault.refused_port()))
    yield network("black hole", "connect_timed_out", "connect", fault.black_hole, timeout_s=0.5)
    yield network("stalls", "tls_timed_out", "tls", serving(fault.silence), timeout_s=0.5)
    yield network("closed at once", "connection_closed", "tls", serving(fault.close_at_once))
    yield network("reset at once", "connection_closed", "tls", serving(fault.reset))
    yield network("reset at hello", "connection_closed", "tls", serving(fault.after_client_hello(fault.reset)))
    yield network("closed at hello", "connection_closed", "tls", serving(fault.after_client_hello(fault.close_at_once)))
    no_request = server_context(SERVER, versions="1.2")
    yield network(
        "closed before Finished, no certificate asked for",
        "connection_closed",
        "tls",
        serving(fault.stop_before_finished(no_request, fault.close_at_once)),
    )
    drip = fault.drip(b"\x16\x03\x03\x0f\xff" + bytes(100), pause=0.1)
    yield network("drips in the handshake", "tls_timed_out", "tls", serving(drip), timeout_s=0.5)

    yield engine("http", "not_tls", serving(fault.say(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")))
    yield engine("ssh", "not_tls", serving(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH\r\n")))
    yield engine("two letters", "not_tls", serving(fault.after_client_hello(lambda one: one.sendall(b"no"))))
    yield engine("KMIP without TLS", "not_tls", serving(fault.say(kmip.response((1, 4), *kmip.discovered((1, 4))))))
    yield engine("alert 40", "no_common_cipher", serving(fault.alert(40)))
    yield engine("alert 70", "no_common_tls_version", serving(fault.alert(70)))
    yield engine("speaks TLS 1.1", "no_common_tls_version", serving(fault.say(TLS_1_1_SERVER_HELLO)))
    prime_field = serving(fault.tls(_prime_field_only(), kmip.answering()))
    yield engine("Diffie-Hellman over a prime field only", "no_common_cipher", prime_field)
    yield engine("no secure renegotiation", "legacy_tls", serving(fault.say(LEGACY_SERVER_HELLO)))
    yield engine("alert 71", "tls_too_weak", serving(fault.alert(71)))
    yield engine("alert 86", "tls_too_weak", serving(fault.alert(86)))
    yield engine("alert 112", "server_name_not_recognised", serving(fault.alert(112)))
    yield engine("alert 80", "engine_error", serving(fault.alert(80)))
    yield engine("a broken record", "engine_error", serving(fault.say(b"\x16\x03\x03\x00\x04\x63\x00\x00\x00")))
    for number, reason in [
        (41, "client_certificate_required"),
        (116, "client_certificate_required"),
        (48, "client_certificate_untrusted"),
        (45, "client_certificate_expired"),
        (44, "client_certificate_revoked"),
        *((number, "client_certificate_refused") for number in (42, 43, 46, 49, 51)),
    ]:
        peer = serving(fault.alert(number))
        yield Case(f"alert {number}", reason, errors.CLIENT_CERTIFICATE_REFUSED, "tls", peer)

    def own(name: str, reason: str, ours: TlsIdentity) -> Case:
        """Nothing listens: the fault is found before a packet leaves."""
        return Case(name, reason, errors.CLIENT_CERTIFICATE_REFUSED, "tls", nothing, ours)

    day = timedelta(days=1)
    yield own("ours expired", "client_certificate_expired", identity(client(CLIENT_CA, starts=-3 * day, ends=-day)))
    yield own(
        "ours not yet valid", "client_certificate_not_yet_valid", identity(client(CLIENT_CA, starts=day, ends=2 * day))
    )
    yield own("ours has another key", "client_certificate_key_mismatch", identity(CLIENT, key=STRANGER.key_pem))
    yield Case(
        "ours unreadable", "engine_error", errors.TLS_ENGINE, "tls", nothing, identity(CLIENT, key="no key at all")
    )


def nothing() -> AbstractContextManager[int]:
    """Return a port that nobody listens on."""
    return contextlib.nullcontext(1)


def kmip_cases(version: Versions) -> Iterator[Case]:
    """Faults after a sound handshake."""
    never = server_context(SERVER, CLIENT_CA, versions=version)

    def versions(name: str, reason: str, answer: Any, **more: Any) -> Case:
        peer = kmip_server({kmip.DISCOVER_VERSIONS: answer}, versions=version)
        return Case(name, reason, errors.KMIP_VERSIONS, "kmip", peer, **more)

    def after_tls(name: str, reason: str, script: Any, **more: Any) -> Case:
        return Case(name, reason, errors.KMIP_VERSIONS, "kmip", serving(fault.tls(never, script)), **more)

    def command(name: str, reason: str, stage: str, answers: Any, **more: Any) -> Case:
        return Case(name, reason, errors.KMIP_COMMAND, stage, kmip_server(answers, versions=version), **more)

    discover = kmip.DISCOVER_VERSIONS
    whole = kmip.response((1, 1), *kmip.discovered((1, 4)))
    huge = bytes.fromhex("42007b01ffffff00")

    yield versions("Discover Versions fails", "discover_versions_failed", kmip.failure(discover, kmip.GENERAL_FAILURE))
    yield versions("no version", "no_common_version", kmip.discovered())
    yield versions("only version 9.9", "no_common_version", kmip.discovered((9, 9)))
    yield versions("another operation's answer", "malformed_answer", kmip.success(kmip.LOCATE))
    yield after_tls("half an answer", "connection_closed", fault.say_and_close(whole[:40]))
    yield versions("trailing bytes", "malformed_answer", whole + b"more")
    yield versions("too large", "answer_too_large", huge)
    yield versions("huge", "answer_too_large", bytes.fromhex("42007b01fffffff8"))
    yield versions("length not a multiple of 8", "malformed_answer", bytes.fromhex("42007b0100000005") + bytes(5))
    yield versions("a request comes back", "malformed_answer", bytes.fromhex("4200780100000008") + bytes(8))
    yield versions("http inside TLS", "malformed_answer", b"HTTP/1.1 400 Bad Request\r\n\r\n")
    yield after_tls("garbage at once", "malformed_answer", lambda connection: connection.sendall(b"\xde\xad" * 500))
    yield after_tls("silence", "no_answer", fault.silence, timeout_s=1)
    yield after_tls("drips", "no_answer", fault.drip(whole, pause=0.1), timeout_s=1)
    yield after_tls("closed after the handshake", "connection_closed", fault.close_at_once)
    yield after_tls("closed at the request", "connection_closed", lambda connection: connection.recv(9999))
    yield Case(
        "closed at the request, no ticket",
        "connection_closed",
        errors.KMIP_VERSIONS,
        "kmip",
        serving(fault.tls(without_tickets(version), lambda connection: connection.recv(9999))),
    )

    denied = {discover: kmip.failure(discover, kmip.PERMISSION_DENIED)}
    query_denied = {kmip.QUERY: kmip.failure(kmip.QUERY, kmip.PERMISSION_DENIED)}
    yield Case(
        "nothing permitted",
        "operation_not_permitted",
        errors.KMIP_VERSIONS,
        "kmip",
        kmip_server({**denied, **query_denied}, versions=version),
    )
    yield command("Query denied", "operation_not_permitted", "kmip", query_denied)
    yield command(
        "Query fails", "operation_failed", "kmip", {kmip.QUERY: kmip.failure(kmip.QUERY, kmip.GENERAL_FAILURE)}
    )
    yield command("Query is cut off", "operation_failed", "kmip", {kmip.QUERY: None})
    yield command("Query gets garbage", "operation_failed", "kmip", {kmip.QUERY: b"garbage!"})
    yield command(
        "Locate fails",
        "operation_failed",
        "credential",
        {kmip.LOCATE: kmip.failure(kmip.LOCATE, kmip.GENERAL_FAILURE)},
    )
    yield command("Locate is cut off", "operation_failed", "credential", {kmip.LOCATE: None})
    yield command("Query is not answered", "operation_timed_out", "kmip", {kmip.QUERY: b""}, timeout_s=1)
    yield command("Locate is not answered", "operation_timed_out", "credential", {kmip.LOCATE: b""}, timeout_s=1)

    for operation, name, stage in [
        (discover, "Discover Versions", "kmip"),
        (kmip.QUERY, "Query", "kmip"),
        (kmip.LOCATE, "Locate", "credential"),
    ]:
        named = {operation: kmip.failure(operation, kmip.AUTHENTICATION_NOT_SUCCESSFUL)}
        unnamed = {operation: kmip.failure(None, kmip.AUTHENTICATION_NOT_SUCCESSFUL)}
        for answers, how in [(named, "named"), (unnamed, "unnamed")]:
            yield Case(
                f"unknown client, {name} {how}",
                "client_certificate_not_registered",
                errors.CLIENT_CERTIFICATE_REFUSED,
                stage,
                kmip_server(answers, versions=version),
            )
        yield command(f"wrong password, {name}", "credential_refused", stage, named, username="keystead")


def without_tickets(version: Versions) -> Any:
    """Return a server's context that sends no session tickets."""
    context = server_context(SERVER, CLIENT_CA, versions=version)
    context.num_tickets = 0
    return context


def not_supported(operation: int) -> Any:
    """Answers of a server that lacks an operation."""
    return {operation: kmip.failure(operation, kmip.NOT_SUPPORTED)}


@cache
def large() -> Credentials:
    """Return a certificate so large that OpenSSL cannot encode the TLS session, which holds it."""
    made = SERVER_CA.issue(("localhost", "127.0.0.1", *(f"host-{number:05}.example.com" for number in range(2900))))
    assert len(made.certificate.public_bytes(Encoding.DER)) > 2**16
    return made


def accepted_cases(version: Versions) -> Iterator[Case]:
    """Unusual servers that must be accepted."""

    def accepted(name: str, answers: Any = None, **more: Any) -> Case:
        peer = more.pop("peer", None) or kmip_server(answers, versions=version)
        return Case(name, None, None, None, peer, **more)

    def only_version(only: kmip.Version) -> Any:
        def answer(version: kmip.Version) -> Any:
            if version != only:
                return kmip.response(only, *kmip.failure(None, kmip.INVALID_MESSAGE))
            return kmip.discovered(only)

        return {kmip.DISCOVER_VERSIONS: answer}

    intermediate = Authority("Issuing CA", parent=SERVER_CA)
    old = Authority("Old CA", identifiers=False)
    yield accepted("sound")
    yield accepted("a name", host="localhost")
    yield accepted("a trailing dot", host="localhost.")
    yield accepted("KMIP 1.0 only", not_supported(kmip.DISCOVER_VERSIONS))
    yield accepted("speaks 2.0 headers only", only_version((2, 0)))
    yield accepted("speaks 1.4 headers only", only_version((1, 4)))
    yield accepted("no Query", not_supported(kmip.QUERY))
    yield accepted("no Locate", not_supported(kmip.LOCATE))
    yield accepted("Locate denied", {kmip.LOCATE: kmip.failure(kmip.LOCATE, kmip.PERMISSION_DENIED)})
    yield accepted("Discover Versions denied", {kmip.DISCOVER_VERSIONS: kmip.failure(0x1E, kmip.PERMISSION_DENIED)})
    yield accepted("a username", username="keystead")
    yield accepted("intermediate sent", peer=kmip_server(credentials=intermediate.issue(), versions=version))
    yield accepted(
        "intermediate trusted",
        peer=kmip_server(credentials=intermediate.issue().without_intermediates(), versions=version),
        identity=identity(CLIENT, intermediate),
    )
    yield accepted(
        "no Authority Key Identifier",
        peer=kmip_server(credentials=old.issue(), versions=version),
        identity=identity(CLIENT, old),
    )
    yield accepted("a certificate of over 64 KiB", peer=kmip_server(credentials=large(), versions=version))
    yield accepted("RSA", peer=kmip_server(credentials=SERVER_CA.issue(key="rsa"), versions=version))
    context = server_context(SERVER, CLIENT_CA, versions=version)
    yield accepted("IPv6 only", peer=serving(fault.tls(context, kmip.answering()), "::1"), host="::1")
    yield accepted("no ticket", peer=serving(fault.tls(without_tickets(version), kmip.answering())))


def all_cases() -> Iterator[Any]:
    """Yield each case once; those that depend on TLS, on each version."""
    for case in network_cases():
        yield pytest.param(case, id=case.name)
    for version in ("1.2", "1.3"):
        for make in (tls_cases, kmip_cases, accepted_cases):
            for case in make(version):
                yield pytest.param(case, id=f"{case.name} - TLS {version}")
