"""The table of failures, and the symptoms that no peer in these tests can cause."""

from __future__ import annotations

import dataclasses
import errno
import itertools
from typing import Any

import pytest

from keystead.core import errors
from keystead.core.errors.probe_reasons import ADVICE
from keystead.core.probing import STAGES
from keystead.keyservers.failures import TABLE, classify, stage_of
from keystead.keyservers.symptoms import Event, Symptom, connect_symptom, kmip_symptom
from keystead.kmip.ttlv.errors import (
    KMIPError,
    LocalProtocolError,
    NoCommonVersion,
    OperationFailed,
    RemoteProtocolError,
    TransportError,
    TTLVError,
)


def test_every_reason_has_its_advice() -> None:
    """Each reason of the table has one line of advice, and no advice lacks a row."""
    assert {row.reason for row in TABLE} == set(ADVICE)


def test_rows_speak_of_what_symptoms_have() -> None:
    """The conditions of a row name attributes that symptoms have."""
    attributes = {field.name for field in dataclasses.fields(Symptom)}
    assert all(set(row.when) <= attributes for row in TABLE)
    assert {row.stage for row in TABLE} <= {*STAGES, "any"}


def test_only_the_last_row_takes_everything() -> None:
    """Only the last row has an empty condition, because one elsewhere would hide the rows after it."""
    assert [row.reason for row in TABLE if not row.when] == ["engine_error"]
    assert not TABLE[-1].when


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.reason} {row.error.code} {row.condition[:20]}")
def test_no_row_is_hidden_by_one_before_it(row: Any) -> None:
    """For each row there is a symptom that it is the first to match."""
    chosen = {name: min(values, key=str) for name, values in row.when.items()}
    stage = chosen.pop("stage", row.stage if row.stage in STAGES else "kmip")
    event = chosen.pop("event", Event.OTHER)
    assert classify(Symptom(stage, event, **chosen)) is row


@pytest.mark.parametrize(
    ("symptom", "reason", "error"),
    [
        (Symptom("connect", Event.UNREACHABLE), "unreachable", errors.NETWORK),
        (Symptom("tls", Event.VERIFY, verify_code=23), "server_certificate_revoked", errors.SERVER_CA_REFUSED),
        (Symptom("tls", Event.VERIFY, verify_code=79), "server_certificate_invalid_ca", errors.SERVER_CA_REFUSED),
        (Symptom("tls", Event.VERIFY, verify_code=68), "server_certificate_weak", errors.SERVER_CA_REFUSED),
        (Symptom("tls", Event.VERIFY, verify_code=1), "engine_error", errors.TLS_ENGINE),
        (Symptom("tls", Event.TIMED_OUT, spoke_tls=False), "tls_timed_out", errors.NETWORK),
        (Symptom("kmip", Event.OTHER, operation="DiscoverVersions"), "engine_error", errors.TLS_ENGINE),
        (Symptom("credential", Event.TIMED_OUT, operation="Locate"), "operation_timed_out", errors.KMIP_COMMAND),
        (Symptom("kmip", Event.TIMED_OUT, operation="Query"), "operation_timed_out", errors.KMIP_COMMAND),
    ],
    ids=itertools.count(),
)
def test_what_no_peer_here_can_cause(symptom: Symptom, reason: str, error: Any) -> None:
    """Rows for networks, revocation lists and machines that a test cannot have."""
    row = classify(symptom)
    assert (row.reason, row.error) == (reason, error)


def test_the_stage_is_where_it_happened() -> None:
    """A kmip failure during Locate is reported as credential, an alert at the first read as tls.

    A forbidden address is reported as egress, wherever it was met.
    """
    late = Symptom("credential", Event.CLOSED, operation="Locate")
    assert stage_of(classify(late), late) == "credential"
    odd = Symptom("kmip", Event.OTHER, operation="DiscoverVersions")
    assert stage_of(classify(odd), odd) == "kmip"
    alert = Symptom("tls", Event.ALERT, alert=48)
    assert stage_of(classify(alert), alert) == "tls"
    forbidden = Symptom("connect", Event.FORBIDDEN)
    assert stage_of(classify(forbidden), forbidden) == "egress"


@pytest.mark.parametrize(
    ("cause", "event", "stage"),
    [
        (ConnectionRefusedError(), Event.REFUSED, "connect"),
        (TimeoutError(errno.ETIMEDOUT, ""), Event.TIMED_OUT, "connect"),
        (OSError(errno.ENETUNREACH, ""), Event.UNREACHABLE, "connect"),
        (OSError(errno.EHOSTUNREACH, ""), Event.UNREACHABLE, "connect"),
        (PermissionError(errno.EACCES, ""), Event.UNREACHABLE, "connect"),
        (ConnectionResetError(errno.ECONNRESET, ""), Event.CLOSED, "tls"),
        (None, Event.UNREACHABLE, "connect"),
    ],
    ids=itertools.count(),
)
def test_symptoms_of_connecting(cause: OSError | None, event: Event, stage: str) -> None:
    """The symptom of a failed connection depends on the type of exception; a reset means that it was connected."""
    error = TransportError("connect", "text says nothing")
    error.__cause__ = cause
    assert connect_symptom(error) == Symptom(stage, event)


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (OperationFailed(1, 1, 12), Event.RESULT),
        (NoCommonVersion(()), Event.NO_COMMON_VERSION),
        (TTLVError("", limit=True), Event.TOO_LARGE),
        (TTLVError(""), Event.MALFORMED),
        (RemoteProtocolError(""), Event.MALFORMED),
        (TransportError("exchange", ""), Event.CLOSED),
        (LocalProtocolError(""), Event.OTHER),
    ],
    ids=itertools.count(),
)
def test_symptoms_of_kmip(error: KMIPError, event: Event) -> None:
    """The symptom of a KMIP failure depends on the type of the exception and its numbers."""
    symptom = kmip_symptom("kmip", "Query", error, username=True)
    assert symptom.event is event
    assert symptom.result_reason == (12 if isinstance(error, OperationFailed) else None)
    assert symptom.username
