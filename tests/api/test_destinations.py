"""``/security/audit/destinations`` and ``/support/ems/{destinations,filters}``: fields, refusals, and who sees what."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.forwarding.destinations import Log, Progress
from keystead.core.model import Account, AuditRecord, Role, Svm
from keystead.service.ports.page import Page
from tests.peers.asgi import AsgiClient, Response, assert_error
from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki

AUDIT = "/api/security/audit/destinations"
DESTINATIONS = "/api/support/ems/destinations"
FILTERS = "/api/support/ems/filters"
PLAIN = {"accept": "application/json"}
SYSLOG = {"name": "siem", "type": "syslog", "destination": "log.example.com", "filters": [{"name": "important-events"}]}
HOOK = {"name": "hook", "type": "rest_api", "destination": "https://hook.example.com/in"}
ALERTS = {"type": "include", "message_criteria": {"severities": "alert"}}
REST = {
    "type": "exclude",
    "message_criteria": {"name_pattern": "*", "severities": "*", "snmp_trap_types": "*"},
    "parameter_criteria": [{"name_pattern": "*", "value_pattern": "*"}],
}


def is_refused(answer: Response, kind: errors.ErrorKind, target: str | None = None) -> None:
    """Assert that an answer is this error; its target counts only if one is given."""
    assert answer.status == kind.status, answer.content
    assert_error(answer, kind, target or answer.body["error"].get("target"))


async def shown(api: Api, path: str) -> Any:
    """Return an object with all its fields."""
    answer = await api.admin.get(f"{path}?fields=**", headers=PLAIN)
    assert answer.status == 200, answer.content
    return answer.body


# --- of the audit log ---


async def test_an_audit_destination_from_its_creation_to_its_end(api: Api) -> None:
    """The defaults are ONTAP's, but for UDP; a change keeps what is not named."""
    created = await api.admin.post(AUDIT, {"address": "log.example.com", "ipspace": {"name": "Default"}, "force": True})
    assert created.status == 201
    place = created.headers["location"]
    assert place == f"{AUDIT}/log.example.com/514"
    expected = {
        "address": "log.example.com",
        "port": 514,
        "protocol": "tcp_unencrypted",
        "facility": "user",
        "verify_server": False,
        "ipspace": {"name": "Default"},
        "message_format": "rfc_5424",
        "timestamp_format_override": "no_override",
        "hostname_format_override": "no_override",
        "delivery": {"dropped": 0},
    }
    assert await shown(api, place) == expected
    assert (await api.admin.patch(place, {"facility": "local3", "message_format": "rfc_5424"})).status == 200
    assert await shown(api, place) == expected | {"facility": "local3"}
    listed = await api.admin.get(f"{AUDIT}?address=log*&facility=local3", headers=PLAIN)
    assert listed.body["records"] == [{"address": "log.example.com", "port": 514, "facility": "local3"}]
    assert (await api.admin.delete(f"{place}?return_timeout=3")).status == 200
    is_refused(await api.admin.get(place), errors.ENTRY_NOT_FOUND)


async def test_addresses_of_ipv6_in_a_path(api: Api) -> None:
    """The address is compared by value."""
    made = {"address": "2001:db8::1", "port": 6514, "protocol": "tcp_encrypted", "verify_server": True}
    assert (await api.admin.post(f"{AUDIT}?force=true", made)).status == 201
    for written in ("2001:db8::1", "2001%3Adb8%3A0%3A%3A1", "[2001:db8::1]"):
        assert (await api.admin.get(f"{AUDIT}/{written}/6514")).status == 200
    is_refused(await api.admin.get(f"{AUDIT}/2001:db8::1/514"), errors.ENTRY_NOT_FOUND)
    is_refused(await api.admin.get(f"{AUDIT}/no address/514"), errors.ENTRY_NOT_FOUND)
    is_refused(await api.admin.get(f"{AUDIT}/2001:db8::1/99999"), errors.ENTRY_NOT_FOUND)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({}, errors.MISSING_VALUE),
        ({"address": "a b"}, errors.INVALID_VALUE),
        ({"address": "log.example.com", "protocol": "udp_unencrypted"}, errors.INVALID_FIELD_VALUE),
        ({"address": "log.example.com", "message_format": "legacy_netapp"}, errors.INVALID_FIELD_VALUE),
        ({"address": "log.example.com", "timestamp_format_override": "rfc_3164"}, errors.INVALID_FIELD_VALUE),
        ({"address": "log.example.com", "hostname_format_override": "fqdn"}, errors.INVALID_FIELD_VALUE),
        ({"address": "log.example.com", "facility": "daemon"}, errors.INVALID_FIELD_VALUE),
        ({"address": "log.example.com", "port": 0}, errors.INVALID_FIELD_VALUE),
        ({"address": "log.example.com", "verify_server": True}, errors.INVALID_VALUE),
        ({"address": "log.example.com", "ipspace": {"name": "storage"}}, errors.INVALID_FIELD_VALUE),
        ({"address": "log.example.com", "ipspace": {"uuid": "1"}}, errors.FIELD_NOT_SETTABLE),
        ({"address": "169.254.169.254"}, errors.INVALID_VALUE),
        ({"address": "224.0.0.1"}, errors.INVALID_VALUE),
        ({"address": "::ffff:169.254.169.254"}, errors.INVALID_VALUE),
    ],
)
async def test_what_is_refused_changes_nothing(api: Api, body: dict[str, Any], kind: errors.ErrorKind) -> None:
    """UDP, other formats, addresses that the egress rules refuse, and nonsense."""
    is_refused(await api.admin.post(AUDIT, body), kind)
    assert await api.store.read(lambda tx: tx.destinations()) == ()


async def test_a_destination_is_there_once(api: Api) -> None:
    """The spelling does not matter; the protocol of one that is there does not change."""
    assert (await api.admin.post(AUDIT, {"address": "log.example.com"})).status == 201
    again = await api.admin.post(AUDIT, {"address": "LOG.example.com.", "port": 514})
    is_refused(again, errors.DUPLICATE_ENTRY, target="address")
    assert (await api.admin.post(AUDIT, {"address": "log.example.com", "port": 515})).status == 201
    path = f"{AUDIT}/log.example.com/514"
    is_refused(await api.admin.patch(path, {"protocol": "tcp_encrypted"}), errors.FIELD_NOT_SETTABLE)
    is_refused(await api.admin.patch(path, {"verify_server": True}), errors.INVALID_VALUE, target="verify_server")


async def test_there_are_not_too_many(api: Api) -> None:
    """Twenty of each log."""
    for number in range(20):
        assert (await api.admin.post(AUDIT, {"address": f"log{number}.example.com"})).status == 201
    is_refused(await api.admin.post(AUDIT, {"address": "log.example.com"}), errors.DESTINATION_LIMIT)
    assert (await api.admin.post(DESTINATIONS, SYSLOG)).status == 201
    removed = await api.admin.delete(f"{AUDIT}?address=log*")
    assert (removed.status, removed.body["num_records"]) == (200, 20)


async def test_progress_is_shown(api: Api) -> None:
    """A destination tells what it lacks, and why, until it works again."""
    assert (await api.admin.post(AUDIT, {"address": "log.example.com"})).status == 201
    assert (await api.admin.post(DESTINATIONS, HOOK)).status == 201

    def fail(tx: Transaction) -> datetime:
        (record, *_) = tx.page(AuditRecord, Page())
        for each in tx.destinations():
            failed = Progress({}, record.timestamp, "it answers HTTP 500", 9, record.timestamp)
            tx.put_destination(replace(each, progress=failed))
        return record.timestamp

    time = (await api.store.write(fail)).isoformat()
    expected = {"failing_since": time, "reason": "it answers HTTP 500", "dropped": 9, "dropped_at": time}
    assert (await shown(api, f"{AUDIT}/log.example.com/514"))["delivery"] == expected
    hook = await shown(api, f"{DESTINATIONS}/hook")
    failed = {"state": "fail", "errors": [{"message": {"message": "it answers HTTP 500"}}]}
    assert (hook["delivery"], hook["connectivity"]) == (expected, failed)


# --- of events ---


async def test_a_syslog_destination_of_events(api: Api) -> None:
    """Its members, and a change in ONTAP's and in the dotted form that Ansible sends."""
    assert (await api.admin.post(DESTINATIONS, SYSLOG)).status == 201
    path = f"{DESTINATIONS}/siem"
    expected = SYSLOG | {
        "syslog": {
            "transport": "tcp_unencrypted",
            "port": 514,
            "format": {"message": "rfc_5424", "timestamp_override": "no_override", "hostname_override": "no_override"},
        },
        "connectivity": {"state": "success"},
        "system_defined": False,
        "delivery": {"dropped": 0},
    }
    assert await shown(api, path) == expected
    dotted = {"syslog": {}, "syslog.transport": "tcp_encrypted", "syslog.port": 6514, "filters": []}
    assert (await api.admin.patch(path, dotted)).status == 200
    found = await shown(api, path)
    assert (found["syslog"]["transport"], found["syslog"]["port"]) == ("tcp_encrypted", 6514)
    assert found["filters"] == []
    is_refused(await api.admin.patch(path, {"type": "rest_api"}), errors.EMS_TYPE_FIXED, target="type")
    assert (await api.admin.delete(path)).status == 200
    assert (await api.admin.get(DESTINATIONS, headers=PLAIN)).body["records"] == []


async def test_a_webhook_with_a_client_certificate(api: Api, pki: Pki) -> None:
    """Named by its issuer and serial number; only the cluster's, with a key; shown by name, too."""
    installed = {
        "type": "client",
        "name": "mine",
        "public_certificate": pki.client.certificate_pem,
        "private_key": pki.client.key_pem,
    }
    assert (await api.admin.post("/api/security/certificates", installed)).status == 201
    (found,) = (await api.admin.get("/api/security/certificates?name=mine&fields=ca,serial_number")).body["records"]
    named = {"ca": found["ca"], "serial_number": found["serial_number"]}
    for certificate, kind in (
        ({"ca": named["ca"]}, errors.EMS_CERTIFICATE_INCOMPLETE),
        ({"serial_number": "1"}, errors.EMS_CERTIFICATE_INCOMPLETE),
        (named | {"serial_number": "1"}, errors.EMS_CERTIFICATE_NOT_FOUND),
    ):
        is_refused(await api.admin.post(DESTINATIONS, HOOK | {"certificate": certificate}), kind)
    assert (await api.admin.post(DESTINATIONS, HOOK | {"certificate": named})).status == 201
    linked = await api.admin.get(f"{DESTINATIONS}?fields=certificate,filters")
    assert linked.status == 200, linked.content
    shown_ = (await shown(api, f"{DESTINATIONS}/hook"))["certificate"]
    assert shown_ == named | {"name": "mine"}
    assert (await api.admin.patch(f"{DESTINATIONS}/hook", {"destination": "https://other.example.com"})).status == 200
    assert (await shown(api, f"{DESTINATIONS}/hook"))["certificate"] == shown_
    is_refused(await api.admin.post(DESTINATIONS, SYSLOG | {"certificate": named}), errors.EMS_CERTIFICATE_NOT_OF_TYPE)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (SYSLOG | {"type": "email", "destination": "a@example.com"}, errors.INVALID_FIELD_VALUE),
        (SYSLOG | {"type": "snmp"}, errors.INVALID_FIELD_VALUE),
        (SYSLOG | {"syslog": {"transport": "udp_unencrypted"}}, errors.INVALID_FIELD_VALUE),
        (SYSLOG | {"syslog": {"format": {"message": "legacy_netapp"}}}, errors.INVALID_FIELD_VALUE),
        (SYSLOG | {"name": "a b"}, errors.EMS_NAME_INVALID),
        (SYSLOG | {"destination": "127.0.0.1.example.com:1"}, errors.INVALID_VALUE),
        (SYSLOG | {"destination": "169.254.169.254"}, errors.INVALID_VALUE),
        (SYSLOG | {"filters": [{"name": "nosuch"}]}, errors.EMS_FILTER_NOT_FOUND),
        (HOOK | {"destination": "http://hook.example.com/"}, errors.EMS_URL_SCHEME),
        (HOOK | {"destination": "https://a:b@hook.example.com/"}, errors.EMS_URL_INVALID),
        (HOOK | {"destination": "https://169.254.169.254/latest"}, errors.INVALID_VALUE),
        (HOOK | {"syslog": {"port": 1}}, errors.EMS_NOT_OF_TYPE),
        ({"name": "hook", "type": "rest_api"}, errors.MISSING_VALUE),
    ],
)
async def test_what_destinations_of_events_refuse(api: Api, body: dict[str, Any], kind: errors.ErrorKind) -> None:
    """And nothing is stored."""
    is_refused(await api.admin.post(DESTINATIONS, body), kind)
    assert await api.store.read(lambda tx: tx.destinations(Log.EVENTS)) == ()


async def test_a_password_in_a_url_is_in_no_record(api: Api) -> None:
    """The URL is refused; its password is masked in the audit log, and so is one in any other text."""
    secret = HOOK | {"destination": "https://user:canary-1@hook.example.com/"}
    assert (await api.admin.post(DESTINATIONS, secret)).status == 400
    assert (await api.admin.post(DESTINATIONS, SYSLOG | {"destination": "x://user:canary-2@h"})).status == 400
    records = await api.store.read(lambda tx: tx.page(AuditRecord, Page()))
    assert "canary" not in repr(records)
    assert "https://***@hook.example.com/" in repr(records)


# --- filters ---


async def test_a_filter_and_its_rules(api: Api) -> None:
    """Created with rules, changed as a whole and rule by rule; the last rule is always there, and is not written."""
    created = await api.admin.post(FILTERS, {"name": "mine", "rules": [ALERTS | {"index": 1}]})
    assert created.status == 201
    path = f"{FILTERS}/mine"
    first = {"index": 1, "type": "include"} | {
        "message_criteria": {"name_pattern": "*", "severities": "alert", "snmp_trap_types": "*"},
        "parameter_criteria": [{"name_pattern": "*", "value_pattern": "*"}],
    }
    assert await shown(api, path) == {"name": "mine", "system_defined": False, "rules": [first, {"index": 2} | REST]}
    added = await api.admin.post(f"{path}/rules", {"type": "exclude", "message_criteria": {"name_pattern": "km.*"}})
    assert added.status == 201
    assert added.headers["location"] == f"{path}/rules/2"
    assert (await api.admin.post(f"{path}/rules", ALERTS | {"index": 9})).status == 400
    assert (await api.admin.patch(f"{path}/rules/1", {"message_criteria": {"severities": "error"}})).status == 200
    rules = (await api.admin.get(f"{path}/rules?fields=*", headers=PLAIN)).body["records"]
    assert [(each["type"], each["message_criteria"]["severities"]) for each in rules] == [
        ("include", "error"),
        ("exclude", "*"),
        ("exclude", "*"),
    ]
    assert (await api.admin.get(f"{path}/rules/3", headers=PLAIN)).body["index"] == 3
    is_refused(await api.admin.get(f"{path}/rules/4"), errors.ENTRY_NOT_FOUND)
    is_refused(await api.admin.delete(f"{path}/rules/3"), errors.EMS_RULE_INDEX)
    assert (await api.admin.delete(f"{path}/rules/1")).status == 200
    written_back = (await shown(api, path))["rules"]
    assert (await api.admin.patch(path, {"rules": written_back})).status == 200
    assert (await shown(api, path))["rules"] == written_back
    assert (await api.admin.delete(path)).status == 200
    is_refused(await api.admin.get(f"{path}/rules"), errors.ENTRY_NOT_FOUND)


async def test_a_filter_in_use_stays(api: Api) -> None:
    """Its destinations are named."""
    assert (await api.admin.post(FILTERS, {"name": "mine"})).status == 201
    assert (await api.admin.post(DESTINATIONS, SYSLOG | {"filters": [{"name": "mine"}]})).status == 201
    refused = await api.admin.delete(f"{FILTERS}/mine")
    is_refused(refused, errors.IN_USE, target="name")
    assert refused.body["error"]["arguments"] == [{"code": "destination", "message": "siem"}]


async def test_the_systems_filters_stay(api: Api) -> None:
    """They are listed, and neither changed nor deleted."""
    listed = (await api.admin.get(f"{FILTERS}?system_defined=true", headers=PLAIN)).body["records"]
    assert [each["name"] for each in listed] == ["important-events", "no-info-debug-events"]
    path = f"{FILTERS}/important-events"
    for answer in (
        await api.admin.delete(path),
        await api.admin.patch(path, {"rules": [ALERTS]}),
        await api.admin.post(f"{path}/rules", ALERTS),
        await api.admin.delete(f"{path}/rules/1"),
    ):
        is_refused(answer, errors.EMS_SYSTEM_FILTER)
    is_refused(await api.admin.post(FILTERS, {"name": "important-events"}), errors.DUPLICATE_ENTRY)


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ({"type": "include"}, errors.EMS_RULE_EMPTY),
        ({"message_criteria": {"severities": "alert"}}, errors.MISSING_VALUE),
        (ALERTS | {"type": "perhaps"}, errors.INVALID_FIELD_VALUE),
        (ALERTS | {"message_criteria": {"severities": "bad"}}, errors.INVALID_VALUE),
        (ALERTS | {"parameter_criteria": [{"name_pattern": "a", "value_pattern": "*"}]}, errors.INVALID_FIELD_VALUE),
        (ALERTS | {"parameter_criteria": [{"name_pattern": "*", "value_pattern": "b"}]}, errors.INVALID_FIELD_VALUE),
        (ALERTS | {"message_criteria": {"snmp_trap_types": "standard"}}, errors.INVALID_FIELD_VALUE),
    ],
)
async def test_bad_rules(api: Api, rule: dict[str, Any], kind: errors.ErrorKind) -> None:
    """In a new filter, and as a rule of one."""
    assert (await api.admin.post(FILTERS, {"name": "mine"})).status == 201
    is_refused(await api.admin.post(f"{FILTERS}/mine/rules", rule), kind)
    is_refused(await api.admin.post(FILTERS, {"name": "other", "rules": [rule]}), kind)
    assert [each.name for each in await api.store.read(lambda tx: tx.event_filters())] == ["mine"]


# --- who ---


async def test_a_call_that_is_confined_to_an_svm_finds_nothing(api: Api) -> None:
    """Neither an SVM's account (forbidden) nor one of the cluster that tunnels to an SVM (not there)."""
    svm = Svm("11111111-1111-4111-8111-111111111111", "vs1")

    def fill(tx: Transaction) -> None:
        admin = tx.account("admin")
        assert admin is not None
        tx.add_svm(svm)
        tx.put_account(Account("vs1admin", Role.VSADMIN, admin.password_hash, svm=svm))

    await api.store.write(fill)
    assert (await api.admin.post(AUDIT, {"address": "log.example.com"})).status == 201
    assert (await api.admin.post(DESTINATIONS, SYSLOG)).status == 201
    vsadmin = AsgiClient(api.admin.app, "vs1admin", PASSWORD)
    for path in (AUDIT, f"{AUDIT}/log.example.com/514", DESTINATIONS, f"{DESTINATIONS}/siem", FILTERS):
        is_refused(await vsadmin.get(path), errors.NOT_AUTHORIZED)
        tunnelled = await api.admin.get(path, headers={"x-dot-svm-name": "vs1"})
        is_refused(tunnelled, errors.ENTRY_NOT_FOUND)
    for path, body in ((AUDIT, {"address": "b.example.com"}), (DESTINATIONS, HOOK), (FILTERS, {"name": "mine"})):
        refused = await api.admin.post(path, body, headers={"x-dot-svm-name": "vs1"})
        is_refused(refused, errors.ENTRY_NOT_FOUND)
    assert len(await api.store.read(lambda tx: tx.destinations())) == 2


async def test_changes_are_audited(api: Api) -> None:
    """With host and port, and without the path of a webhook in the message."""
    assert (await api.admin.post(DESTINATIONS, HOOK)).status == 201
    assert (await api.admin.post(FILTERS, {"name": "mine"})).status == 201
    records = await api.store.read(lambda tx: tx.page(AuditRecord, Page()))
    assert [each.message for each in records[-2:]] == [
        "created a destination of the log events: hook.example.com:443",
        "stored the event filter mine",
    ]
