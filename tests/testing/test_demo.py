"""``keystead demo --no-tour``, as the tests of another program use it, and its control socket."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from keystead.testing.control import LINE_LIMIT, SOCKET, ControlError, answered, ask, controlled
from keystead.testing.demo import exports
from keystead.testing.key_servers import KeyServers
from tests.peers.fork_server import command

if TYPE_CHECKING:
    from collections.abc import Iterator

WITHIN_S = 60
PRIVATE = ("admin.password", "profile.toml", "curl.conf", "client.key", SOCKET)


@contextlib.contextmanager
def demo(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run a demo without a tour in a folder. Kill it if it is still there in the end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KEYSTEAD_")}
    with subprocess.Popen(
        [*command("keystead"), "demo", "--no-tour", "--data", str(folder), *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def printed(process: subprocess.Popen[str], count: int) -> dict[str, str]:
    """Return the variables that a demo prints."""
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(count)]
    assert all(line.startswith("export ") for line in lines), process.communicate()
    return dict(shlex.split(line)[1].split("=", 1) for line in lines)


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the variables of a demo."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KEYSTEAD_")}
    return subprocess.run(
        [*command("keystead"), *arguments], env=inherited | environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("number", "host", "url"),
    [
        (signal.SIGTERM, "0.0.0.0", "https://127.0.0.1:"),  # noqa: S104 - as in a container
        (signal.SIGINT, "::1", "https://[::1]:"),
    ],
)
def test_a_stand_in(tmp_path: Path, number: signal.Signals, host: str, url: str) -> None:
    """It says where everything is, breaks and heals a key server, and a signal ends it: nothing is left."""
    folder = tmp_path / "new" / "demo"
    with demo(folder, "--servers", "3", "--host", host) as process:
        environment = printed(process, 13)
        assert environment["KEYSTEAD_URL"].startswith(url)
        assert (folder / "env").read_text() == exports(environment)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE((folder / name).stat().st_mode) for name in PRIVATE} == {0o600}
        password = Path(environment["KEYSTEAD_PASSWORD_FILE"]).read_text().strip()
        assert password not in str(environment)
        assert set(states(environment)) == {environment[name] for name in ("KS1", "KS2", "KS3")}
        began = run(environment, "demo", "break", "ks2", "expired")
        assert (began.returncode, began.stdout) == (0, "ks2 shows a certificate that has expired\n"), began
        await_state(environment, "KS2", "not_responding")
        assert run(environment, "demo", "heal", "ks2").stdout == "ks2 is sound\n"
        await_state(environment, "KS2", "available")
        process.send_signal(number)
        _, err = process.communicate(timeout=WITHIN_S)
        assert (process.returncode, err) == (0, "\nStopped: everything is removed.\n")
    assert not folder.exists()
    assert folder.parent.exists()


def states(environment: dict[str, str]) -> dict[str, str]:
    """Return the state of each key server of vs0, by the command line with the demo's profile."""
    shown = run(environment, "security", "key-manager", "external", "show-status", "--vserver", "vs0", "-o", "json")
    assert shown.returncode == 0, shown
    return {each["server"]: each["state"] for each in json.loads(shown.stdout)}


def await_state(environment: dict[str, str], name: str, state: str) -> None:
    """Return when a key server has a state."""
    until = time.monotonic() + WITHIN_S
    while states(environment)[environment[name]] != state:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_an_empty_folder_stays(tmp_path: Path) -> None:
    """The caller's own folder is used, and left empty. A control command may name it, too."""
    with demo(tmp_path, "--servers", "1") as process:
        environment = printed(process, 11)
        refused = run({}, "demo", "--data", str(tmp_path), "break", "ks1", "exploded")
        assert refused.returncode == 1
        assert "there is no fault 'exploded'; there are refused, wrong_ca" in refused.stderr
        refused = run({}, "demo", "heal", "ks9", "--data", environment["KEYSTEAD_DEMO"])
        assert (refused.returncode, refused.stderr) == (1, "Error: there is no key server 'ks9'; there are ks1\n")
        process.terminate()
        process.communicate(timeout=WITHIN_S)
        assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (("--once", "--no-tour"), 2, "leave out --no-tour"),
        (("--servers", "2"), 2, "add --no-tour"),
        (("--no-tour", "--servers", "0"), 2, "1<=x<=16"),
        (("--no-tour", "--port", "65536"), 2, "0<=x<=65535"),
        (("--no-tour", "--host", "no host"), 1, "HOST:PORT is expected"),
        (("break", "ks1", "expired"), 2, "give --data, or set KEYSTEAD_DEMO"),
        (("heal", ""), 2, "NAME is empty"),
    ],
)
def test_usage(options: tuple[str, ...], status: int, said: str) -> None:
    """What cannot be done is refused before anything runs, or by the service's own line."""
    done = run({}, "demo", *options)
    assert done.returncode == status, done
    assert said in done.stderr, done


def test_a_folder_with_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    done = run({}, "demo", "--no-tour", "--data", str(tmp_path))
    assert done.returncode == 1
    assert "is not empty" in done.stderr
    assert (tmp_path / "mine").read_text() == "mine"
    done = run({}, "demo", "--no-tour", "--data", str(tmp_path / "mine" / "sub"))
    assert (done.returncode, "Not a directory" in done.stderr) == (1, True), done


def test_a_port_in_use_leaves_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run({}, "demo", "--no-tour", "--data", str(tmp_path / "demo"), "--port", port)
    assert done.returncode == 1
    assert "in use" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_no_demo(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        done = run({"KEYSTEAD_DEMO": str(folder)}, "demo", "heal", "ks1")
        assert (done.returncode, "no demo runs in" in done.stderr) == (1, True), done


# --- the control socket ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def servers() -> Iterator[KeyServers]:
    """Run one key server for this module."""
    with KeyServers(1) as started:
        yield started


@pytest.mark.parametrize(
    "line", ["", "break", "break ks1", "heal", "heal ks1 ks2", "stop ks1", "break ks1 expired now", "\ufffd"]
)
def test_other_lines_are_refused(line: str, servers: KeyServers) -> None:
    assert answered(line, servers) == "refused a line is `break NAME FAULT` or `heal NAME`"


@pytest.mark.parametrize("sent", [b"", b"\n", b"\xff\xfe\n", b"heal ks1", b"x" * 10 * LINE_LIMIT])
def test_bad_peers_harm_nobody(sent: bytes, servers: KeyServers, tmp_path: Path) -> None:
    """Whatever one peer sends, the next is answered. A folder's path may be longer than a socket's."""
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    with controlled(servers, folder):
        assert stat.S_IMODE((folder / SOCKET).stat().st_mode) == 0o600
        descriptor = os.open(folder, os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as peer, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            peer.connect(f"/proc/self/fd/{descriptor}/{SOCKET}")
            peer.sendall(sent)
            peer.shutdown(socket.SHUT_WR)
            peer.recv(LINE_LIMIT)
        os.close(descriptor)
        assert ask(folder, "heal ks1") == "ks1 is sound"
        with pytest.raises(ControlError, match="there is no fault 'x'"):
            ask(folder, "break ks1 x")
    assert not (folder / SOCKET).exists()
    with pytest.raises(ControlError, match="no demo runs in"):
        ask(folder, "heal ks1")
