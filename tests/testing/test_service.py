"""The service for tests: its start, its refusals, and that nothing is left of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from keystead.cli.client import Refused
from keystead.testing.key_servers import KeyServers
from keystead.testing.service import NotStartedError, running
from tests.peers.processes import accepts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystead.testing.service import Keystead

WITHIN_S = 60


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keystead]:
    """Run one service for this module, whose environment has settings that would keep key servers out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYSTEAD_EGRESS_ONLY", "10.0.0.0/8")
        patch.setenv("KEYSTEAD_LISTEN", "10.0.0.1:1")
        with running(tmp_path_factory.mktemp("service")) as started:
            yield started


@pytest.fixture(scope="module")
def servers() -> Iterator[KeyServers]:
    """Run two key servers for this module."""
    with KeyServers(2) as started:
        yield started


def test_settings_of_the_environment_do_not_count(service: Keystead, servers: KeyServers) -> None:
    """Whatever the caller has set, key servers on loopback are allowed."""
    svm = service.create_svm(servers)
    path = f"/security/key-managers/{svm.key_manager}/key-servers"
    assert [each["server"] for each in service.call("GET", path)["records"]] == [each.address for each in servers]


def test_a_refused_svm_is_not_there(service: Keystead, servers: KeyServers) -> None:
    """With a broken key server there is no key manager, and no SVM either; healed, the name is free."""
    servers[1].break_("wrong_name")
    try:
        with pytest.raises(Refused) as refused:
            service.create_svm(servers, "vs_refused")
    finally:
        servers.heal()
    assert {"code": "reason", "message": "server_certificate_wrong_name"} in refused.value.error["arguments"]
    assert service.call("GET", "/svm/svms", name="vs_refused")["records"] == []
    assert service.create_svm(servers, "vs_refused").name == "vs_refused"
    with pytest.raises(Refused):
        service.create_svm(servers, "vs_refused")


def test_a_retired_svm_may_be_deleted_already(service: Keystead, servers: KeyServers) -> None:
    svm = service.create_svm(servers)
    service.retire_svm(svm)
    service.retire_svm(svm)
    assert service.call("GET", "/svm/svms", name=svm.name)["records"] == []


def test_the_password_is_in_no_file_and_in_no_text(tmp_path: Path) -> None:
    """Not in the data directory, the log, the environment or the command line of the process, nor in a ``repr``."""
    with running(tmp_path) as service:
        secret = service.password.encode()
        files = [each for each in tmp_path.rglob("*") if each.is_file()]
        assert len(files) > 3
        assert all(secret not in each.read_bytes() for each in files)
        assert service.password not in repr(service)
        assert secret not in b"".join(_processes(tmp_path))
    assert not _processes(tmp_path)
    assert not accepts(service.port)


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    """The error is the service's own line, and nothing runs."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(NotStartedError, match="in use"), running(tmp_path, port=port):
            pass
    assert not _processes(tmp_path)


def test_a_short_password_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotStartedError, match="8 to 128 characters"), running(tmp_path, password="short"):
        pass


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    """Also if the parent is killed and cannot clean up."""
    program = (
        "import sys, time; from pathlib import Path; from keystead.testing.service import running\n"
        "with running(Path(sys.argv[1])) as service: print(service.port, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    port = int(parent.stdout.readline())
    assert accepts(port)
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    until = time.monotonic() + WITHIN_S
    while _processes(tmp_path):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not accepts(port)


def _processes(folder: Path) -> list[bytes]:
    """Return command line and environment of each child that serves a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes()
            if b"keystead.testing.child" in line and str(folder).encode() in line:
                found.append(line + (process / "environ").read_bytes())
        except OSError:  # it has just ended
            continue
    return found
