"""The table of causes why a key server was refused. The first row that matches the symptom wins.

A row says which symptoms it covers. It gives the reason (a fixed word), the stage to report, and the ONTAP error. This
must stay a table: a condition that sets of values cannot express belongs into the symptom.
``docs/reference/reasons.md`` is generated from the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from keystead.core import errors
from keystead.keyservers.symptoms import Event, Symptom

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from keystead.core.errors import ErrorKind

AUTHENTICATION_NOT_SUCCESSFUL: Final = 0x3  # Result Reasons, KMIP 1.4 section 9.1.3.2.29
OPERATION_NOT_SUPPORTED: Final = 0x5
PERMISSION_DENIED: Final = 0xC


@dataclass(frozen=True, slots=True)
class Row:
    """One cause. It covers the symptoms whose attributes all lie in the sets of ``when``."""

    stage: str
    condition: str
    when: Mapping[str, AbstractSet[Any]]
    reason: str
    error: ErrorKind

    def matches(self, symptom: Symptom) -> bool:
        """Return True if this row covers the symptom."""
        return all(getattr(symptom, name) in values for name, values in self.when.items())


def _tls(condition: str, reason: str, error: ErrorKind, **when: AbstractSet[Any]) -> Row:
    return Row("tls", condition, {"stage": {"tls"}, **when}, reason, error)


def _kmip(condition: str, reason: str, error: ErrorKind, **when: AbstractSet[Any]) -> Row:
    return Row("kmip", condition, {"stage": {"kmip"}, **when}, reason, error)


_DISCOVER: Final = {"DiscoverVersions"}

TABLE: Final[tuple[Row, ...]] = (
    Row(
        "egress",
        "any resolved address refused by the egress rules",
        {"event": {Event.FORBIDDEN}},
        "address_not_allowed",
        errors.NETWORK,
    ),
    Row(
        "resolve",
        "no such host, temporary failure, malformed label, or no answer in time",
        {"stage": {"resolve"}},
        "name_not_resolved",
        errors.NETWORK,
    ),
    Row(
        "connect",
        "refused",
        {"stage": {"connect"}, "event": {Event.REFUSED}},
        "connection_refused",
        errors.NETWORK,
    ),
    Row(
        "connect",
        "timed out",
        {"stage": {"connect"}, "event": {Event.TIMED_OUT}},
        "connect_timed_out",
        errors.NETWORK,
    ),
    Row("connect", "unreachable", {"stage": {"connect"}}, "unreachable", errors.NETWORK),
    _tls(
        "our certificate expired",
        "client_certificate_expired",
        errors.CLIENT_CERTIFICATE_REFUSED,
        event={Event.OWN_EXPIRED},
    ),
    _tls(
        "our certificate not yet valid",
        "client_certificate_not_yet_valid",
        errors.CLIENT_CERTIFICATE_REFUSED,
        event={Event.OWN_NOT_YET_VALID},
    ),
    _tls(
        "key and certificate do not match",
        "client_certificate_key_mismatch",
        errors.CLIENT_CERTIFICATE_REFUSED,
        event={Event.OWN_KEY_MISMATCH},
    ),
    _tls("verify 18, 19", "server_certificate_self_signed", errors.SERVER_CA_REFUSED, verify_code={18, 19}),
    _tls("verify 2, 20, 21", "server_certificate_issuer_not_found", errors.SERVER_CA_REFUSED, verify_code={2, 20, 21}),
    _tls("verify 24, 79", "server_certificate_invalid_ca", errors.SERVER_CA_REFUSED, verify_code={24, 79}),
    _tls("verify 9", "server_certificate_not_yet_valid", errors.SERVER_CA_REFUSED, verify_code={9}),
    _tls("verify 10", "server_certificate_expired", errors.SERVER_CA_REFUSED, verify_code={10}),
    _tls("verify 23", "server_certificate_revoked", errors.SERVER_CA_REFUSED, verify_code={23}),
    _tls("verify 26", "server_certificate_wrong_purpose", errors.SERVER_CA_REFUSED, verify_code={26}),
    _tls("verify 66, 67, 68", "server_certificate_weak", errors.SERVER_CA_REFUSED, verify_code={66, 67, 68}),
    _tls("verify 62, 64", "server_certificate_wrong_name", errors.SERVER_CA_REFUSED, verify_code={62, 64}),
    _tls(
        "alert 40 before any ServerHello",
        "no_common_cipher",
        errors.TLS_ENGINE,
        alert={40},
        server_hello={False},
    ),
    _tls("alert 70", "no_common_tls_version", errors.TLS_ENGINE, alert={70}),
    _tls(
        "the server chose a version below TLS 1.2",
        "no_common_tls_version",
        errors.TLS_ENGINE,
        tls_reason={"UNSUPPORTED_PROTOCOL", "WRONG_SSL_VERSION"},
    ),
    _tls("alert 71, 86", "tls_too_weak", errors.TLS_ENGINE, alert={71, 86}),
    _tls(
        "alert 40 after a ServerHello, 41, 116",
        "client_certificate_required",
        errors.CLIENT_CERTIFICATE_REFUSED,
        alert={40, 41, 116},
    ),
    _tls("alert 48", "client_certificate_untrusted", errors.CLIENT_CERTIFICATE_REFUSED, alert={48}),
    _tls("alert 45", "client_certificate_expired", errors.CLIENT_CERTIFICATE_REFUSED, alert={45}),
    _tls("alert 44", "client_certificate_revoked", errors.CLIENT_CERTIFICATE_REFUSED, alert={44}),
    _tls(
        "alert 42, 43, 46, 49, 51",
        "client_certificate_refused",
        errors.CLIENT_CERTIFICATE_REFUSED,
        alert={42, 43, 46, 49, 51},
    ),
    _tls("alert 112", "server_name_not_recognised", errors.TLS_ENGINE, alert={112}),
    _tls(
        "the first bytes are no TLS record",
        "not_tls",
        errors.TLS_ENGINE,
        spoke_tls={False},
        event={Event.TLS, Event.CLOSED},
    ),
    _tls(
        "unsafe legacy renegotiation",
        "legacy_tls",
        errors.TLS_ENGINE,
        tls_reason={"UNSAFE_LEGACY_RENEGOTIATION_DISABLED"},
    ),
    _tls("stalls", "tls_timed_out", errors.NETWORK, event={Event.TIMED_OUT}),
    _tls(
        "TLS 1.2: closed or reset after our certificate went out and before the server's Finished, no alert",
        "client_certificate_probably_refused",
        errors.CLIENT_CERTIFICATE_REFUSED,
        event={Event.CLOSED},
        certificate_sent={True},
    ),
    _tls(
        "TLS 1.3: closed before the first answer byte, no ticket, and a connection that sends nothing is closed too",
        "client_certificate_probably_refused",
        errors.CLIENT_CERTIFICATE_REFUSED,
        event={Event.CLOSED},
        closes_without_request={True},
    ),
    _tls(
        "closed or reset inside the handshake before our certificate went out",
        "connection_closed",
        errors.NETWORK,
        event={Event.CLOSED},
    ),
    Row(
        "kmip",
        "Authentication Not Successful, no username configured",
        {"result_reason": {AUTHENTICATION_NOT_SUCCESSFUL}, "username": {False}},
        "client_certificate_not_registered",
        errors.CLIENT_CERTIFICATE_REFUSED,
    ),
    Row(
        "kmip",
        "Authentication Not Successful, username configured",
        {"result_reason": {AUTHENTICATION_NOT_SUCCESSFUL}, "username": {True}},
        "credential_refused",
        errors.KMIP_COMMAND,
    ),
    _kmip(
        "Permission Denied to DiscoverVersions, and to Query under 1.4, 1.2 and 1.0 headers",
        "operation_not_permitted",
        errors.KMIP_VERSIONS,
        operation=_DISCOVER,
        result_reason={PERMISSION_DENIED},
    ),
    _kmip(
        "Permission Denied to Query",
        "operation_not_permitted",
        errors.KMIP_COMMAND,
        operation={"Query"},
        result_reason={PERMISSION_DENIED},
    ),
    _kmip(
        "DiscoverVersions shares no version",
        "no_common_version",
        errors.KMIP_VERSIONS,
        event={Event.NO_COMMON_VERSION},
    ),
    _kmip(
        "DiscoverVersions fails otherwise",
        "discover_versions_failed",
        errors.KMIP_VERSIONS,
        operation=_DISCOVER,
        event={Event.RESULT},
    ),
    _kmip("silence", "no_answer", errors.KMIP_VERSIONS, operation=_DISCOVER, event={Event.TIMED_OUT}),
    _kmip("close, reset", "connection_closed", errors.KMIP_VERSIONS, operation=_DISCOVER, event={Event.CLOSED}),
    _kmip(
        "bytes that are not TTLV, or another message than an answer to DiscoverVersions",
        "malformed_answer",
        errors.KMIP_VERSIONS,
        operation=_DISCOVER,
        event={Event.MALFORMED},
    ),
    _kmip("over the limit", "answer_too_large", errors.KMIP_VERSIONS, operation=_DISCOVER, event={Event.TOO_LARGE}),
    Row(
        "kmip",
        "another operation fails otherwise, or its answer is malformed, after DiscoverVersions",
        {"operation": {"Query", "Locate"}},
        "operation_failed",
        errors.KMIP_COMMAND,
    ),
    Row("any", "anything else that the TLS or KMIP engine reports", {}, "engine_error", errors.TLS_ENGINE),
)

ADVICE: Final[Mapping[str, str]] = {
    "address_not_allowed": "An egress rule refuses the address: it is this host's, link-local, multicast or a cloud's"
    " metadata service, or outside of KEYSTEAD_EGRESS_ONLY. If the key server really is there, list its network in"
    " KEYSTEAD_EGRESS_ALLOW, and in KEYSTEAD_EGRESS_ONLY if that is set. Then start Keystead again.",
    "name_not_resolved": "Check the spelling of the host name and the DNS servers of the Keystead host.",
    "connection_refused": "The host answers but nothing listens on the port: check the port (KMIP's is 5696) and that"
    " the KMIP service is started.",
    "unreachable": "There is no route to the address: check the network, VLAN and gateway of the Keystead host.",
    "connect_timed_out": "Nothing answered: a firewall drops the packets, or the host is down.",
    "client_certificate_expired": "Our client certificate has expired: install a new one and use it for the key"
    " manager.",
    "client_certificate_not_yet_valid": "Our client certificate starts in the future: check the clock of the Keystead"
    " host.",
    "client_certificate_key_mismatch": "The private key does not belong to the client certificate: install both again.",
    "server_certificate_self_signed": "The server's chain ends in a certificate that is not among"
    " server_ca_certificates: install the CA that issued the server's certificate, and add it to the key manager's"
    " server_ca_certificates.",
    "server_certificate_issuer_not_found": "The issuer of the server's certificate is unknown: install the right CA, or"
    " the intermediate CA as well if the server does not send it. Then add it to the key manager's"
    " server_ca_certificates.",
    "server_certificate_invalid_ca": "A certificate in the server's chain may not issue certificates: look at its basic"
    " constraints and key usage.",
    "server_certificate_not_yet_valid": "The server's certificate starts in the future: compare both clocks.",
    "server_certificate_expired": "The server's certificate has expired: renew it on the key server.",
    "server_certificate_revoked": "The server's certificate was revoked: renew it on the key server.",
    "server_certificate_wrong_purpose": "The server's certificate is not for TLS servers: its extended key usage lacks"
    " serverAuth.",
    "server_certificate_weak": "The server's certificate, or its CA's, has a key below 2048 bits RSA or a SHA-1"
    " signature: issue a stronger one.",
    "server_certificate_wrong_name": "The server's certificate does not name the host or address that was given: use"
    " the name in its subject alternative names, give that name as tls_server_name, or issue a certificate that fits.",
    "no_common_cipher": "The server accepts none of our cipher suites: enable ECDHE with AES-GCM or AES-CBC-SHA2;"
    " Diffie-Hellman over a prime field (DHE) is not offered.",
    "no_common_tls_version": "The server speaks neither TLS 1.2 nor TLS 1.3: enable one of them.",
    "tls_too_weak": "The server demands stronger parameters than were agreed: look at its TLS policy.",
    "client_certificate_required": "The server did not accept what we sent as a client certificate: check that its KMIP"
    " port trusts the CA of our client certificate.",
    "client_certificate_untrusted": "The server does not know the CA of our client certificate: install that CA on the"
    " key server.",
    "client_certificate_revoked": "The server says that our client certificate is revoked: install a new one.",
    "client_certificate_refused": "The server refuses our client certificate: its extended key usage must allow"
    " clientAuth; on some appliances it must be uploaded or approved first.",
    "client_certificate_probably_refused": "The server closed the connection when it saw our client certificate,"
    " without saying why: check that it trusts the CA, and that the client is registered.",
    "client_certificate_not_registered": "The server trusts our client certificate, but no client is registered with"
    " it: register one. GKLM puts an unknown client certificate on a pending list: accept it there. CipherTrust needs"
    " a client registered with the certificate.",
    "server_name_not_recognised": "The server does not serve the host name that was given: use the name it knows.",
    "not_tls": "What answers on this port is not TLS: check the port, or a proxy in between.",
    "legacy_tls": "The server's TLS is too old to be safe: update it.",
    "connection_closed": "The server, or a device in between, closed the connection: look at the server's log and its"
    " list of allowed clients.",
    "tls_timed_out": "The server took the connection and stopped: it may be overloaded, or speak another protocol.",
    "credential_refused": "The server refuses the username or the password: check both, and that the user is enabled"
    " for KMIP.",
    "operation_not_permitted": "The server knows us but permits nothing: give the client or user its permissions.",
    "discover_versions_failed": "The server refuses to tell its KMIP versions: look at its log.",
    "no_common_version": "The server speaks no KMIP version from 1.0 to 2.1.",
    "no_answer": "TLS is up but no answer came in time: raise the time-out, or look at the server's load.",
    "malformed_answer": "What answers is not KMIP in TTLV: check the port (some servers offer REST and KMIP side by"
    " side).",
    "answer_too_large": "The answer exceeds 64 KiB: what answers is probably not KMIP.",
    "operation_failed": "The server refuses an ordinary operation: look at its log.",
    "engine_error": "The TLS or KMIP engine failed in a way that has no row of its own: the service's log has details.",
}
"""One line of advice per reason."""


def classify(symptom: Symptom) -> Row:
    """Return the row of a symptom. The last row covers every symptom."""
    return next(row for row in TABLE if row.matches(symptom))


def stage_of(row: Row, symptom: Symptom) -> str:
    """Return the stage to report.

    This is the row's stage. For a row of any stage, and for stage ``credential``, it is the symptom's stage.
    """
    return symptom.stage if row.stage == "any" or symptom.stage == "credential" else row.stage
