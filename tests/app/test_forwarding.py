"""A real ``serve`` forwards to a real rsyslog, and loses nothing when it is killed."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.peers import rsyslog
from tests.peers.certificates import Authority
from tests.peers.collector import Collector, index_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.peers.keystead import Client, Installation

DESTINATIONS = "/security/audit/destinations"
WAIT_S = 90
needs_rsyslog = pytest.mark.skipif(bool(rsyslog.MISSING), reason=f"there is no {rsyslog.MISSING} on this machine")


def wait_for(done: Callable[[], Any]) -> None:
    """Return once something holds; TimeoutError after a while."""
    end = time.monotonic() + WAIT_S
    while not done():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.05)


def make_svms(call: Client, count: int) -> list[str]:
    """Make SVMs, each with an audit record, and return their names."""
    return [call.create("/svm/svms", {"name": uuid4().hex})["name"] for _ in range(count)]


def shown(line: str) -> dict[str, Any]:
    """Return the audit record of a line."""
    found: dict[str, Any] = json.loads(line[line.index("{") :])
    return found


@needs_rsyslog
@pytest.mark.parametrize("encrypted", [False, True], ids=["tcp", "tls"])
def test_rsyslog_gets_every_audit_record(installation: Installation, tmp_path: Path, encrypted: bool) -> None:
    """It parses what ``/security/audit/messages`` shows, with the same masks, in order and once."""
    ca = Authority("Log CA")
    with (
        rsyslog.collecting(tmp_path / "rsyslog", ca.issue() if encrypted else None, ca.pem) as collecting,
        installation.serving() as service,
        service.client() as call,
    ):
        call.create("/security/certificates", {"type": "server_ca", "public_certificate": ca.pem})
        way = {"protocol": "tcp_encrypted", "verify_server": True} if encrypted else {}
        call.create(DESTINATIONS, {"address": "127.0.0.1", "port": collecting.port} | way)
        assert call("POST", "/security/accounts", {"name": "other", "password": "canary-1234"}).status == 400
        make_svms(call, 40)
        wait_for(lambda: len(collecting.lines) >= 42)
        lines = collecting.lines
        fields = "index,timestamp,node.name,application,location,user,role,input,state,code,message,svm.name"
        records = call("GET", f"/security/audit/messages?fields={fields}&order_by=index").body["records"]
    assert [index_of(line) for line in lines] == [*range(3, 45)]
    assert "canary" not in "".join(lines)
    for line, record in zip(lines, records[2:], strict=True):
        flat = {
            name: record[name]["name"] if name in {"node", "svm"} else record[name]
            for name in record
            if name != "_links"
        }
        assert shown(line) == flat
        state, node = flat["state"], flat["node"]
        assert line.startswith(f"{14 if state == 'success' else 12} {node} keystead audit [meta sequenceId=")


@needs_rsyslog
def test_rsyslog_with_a_certificate_of_another_ca_gets_nothing(installation: Installation, tmp_path: Path) -> None:
    """The reason is in the attention list, with the command that helps; once the CA is trusted, everything arrives."""
    ca = Authority("Log CA")
    with (
        rsyslog.collecting(tmp_path / "rsyslog", ca.issue(), ca.pem) as collecting,
        installation.serving() as service,
        service.client() as call,
    ):
        way = {"protocol": "tcp_encrypted", "verify_server": True}
        call.create(DESTINATIONS, {"address": "127.0.0.1", "port": collecting.port} | way)

        def items() -> list[dict[str, Any]]:
            found = call("GET", "/support/attention?subject=destination&fields=*").body["records"]
            return [each for each in found if each["name"] == f"127.0.0.1:{collecting.port}"]

        wait_for(items)
        (item,) = items()
        assert "its certificate is from a CA that the cluster does not trust" in item["reason"]
        assert item["command"] == "keystead security audit destination show"
        assert item["since"]
        assert collecting.lines == []
        call.create("/security/certificates", {"type": "server_ca", "public_certificate": ca.pem})
        wait_for(lambda: len(collecting.lines) >= 2)
        wait_for(lambda: not items())
        assert [index_of(line) for line in collecting.lines][:2] == [2, 3]


HURRIED = ("keystead.app.wiring:LEASE_LENGTH=3", "keystead.service.forwarding.delivery:TAKE_S=1")
"""The next process waits until the lease of the one that was killed has expired."""


@pytest.mark.parametrize(
    ("seconds", "times"), [(1.2, HURRIED), pytest.param(2.3, (), marks=pytest.mark.long)], ids=["1.2", "2.3"]
)
def test_nothing_is_lost_when_the_service_is_killed(
    installation: Installation, seconds: float, times: tuple[str, ...]
) -> None:
    """``kill -9`` while calls are answered and records are forwarded: all arrive, in order, perhaps some twice."""
    collector = Collector()
    made: list[str] = []
    with collector.running():
        serve = installation.hurried(*times)
        with installation.serving(serve) as service, service.client() as call:
            call.create(DESTINATIONS, {"address": "127.0.0.1", "port": collector.port})
            wait_for(lambda: collector.messages)
            killer = threading.Timer(seconds, service.kill)
            killer.start()
            with contextlib.suppress(OSError, http.client.HTTPException):
                while True:
                    made += make_svms(call, 1)
            killer.join()
        before = len(collector.messages)
        with installation.serving(serve) as service, service.client() as call:
            made += make_svms(call, 1)
            last = call("GET", "/security/audit/messages?order_by=index%20desc&max_records=1&fields=index").body
            wait_for(lambda: last["records"][0]["index"] in collector.indexes)
    order = [*dict.fromkeys(collector.indexes)]
    assert order == [*range(2, order[-1] + 1)]
    assert {each.get("svm") for each in collector.records} >= {*made}
    assert 1 < before < len(order)
