"""keystead.core.probing: the content of a result, and how much of it an account of an SVM may see."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keystead.core import errors
from keystead.core.model import PeerCertificate
from keystead.core.probing import AtFault, ProbeResult, StageResult, TlsIdentity, Whose
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress

SERVER, SECONDARY = ServerAddress.parse("ks1.example.com"), ServerAddress.parse("ks2.example.com")
ACCEPTED = ProbeResult(
    SERVER, None, None, None, None, (StageResult("resolve", "passed", 1.23),), {"address": "192.0.2.1:5696"}
)
BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)
THEIRS = PeerCertificate("ks1", "CA", "1F", BEGAN + timedelta(days=1), BEGAN)
OURS = PeerCertificate("us", "Client CA", "A", BEGAN + timedelta(days=1))


def refused(stage: str, reason: str, server: ServerAddress = SERVER, rule: str | None = None) -> ProbeResult:
    """Return a failure of a stage."""
    stages = (StageResult(stage, "failed", 2.0),)
    learned = {"address": "192.0.2.1:5696"}
    return ProbeResult(SERVER, errors.NETWORK, stage, reason, server, stages, learned, rule=rule)


def test_a_record_says_all() -> None:
    """A full record has code, reason, stages and what was learned."""
    assert ACCEPTED.record() == {
        "server": "ks1.example.com:5696",
        "accepted": True,
        "stages": [{"stage": "resolve", "state": "passed", "elapsed_ms": 1.2}],
        "learned": {"address": "192.0.2.1:5696"},
    }
    assert refused("connect", "connection_refused", SECONDARY).record() == {
        "server": "ks1.example.com:5696",
        "accepted": False,
        "code": "66060341",
        "reason": "connection_refused",
        "failed_server": "ks2.example.com:5696",
        "stages": [{"stage": "connect", "state": "failed", "elapsed_ms": 2.0}],
        "learned": {"address": "192.0.2.1:5696"},
    }


def test_a_record_says_which_certificates_were_shown() -> None:
    """By both sides, once TLS began; and the one at fault."""
    showed = refused("tls", "server_certificate_expired", SERVER)
    shown = replace(showed, certificates=(THEIRS,), client_certificates=(OURS,), at_fault=AtFault(Whose.SERVER, THEIRS))
    theirs = {
        "subject": "ks1",
        "issuer": "CA",
        "serial_number": "1F",
        "start_time": "2026-03-01T12:00:00+00:00",
        "expiry_time": "2026-03-02T12:00:00+00:00",
    }
    record = shown.record()
    assert record["certificates"] == [theirs]
    assert record["client_certificates"] == [
        {"subject": "us", "issuer": "Client CA", "serial_number": "A", "expiry_time": "2026-03-02T12:00:00+00:00"}
    ]
    assert record["at_fault"] == {"whose": "server"} | theirs
    assert set(shown.coarse().record()) == {"server", "accepted", "code", "stage"}
    assert shown.coarse().client_certificates == ()
    before_tls = replace(refused("connect", "connection_refused"), client_certificates=(OURS,)).record()
    assert not {"certificates", "client_certificates", "at_fault"} & set(before_tls)


def test_a_coarse_record_says_code_and_stage() -> None:
    """A coarse record has code and stage, without reason, times and what was learned."""
    assert ACCEPTED.coarse().record() == {"server": "ks1.example.com:5696", "accepted": True}
    assert refused("connect", "connection_refused").coarse().record() == {
        "server": "ks1.example.com:5696",
        "accepted": False,
        "code": "66060341",
        "stage": "connect",
    }


def test_an_address_that_is_not_allowed_looks_like_a_name_that_leads_nowhere() -> None:
    """The two results are equal, so that an SVM's account cannot map a network that it may not reach."""
    forbidden = refused("egress", "address_not_allowed", rule="own_address")
    assert forbidden.coarse() == refused("resolve", "name_not_resolved").coarse()


@pytest.mark.parametrize("address", ["10.0.0.5", "[fd00::5]:5697"])
def test_of_a_forbidden_ip_address_the_stage_is_told(address: str) -> None:
    """It is refused by egress, whichever rule refuses it. No lookup can have failed."""
    server = ServerAddress.parse(address)
    first, second = (
        refused("egress", "address_not_allowed", server, rule).coarse() for rule in ("own_address", "link_local")
    )
    assert first == second
    assert first.record() == {
        "server": "ks1.example.com:5696",
        "accepted": False,
        "code": "66060341",
        "stage": "egress",
        "failed_server": str(server),
    }


def test_the_rule_is_for_accounts_of_the_cluster() -> None:
    """A full record names the egress rule beside the reason."""
    record = refused("egress", "address_not_allowed", rule="own_address").record()
    assert (record["reason"], record["rule"]) == ("address_not_allowed", "own_address")


@pytest.mark.parametrize(
    "change",
    [
        {"certificate": "other"},
        {"private_key": Secret("other")},
        {"intermediates": ("a", "b"), "server_cas": ()},
        {"intermediates": (), "server_cas": ("a", "b")},
        {"intermediates": ("ab",)},
        {"server_cas": ("b", "b")},
    ],
)
def test_the_digest_tells_identities_apart(change: dict[str, Any]) -> None:
    """Each value counts, and where one text ends and the next begins."""
    identity = TlsIdentity("certificate", Secret("key"), ("a",), ("b",))
    assert replace(identity).digest == identity.digest
    assert replace(identity, **change).digest != identity.digest
