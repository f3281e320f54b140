"""Two ``keystead serve`` processes on one PostgreSQL: what one does when the other stops or dies."""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead import __version__
from keystead.app.initialise import initialise
from keystead.core import errors
from keystead.settings import Settings
from tests.peers.fault_servers import black_hole
from tests.peers.keystead import PASSWORD, Installation, create_key_manager, install_certificates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Client, Service
    from tests.peers.postgres import PostgresServer

END_S = 30


@pytest.fixture
def two(postgres: PostgresServer, tmp_path: Path) -> Iterator[tuple[Installation, Installation]]:
    """Yield two nodes of one cluster, which nobody serves yet."""
    with postgres.database() as url:
        first, second = (Settings(data=tmp_path / name, database=url) for name in ("one", "two"))
        initialise(first, PASSWORD.encode(), terminal=False)
        second.data.mkdir()
        shutil.copy(first.data / "root.key", second.data)
        initialise(second, None, terminal=False)
        yield Installation(first.data, url), Installation(second.data, url)


def keeps(service: Service) -> bool:
    """Return True if a process keeps keys, as its metrics say."""
    with service.client() as call:
        call.connection.request("GET", "/metrics", headers=call.headers)
        return b"\nkeystead_keeper 1.0\n" in call.connection.getresponse().read()


def until(holds: Callable[[], bool], within_s: float) -> float:
    """Wait until something holds; return the seconds that it took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < within_s
        time.sleep(0.05)
    return time.monotonic() - began


def nodes_by_state(call: Client) -> dict[str, str]:
    """Return the states of the nodes by their names."""
    return {each["name"]: each["state"] for each in call.get("/cluster/nodes?fields=state")["records"]}


def test_a_node_that_stops_gives_its_work_to_the_other(two: tuple[Installation, Installation]) -> None:
    """SIGTERM: within five seconds, not when its lease has expired; and it is down at once."""
    with two[0].serving() as one:
        until(lambda: keeps(one), END_S)
        with two[1].serving() as other, other.client() as call:
            assert not keeps(other)
            until(lambda: nodes_by_state(call) == {"keystead-01": "up", "keystead-02": "up"}, END_S)
            one.signal(signal.SIGTERM)
            until(lambda: keeps(other), 5 + END_S / 10)
            assert one.wait(END_S) == 0
            assert nodes_by_state(call) == {"keystead-01": "down", "keystead-02": "up"}


def test_a_stopped_node_is_removed(two: tuple[Installation, Installation]) -> None:
    """Its process does not start again, nor does init take its directory; the other node is the cluster."""
    with two[0].serving() as one, one.client() as call:
        with two[1].serving() as other:
            uuid = next(each["uuid"] for each in call.get("/cluster/nodes")["records"] if each["name"] == "keystead-02")
            until(lambda: nodes_by_state(call) == {"keystead-01": "up", "keystead-02": "up"}, END_S)
            refused = call("DELETE", f"/cluster/nodes/{uuid}")
            assert (refused.status, "Stop it first" in refused.body["error"]["message"]) == (409, True)
            other.signal(signal.SIGTERM)
            assert other.wait(END_S) == 0
        assert call("DELETE", f"/cluster/nodes/{uuid}").status == 200
        assert nodes_by_state(call) == {"keystead-01": "up"}
        for command in ("serve", "init"):
            ended = two[1].run(command)
            assert ended.returncode == 1
            assert "this node was removed from the cluster" in ended.stderr


def test_a_copy_of_the_data_directory_is_refused(two: tuple[Installation, Installation], tmp_path: Path) -> None:
    """While the node runs. Once it was stopped, the copy is the node; the first directory is refused then."""
    copy = replace(two[0], data=tmp_path / "copy")
    beating = two[0].hurried("keystead.monitor.loop:BEAT_S=1")
    with two[0].serving(beating) as one, one.client() as call:
        until(lambda: nodes_by_state(call)["keystead-01"] == "up", END_S)
        shown = call.get("/cluster/nodes?name=keystead-01&fields=keystead")["records"][0]["keystead"]
        assert (shown["release"], len(shown["schema"])) == (__version__, 4)
        shutil.copytree(two[0].data, copy.data)
        refused = copy.run("serve", "--listen", "127.0.0.1:0")
        assert (refused.returncode, "another process serves as this node" in refused.stderr) == (1, True)
        found = call.get("/support/ems/events?message.name=km.node.copied&fields=message.severity")["records"]
        assert [each["message"]["severity"] for each in found] == ["alert"]
        one.signal(signal.SIGTERM)
        assert one.wait(END_S) == 0
    with copy.serving() as service, service.client() as call:
        assert call.get("/cluster/nodes?name=keystead-01")["num_records"] == 1


@pytest.mark.long
def test_a_frozen_node_that_was_removed_stops_when_it_is_thawed(two: tuple[Installation, Installation]) -> None:
    """It writes nothing more, and ends by itself."""
    with two[0].serving() as one, two[1].serving() as other, one.client() as call:
        until(lambda: nodes_by_state(call) == {"keystead-01": "up", "keystead-02": "up"}, END_S)
        other.signal(signal.SIGSTOP)
        until(lambda: nodes_by_state(call)["keystead-02"] == "down", 60)
        uuid = call.get("/cluster/nodes?state=down")["records"][0]["uuid"]
        assert call("DELETE", f"/cluster/nodes/{uuid}").status == 200
        other.signal(signal.SIGCONT)
        assert other.wait(END_S) == 1
        assert "this node was removed from the cluster" in other.stderr.read_text()
        assert nodes_by_state(call) == {"keystead-01": "up"}


@pytest.mark.long
def test_a_node_that_is_killed_is_replaced(
    two: tuple[Installation, Installation], pki: Pki, sound_ports: list[int]
) -> None:
    """SIGKILL: its job has ended within a minute, and its keeping of keys goes on within 65 seconds."""
    with contextlib.ExitStack() as held:
        hole = held.enter_context(black_hole())
        one = held.enter_context(two[0].serving())
        until(lambda: keeps(one), END_S)
        other = held.enter_context(two[1].serving())
        job = _running_job(held, one, pki, sound_ports, hole)
        call = held.enter_context(other.client())
        until(lambda: nodes_by_state(call) == {"keystead-01": "up", "keystead-02": "up"}, END_S)
        one.kill()
        killed = time.monotonic()
        until(lambda: call.get(job)["state"] == "failure", 60)
        assert call.get(job)["code"] == errors.JOB_INTERRUPTED.code
        until(lambda: keeps(other), 65 - (time.monotonic() - killed))


def _running_job(held: contextlib.ExitStack, service: Service, pki: Pki, ports: list[int], hole: int) -> str:
    """Begin a job whose probe is in a black hole; return its path."""
    call = held.enter_context(service.client())
    servers = [f"127.0.0.1:{port}" for port in ports[:2]]
    path = create_key_manager(call, install_certificates(call, pki.client, pki.server_ca), *servers)
    records: list[Any] = [{"server": servers[0], "timeout": 7}, {"server": servers[1], "port": hole}]
    answer = call("PATCH", f"{path}?return_timeout=1", {"records": records})
    assert answer.status == 202, answer.content
    return str(answer.body["job"]["_links"]["self"]["href"]).removeprefix("/api")
