"""keystead.core.forwarding.destinations: what may be configured, and which messages wait."""

from __future__ import annotations

from typing import Any

import pytest

from keystead.core import errors
from keystead.core.errors import ErrorKind, OntapError
from keystead.core.forwarding.destinations import (
    MOST_DESTINATIONS,
    Destination,
    Log,
    Progress,
    Protocol,
    audit_destination,
    changed_audit_destination,
    changed_event_destination,
    check_new,
    cursors_in,
    event_destination,
    skipped,
)

HOOK = {"name": "hook", "type": "rest_api", "destination": "https://hook.example.com/in?a=1"}
SYSLOG = {"name": "siem", "type": "syslog", "destination": "log.example.com"}


def refused(call: Any, *arguments: Any) -> tuple[ErrorKind, str | None]:
    """Return kind and target of the error that a call raises."""
    with pytest.raises(OntapError) as caught:
        call(*arguments)
    return caught.value.kind, caught.value.target


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, (Protocol.TCP, 514, "user", False)),
        ({"protocol": "tcp_encrypted"}, (Protocol.TLS, 6514, "user", False)),
        ({"protocol": "tcp_encrypted", "verify_server": True, "port": 99}, (Protocol.TLS, 99, "user", True)),
        ({"facility": "local7"}, (Protocol.TCP, 514, "local7", False)),
    ],
)
def test_defaults_of_audit_destinations(values: dict[str, Any], expected: tuple[Any, ...]) -> None:
    """ONTAP's, but for the protocol: UDP is not served."""
    made = audit_destination({"address": "log.example.com"} | values)
    assert (made.protocol, made.port, made.facility, made.verify_server) == expected


def test_an_audit_destination_is_named_by_its_address_in_normal_form() -> None:
    """So one server is there once, however it is written."""
    names = {audit_destination({"address": each}).name for each in ("Log.Example.COM", "log.example.com.")}
    assert names == {"log.example.com:514"}
    assert audit_destination({"address": "::1"}).name == audit_destination({"address": "[0:0::1]"}).name


@pytest.mark.parametrize("address", ["", "two words", "127.1", "fe80::1%eth0", "a..b", "log.example.com:514"])
def test_bad_addresses(address: str) -> None:
    """Nothing is guessed."""
    assert refused(audit_destination, {"address": address}) == (errors.INVALID_VALUE, "address")


def test_only_tls_verifies_a_server() -> None:
    """ONTAP: "Can only be true when protocol is tcp_encrypted"; also in PATCH."""
    plain = audit_destination({"address": "log.example.com"})
    wanted = (errors.INVALID_VALUE, "verify_server")
    assert refused(audit_destination, {"address": "log.example.com", "verify_server": True}) == wanted
    assert refused(changed_audit_destination, plain, {"verify_server": True}) == wanted
    assert changed_audit_destination(plain, {"facility": "kern"}).facility == "kern"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, (Protocol.TCP, "log.example.com", 514)),
        ({"syslog": {"transport": "tcp_encrypted"}}, (Protocol.TLS, "log.example.com", 6514)),
        ({"syslog": {"transport": "tcp_encrypted", "port": 1514}}, (Protocol.TLS, "log.example.com", 1514)),
        ({"syslog": {}}, (Protocol.TCP, "log.example.com", 514)),
    ],
)
def test_syslog_destinations_of_events(values: dict[str, Any], expected: tuple[Any, ...]) -> None:
    """They always verify a server of TLS."""
    made = event_destination(SYSLOG | values)
    assert (made.protocol, made.host, made.port) == expected
    assert made.verify_server
    assert (made.address, made.path) == (f"{expected[1]}:{expected[2]}", "")


def test_a_changed_transport_keeps_a_port_that_was_there() -> None:
    """Only what is named changes."""
    changed = changed_event_destination(event_destination(SYSLOG), {"syslog": {"transport": "tcp_encrypted"}})
    assert (changed.protocol, changed.port) == (Protocol.TLS, 514)
    assert changed_event_destination(changed, {"filters": [{"name": "a"}, {"name": "b"}]}).filters == ("a", "b")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://hook.example.com", ("hook.example.com", 443, "/")),
        ("https://hook.example.com:8443/in?a=1&b=2", ("hook.example.com", 8443, "/in?a=1&b=2")),
        ("HTTPS://[2001:db8::1]/", ("2001:db8::1", 443, "/")),
    ],
)
def test_webhooks(url: str, expected: tuple[Any, ...]) -> None:
    """A URL is kept as it was written."""
    made = event_destination(HOOK | {"destination": url})
    assert (made.host, made.port, made.path) == expected
    assert made.url == url


URLS = {
    "http://hook.example.com/": errors.EMS_URL_SCHEME,
    "hook.example.com": errors.EMS_URL_SCHEME,
    "": errors.EMS_URL_SCHEME,
    "https://": errors.EMS_URL_INVALID,
    "https://user:secret@hook.example.com/": errors.EMS_URL_INVALID,
    "https://user@hook.example.com/": errors.EMS_URL_INVALID,
    "https://hook.example.com/#part": errors.EMS_URL_INVALID,
    "https://hook.example.com:99999/": errors.EMS_URL_INVALID,
    "https://hook.example.com/a b": errors.EMS_URL_INVALID,
    "https://hook.example.com/\r\nX: 1": errors.EMS_URL_INVALID,
    "https://hook.example.com/\N{SNOWMAN}": errors.EMS_URL_INVALID,
    "https://127.1/": errors.EMS_URL_INVALID,
    "https://[fe80::1%25eth0]/": errors.EMS_URL_INVALID,
    "https://[::1/": errors.EMS_URL_INVALID,
    f"https://hook.example.com/{'x' * 3000}": errors.EMS_URL_INVALID,
}


@pytest.mark.parametrize("url", URLS)
def test_bad_urls(url: str) -> None:
    """Only https, and nothing that is secret or ambiguous."""
    assert refused(event_destination, HOOK | {"destination": url}) == (URLS[url], "destination")


@pytest.mark.parametrize(
    ("values", "kind", "target"),
    [
        (SYSLOG | {"name": "a"}, errors.EMS_NAME_INVALID, "name"),
        (SYSLOG | {"name": "-ab"}, errors.EMS_NAME_INVALID, "name"),
        (SYSLOG | {"name": "a b"}, errors.EMS_NAME_INVALID, "name"),
        (SYSLOG | {"name": "x" * 65}, errors.EMS_NAME_INVALID, "name"),
        (SYSLOG | {"destination": "a b"}, errors.INVALID_VALUE, "destination"),
        (SYSLOG | {"certificate": {"ca": "a"}}, errors.EMS_CERTIFICATE_NOT_OF_TYPE, "certificate"),
        (HOOK | {"syslog": {"port": 514}}, errors.EMS_NOT_OF_TYPE, "syslog"),
    ],
)
def test_what_destinations_of_events_refuse(values: dict[str, Any], kind: ErrorKind, target: str) -> None:
    """With ONTAP's codes."""
    assert refused(event_destination, values) == (kind, target)


def test_new_destinations() -> None:
    """A name is there once in each log, and a log has so many destinations at most."""
    made = event_destination(SYSLOG)
    check_new(made, [])
    assert refused(check_new, made, [made]) == (errors.DUPLICATE_ENTRY, "name")
    others = [event_destination(SYSLOG | {"name": f"n{number}"}) for number in range(MOST_DESTINATIONS)]
    check_new(made, others[1:])
    assert refused(check_new, made, others) == (errors.DESTINATION_LIMIT, None)


def test_cursors_of_new_nodes_and_of_new_logs_are_at_the_beginning() -> None:
    """A node that came later has a log of its own; an index beyond a log is of a database before a restore."""
    progress = Progress({"n1": 5, "n2": 9, "gone": 3})
    assert cursors_in(progress, {"n1": 7, "n2": 4, "n3": 2}) == {"n1": 5, "n2": 0, "n3": 0}


@pytest.mark.parametrize(
    ("log", "cursors", "heads", "kept", "dropped"),
    [
        (Log.AUDIT, {"a": 0}, {"a": 100_000}, {"a": 0}, 0),
        (Log.AUDIT, {"a": 0}, {"a": 100_007}, {"a": 7}, 7),
        (Log.AUDIT, {"a": 0, "b": 5}, {"a": 60_000, "b": 6}, {"a": 10_000, "b": 5}, 10_000),
        (Log.EVENTS, {"a": 3}, {"a": 10_010}, {"a": 10}, 7),
        (Log.EVENTS, {}, {}, {}, 0),
    ],
)
def test_what_waits_beyond_the_limit_is_dropped(
    log: Log, cursors: dict[str, int], heads: dict[str, int], kept: dict[str, int], dropped: int
) -> None:
    """100,000 audit records, which all nodes share; of events, what their node keeps."""
    assert skipped(log, cursors, heads) == (kept, dropped)


def test_the_address_for_logs_tells_no_path() -> None:
    """The path of a webhook may be its only secret."""
    made: Destination = event_destination(HOOK)
    assert made.address == "hook.example.com:443"
