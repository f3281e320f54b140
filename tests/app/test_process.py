"""``keystead serve`` as a process: from its ready line to its end."""

from __future__ import annotations

import contextlib
import http.client
import resource
import signal
import socket
import sqlite3
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from tests.peers.asgi import assert_error
from tests.peers.fault_servers import black_hole
from tests.peers.keystead import Installation, Service, create_key_manager, install_certificates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Client

STOP_S = 30
HANGING_DNS = """
import socket, time
socket.getaddrinfo = lambda *arguments, **options: time.sleep(600)
from keystead.cli.main import main
main()
"""


def stop(service: Service, number: int = signal.SIGTERM) -> float:
    """Stop a service and assert that it ends well and in time; return the seconds that it took."""
    started = time.monotonic()
    service.signal(number)
    status = service.wait(STOP_S)
    assert status == 0, service.stderr.read_text()
    return time.monotonic() - started


def codes(installation: Installation) -> list[tuple[str, str]]:
    """State and code of all audit records but init's."""
    with contextlib.closing(sqlite3.connect(installation.data / "keystead.db")) as database:
        return database.execute('SELECT state, code FROM audit_records WHERE "index" > 1 ORDER BY "index"').fetchall()


def stored_servers(installation: Installation) -> list[str]:
    """Return the addresses of all stored key servers."""
    with contextlib.closing(sqlite3.connect(installation.data / "keystead.db")) as database:
        return [row[0] for row in database.execute("SELECT address_key FROM key_servers ORDER BY position")]


@pytest.fixture
def service(installation: Installation) -> Iterator[Service]:
    """Yield a service of the test's own."""
    with installation.serving() as running:
        yield running


@pytest.fixture
def prepared(service: Service, pki: Pki, sound_ports: list[int]) -> Iterator[tuple[Client, str]]:
    """Yield a client of ``service``, and the path of the key servers of a key manager that has one."""
    with service.client() as call:
        certificates = install_certificates(call, pki.client, pki.server_ca)
        yield call, create_key_manager(call, certificates, f"127.0.0.1:{sound_ports[0]}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_ready_line_stands_alone_and_is_true(
    installation: Installation, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One plain line, also where colours are forced; the first call after it is answered; nothing follows it."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    with installation.serving() as service:
        assert service.stdout.read_bytes() == f"listening on https://127.0.0.1:{service.port}\n".encode()
        with service.client() as call:
            assert call("GET", "/cluster").status == 200
        stop(service, number)
        assert service.stdout.read_text().count("\n") == 1


def test_a_data_directory_is_served_once(installation: Installation) -> None:
    """A second service says why it does not start; what works beside one goes on; a kill leaves nothing held."""
    with installation.serving():
        second = installation.run("serve", "--listen", "127.0.0.1:0")
        assert (second.returncode, second.stdout) == (1, "")
        assert f"{installation.data} is used by another process" in second.stderr
        assert installation.run("audit", "verify").returncode == 0
        assert installation.run("init").returncode == 0
    with installation.serving() as service, service.client() as call:
        assert call("GET", "/cluster").status == 200


def test_a_directory_that_cannot_be_held(installation: Installation) -> None:
    """The lock's name is taken by something that is no file."""
    lock = installation.data / "serve.lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()
    refused = installation.run("serve", "--listen", "127.0.0.1:0")
    assert refused.returncode == 1
    assert "serve.lock: Is a directory" in refused.stderr


def test_a_full_disk_is_said(service: Service) -> None:
    """503 with the reason and Retry-After, nothing stored; when there is room again, the same call succeeds."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    with service.client() as call:
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (2**16, most))  # no file grows beyond it
        answers = (call("POST", "/svm/svms", {"name": f"svm-{number}"}) for number in range(100))
        number, full = next((at, answer) for at, answer in enumerate(answers) if answer.status != 201)
        error = assert_error(full, errors.STORAGE_FAILED)
        assert error["message"].startswith("The service cannot use its database now: its disk ")
        assert int(full.headers["retry-after"]) > 0
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (most, most))
        assert call("POST", "/svm/svms", {"name": f"svm-{number}"}).status == 201
    assert stop(service) < STOP_S
    assert service.installation.run("audit", "verify").returncode == 0


def test_an_ipv6_listener_is_named_in_brackets(installation: Installation) -> None:
    """The ready line's URL can be used as it stands."""
    command = installation.command("serve", "--listen", "[::1]:0")
    with installation.serving(command) as service:
        assert service.stdout.read_text() == f"listening on https://[::1]:{service.port}\n"
        with socket.create_connection(("::1", service.port), timeout=5):
            pass


def test_a_stop_waits_for_nothing_that_hangs(installation: Installation, pki: Pki, sound_ports: list[int]) -> None:
    """Probes in a black hole and in DNS end with 503 and Retry-After, recorded, nothing stored; the idle are left."""
    program = [sys.executable, "-c", HANGING_DNS, *installation.command("serve", "--listen", "127.0.0.1:0")[3:]]
    with contextlib.ExitStack() as held:
        service = held.enter_context(installation.serving(program))
        call = held.enter_context(service.client())
        certificates = install_certificates(call, pki.client, pki.server_ca)
        path = create_key_manager(call, certificates, f"127.0.0.1:{sound_ports[0]}")
        assert_error(call("POST", path, {"server": "ks.example.com", "timeout": 1}), errors.NETWORK, target="server")
        before = codes(installation)
        hole = held.enter_context(black_hole())
        callers = [held.enter_context(service.client()) for _ in range(2)]
        for caller, server in zip(callers, [f"127.0.0.1:{hole}", "ks.example.com"], strict=True):
            caller.send("POST", path, {"server": server, "timeout": 60})
        open_idle_and_half_open_connections(held, service)
        time.sleep(0.3)
        stopped = time.monotonic()
        service.signal(signal.SIGTERM)
        for caller in callers:
            answer = caller.receive()
            assert time.monotonic() - stopped < 2  # before the grace of three seconds is over
            assert_error(answer, errors.SHUTTING_DOWN)
            assert int(answer.headers["retry-after"]) > 0
        assert service.wait(STOP_S) == 0
    assert codes(installation) == [*before, ("error", "262145"), ("error", "262145")]
    assert len(stored_servers(installation)) == 1
    assert installation.run("audit", "verify").returncode == 0


def open_idle_and_half_open_connections(held: contextlib.ExitStack, service: Service) -> None:
    """Kept-alive ones, silent ones, a handshake that does not go on, a request that does not end."""
    kept = held.enter_context(service.client())
    assert kept("GET", "/cluster").status == 200
    held.enter_context(socket.create_connection(("127.0.0.1", service.port)))
    hello = held.enter_context(socket.create_connection(("127.0.0.1", service.port)))
    hello.sendall(b"\x16\x03\x01\x02\x00\x01")
    request = held.enter_context(service.client()).connection
    request.connect()
    request.sock.sendall(b"GET /api/clus")


def test_a_request_whose_body_never_comes_is_answered_at_a_stop(service: Service) -> None:
    """It gets its 503 when the grace is over, and its refusal is recorded."""
    call = service.client()
    call.connection.putrequest("POST", "/api/svm/svms")
    for name, value in (call.headers | {"Content-Length": "100"}).items():
        call.connection.putheader(name, value)
    call.connection.endheaders(b'{"name"')
    time.sleep(0.3)
    service.signal(signal.SIGTERM)
    with call:
        assert_error(call.receive(), errors.SHUTTING_DOWN)
    assert service.wait(STOP_S) == 0
    assert codes(service.installation)[-1] == ("error", "262145")


def test_failed_logins_are_recorded_at_a_stop(service: Service) -> None:
    """They are counted for a minute before they are written; a stop does not wait for the minute."""
    with service.client(password="not the password") as stranger:
        assert_error(stranger("GET", "/cluster"), errors.AUTHENTICATION_FAILED)
    stop(service)
    assert codes(service.installation) == [("error", "6691623")]


def test_what_is_stored_is_answered_also_during_a_stop(
    service: Service, prepared: tuple[Client, str], sound_ports: list[int]
) -> None:
    """Under load, every call is answered, or it was not taken: what is stored is exactly what got a 201."""
    add, path = prepared
    answered: list[str] = []
    unanswered: list[str] = []

    def load(number: int) -> None:
        with service.client() as call:
            for each in range(200):
                name = f"load-{number}-{each}"
                try:
                    status = call("POST", "/svm/svms", {"name": name}).status
                except (OSError, http.client.HTTPException):  # the service has gone: that is the point
                    unanswered.append(name)
                    return
                if status == 201:
                    answered.append(name)

    threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.4)
    assert add("POST", path, {"server": f"127.0.0.1:{sound_ports[1]}"}).status == 201
    stop(service)
    for thread in threads:
        thread.join()
    with contextlib.closing(sqlite3.connect(service.installation.data / "keystead.db")) as database:
        stored = {row[0] for row in database.execute("SELECT name FROM svms WHERE name LIKE 'load-%'")}
    assert answered
    assert set(answered) == stored, unanswered
    assert len(stored_servers(service.installation)) == 2


def test_a_locked_database_does_not_hold_a_stop(service: Service) -> None:
    """A write that waits for another process's lock is left behind when the five seconds are over."""
    database = sqlite3.connect(service.installation.data / "keystead.db", isolation_level=None)
    with contextlib.closing(database), service.client() as call:
        database.execute("BEGIN IMMEDIATE")
        call.send("POST", "/svm/svms", {"name": "waits"})
        time.sleep(0.3)
        stop(service)
        database.execute("ROLLBACK")
    with contextlib.closing(sqlite3.connect(service.installation.data / "keystead.db")) as reopened:
        assert reopened.execute("SELECT count(*) FROM svms WHERE name = 'waits'").fetchone() == (0,)


def test_a_port_in_use_is_one_clear_line(installation: Installation) -> None:
    """Exit status 1, the address and the reason; and the port is free at once when its service has ended."""
    other = installation.copy(installation.data.with_name("other"))
    with installation.serving() as service, service.client() as call:
        assert call("GET", "/cluster").status == 200
        listen = ("serve", "--listen", f"127.0.0.1:{service.port}")
        done = other.run(*listen)
        assert (done.returncode, done.stdout) == (1, "")
        *_, said = done.stderr.splitlines()  # before it may stand that the copy is one
        assert said == f"Error: cannot listen on 127.0.0.1:{service.port}: Address already in use"
        stop(service)
        with installation.serving(installation.command(*listen)) as again:
            assert again.port == service.port


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"listen": "8443"}, "listen"),
        ({"egress_allow": "127.0.0.0/99"}, "egress_allow"),
        ({"log_level": "loud"}, "log_level"),
    ],
)
def test_a_bad_setting_is_a_usage_error(installation: Installation, settings: dict[str, str], named: str) -> None:
    """Exit status 2 and the setting's name, before anything is served."""
    bad = Installation(installation.data, settings=settings)
    done = bad.run("serve")
    assert done.returncode == 2, done.stderr
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not (installation.data / "incarnation.witness").exists()


def test_a_directory_that_was_never_initialised_is_refused(tmp_path: Any) -> None:
    """With the command that makes it one."""
    done = Installation(tmp_path / "nothing").run("serve")
    assert done.returncode == 1
    assert "keystead init" in done.stderr
    assert not (tmp_path / "nothing").exists()
