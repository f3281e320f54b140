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
        "another operation is not answered in time, after DiscoverVersions",
        {"operation": {"Query", "Locate"}, "event": {Event.TIMED_OUT}},
        "operation_timed_out",
        errors.KMIP_COMMAND,
    ),
    Row(
        "kmip",
        "another operation fails otherwise, or its answer is malformed, after DiscoverVersions",
        {"operation": {"Query", "Locate"}},
        "operation_failed",
        errors.KMIP_COMMAND,
    ),
    Row("any", "anything else that the TLS or KMIP engine reports", {}, "engine_error", errors.TLS_ENGINE),
)


def classify(symptom: Symptom) -> Row:
    """Return the row of a symptom. The last row covers every symptom."""
    return next(row for row in TABLE if row.matches(symptom))


def stage_of(row: Row, symptom: Symptom) -> str:
    """Return the stage to report.

    This is the row's stage. For a row of any stage, and for stage ``credential``, it is the symptom's stage.
    """
    return symptom.stage if row.stage == "any" or symptom.stage == "credential" else row.stage
