"""Jobs that go on after ``kill -9`` of a real ``keystead serve``: in the next process, or on another node."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from keystead.app.initialise import initialise
from keystead.core import errors
from keystead.settings import Settings
from keystead.testing.key_servers import KeyServers
from tests.peers.keystead import PASSWORD, Client, Installation, Service, create_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.peers.postgres import PostgresServer

KEYS = 20
END_S = 40
LEASE_S = 60


@pytest.fixture(scope="module")
def servers() -> Iterator[KeyServers]:
    """One key server."""
    with KeyServers(1) as running:
        yield running


def serving(installation: Installation, lease_s: float = 0) -> AbstractContextManager[Service]:
    """Serve with jobs of many steps."""
    command = installation.command("serve", "--listen", "127.0.0.1:0")[3:]
    return installation.serving([sys.executable, "-m", "tests.peers.small_steps", str(lease_s), *command])


def with_keys(call: Client, servers: KeyServers) -> str:
    """Make the cluster's key manager and its keys; return its path."""
    made = [
        call.create("/security/certificates", body)["uuid"]
        for body in (
            {
                "type": "client",
                "public_certificate": servers.client.certificate_pem,
                "private_key": servers.client.key_pem,
            },
            *({"type": "server_ca", "public_certificate": ca} for ca in sorted({server.ca for server in servers})),
        )
    ]
    external = {
        "client_certificate": {"uuid": made[0]},
        "server_ca_certificates": [{"uuid": uuid} for uuid in made[1:]],
        "servers": [{"server": server.address} for server in servers],
    }
    path = f"/security/key-managers/{call.create('/security/key-managers', {'external': external})['uuid']}"
    for number in range(KEYS):
        create_key(call, path, f"key {number}")
    return path


def begun(call: Client, path: str) -> str:
    """Begin a proof; return the job's path when it has done some steps, and has many to do."""
    answer = call("POST", f"{path}/prove")
    assert answer.status == 202, answer.content
    job = f"/cluster/jobs/{answer.body['job']['uuid']}"
    found = until(call, job, lambda shown: shown["progress"]["done"] >= 3)
    assert found["progress"]["done"] < KEYS
    return job


def until(call: Client, job: str, holds: Callable[[dict[str, Any]], bool], within_s: float = END_S) -> dict[str, Any]:
    """Return a job, once something holds of it."""
    deadline = time.monotonic() + within_s
    while not holds(shown := call.get(job)):
        assert time.monotonic() < deadline, shown
        time.sleep(0.002)
    found: dict[str, Any] = shown
    return found


def is_a_success(shown: dict[str, Any]) -> bool:
    """Return True for a job that succeeded; fail for one that failed."""
    assert shown["state"] != "failure", shown
    return bool(shown["state"] == "success")


def assert_one_report(call: Client, path: str, job: dict[str, Any], began_before: str) -> None:
    """There is one report: of all keys, each once, and of the whole time.

    One key may be unreachable: its read was broken off by the fault, and was noted before the process ended.
    """
    (listed,) = call.get(f"{path}/key-reports?fields=**")["records"]
    broken_off = listed["unreadable"]
    assert broken_off in {0, 1}
    assert (listed["keys"], listed["failures"]) == (KEYS, broken_off)
    document = json.loads(call.get(listed["_links"]["self"]["href"].removeprefix("/api"))["document"])
    results = document["report"]["servers"][0]["results"]
    assert results == {"proven": KEYS - broken_off} | ({"unreachable": 1} if broken_off else {})
    assert document["report"]["began"] < began_before
    assert job["progress"] == {"done": KEYS, "total": KEYS}
    said = call.get("/security/audit/messages?fields=message&message=read*")["records"]
    assert [each["message"] for each in said] == [f"read {KEYS} keys, {broken_off} unreadable, {broken_off} failures"]


def test_a_killed_process_goes_on(installation: Installation, servers: KeyServers) -> None:
    """The next process of the node goes on at once, where the last one was."""
    with serving(installation) as service, service.client() as call:
        path = with_keys(call, servers)
        job = begun(call, path)
        servers[0].break_("silent")
        before = call.get(job)
        service.kill()
    servers[0].heal()
    with serving(installation) as service, service.client() as call:
        until(call, job, lambda shown: shown["progress"]["done"] >= before["progress"]["done"])
        done = until(call, job, is_a_success)
        assert_one_report(call, path, done, done["end_time"])
        assert done["start_time"] == before["start_time"]


def test_a_stopped_process_goes_on(installation: Installation, servers: KeyServers) -> None:
    """SIGTERM: the process ends as fast as ever, and the next one finds the job queued and ends it."""
    with serving(installation) as service, service.client() as call:
        path = with_keys(call, servers)
        job = begun(call, path)
        servers[0].break_("silent")
        before = call.get(job)["progress"]["done"]
        service.signal(signal.SIGTERM)
        assert service.wait(END_S) == 0
    servers[0].heal()
    with serving(installation) as service, service.client() as call:
        assert call.get(job)["progress"]["done"] >= before
        assert_one_report(call, path, until(call, job, is_a_success), "9")


@pytest.mark.parametrize("lease_s", [3, pytest.param(0, marks=pytest.mark.long)], ids=["short lease", "the lease"])
def test_another_node_takes_over(postgres: PostgresServer, tmp_path: Path, servers: KeyServers, lease_s: float) -> None:
    """A second node over the same database goes on with a job of the one that was killed. It can be steered there."""
    with postgres.database() as url, ExitStack() as held:
        first, second = (Settings(data=tmp_path / name, database=url) for name in ("one", "two"))
        initialise(first, PASSWORD.encode(), terminal=False)
        second.data.mkdir()
        shutil.copy(first.data / "root.key", second.data)
        initialise(second, None, terminal=False)
        one, two = (held.enter_context(serving(Installation(each.data, url), lease_s)) for each in (first, second))
        call, other = held.enter_context(one.client()), held.enter_context(two.client())
        path = with_keys(call, servers)
        job = begun(call, path)
        servers[0].break_("silent")
        before = call.get(job)
        one.kill()
        killed = time.monotonic()
        assert other("PATCH", f"{job}?action=pause").status == 200
        servers[0].heal()
        paused = until(other, job, lambda shown: shown["state"] == "paused", END_S + LEASE_S)
        assert time.monotonic() - killed < (lease_s or LEASE_S) + 10
        assert paused["progress"]["done"] >= before["progress"]["done"]
        assert paused["node"]["uuid"] != before["node"]["uuid"]
        assert other("PATCH", f"{job}?action=pause").body["error"]["code"] == str(errors.JOB_NOT_RUNNING.code)
        assert other("PATCH", f"{job}?action=resume").status == 200
        assert_one_report(other, path, until(other, job, is_a_success), "9")


def test_a_removal_goes_on_after_its_process_was_killed(installation: Installation) -> None:
    """It is a job once it takes longer than ``return_timeout``, begun once. The next process removes the server."""
    with KeyServers(3) as servers:
        with serving(installation) as service, service.client() as call:
            path = with_keys(call, servers)
            for server in (servers[1], servers[2]):
                server.break_("silent")
            leaving = f"{path}/key-servers/{servers[0].address}"
            answers = [call("DELETE", f"{leaving}?return_timeout=0") for _ in range(2)]
            assert [answer.status for answer in answers] == [202, 202]
            (uuid,) = {answer.body["job"]["uuid"] for answer in answers}
            job = f"/cluster/jobs/{uuid}"
            shown = call.get(job)
            assert (shown["state"], shown["progress"]["total"]) == ("running", KEYS)
            service.kill()
        for server in (servers[1], servers[2]):
            server.heal()
        with serving(installation) as service, service.client() as call:
            until(call, job, is_a_success)
            left = {each["server"] for each in call.get(f"{path}/key-servers")["records"]}
            assert left == {servers[1].address, servers[2].address}
            said = call.get("/security/audit/messages?fields=message&message=removed*")["records"]
            assert len(said) == 1
            assert call("DELETE", f"{leaving}?return_timeout=0").body["error"]["code"] == "65536843"
