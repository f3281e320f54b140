"""What is not believed of whatever answers at the service's URL: exit status 3, one clear line, no traceback."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING

import pytest

from keystead.cli import client
from keystead.cli.main import main
from tests.peers.certificates import server_context
from tests.peers.databases import raw_sqlite
from tests.peers.fault_servers import FaultServer, close_at_once, say_and_close, silence, tls
from tests.peers.keystead import PASSWORD, create_key_manager, install_certificates

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Installation

SHOW = ("security", "certificate", "show")


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process; its exit status, output and error output."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("URL", "CA", "USER", "PROFILE"):
        monkeypatch.delenv(f"KEYSTEAD_{name}", raising=False)
    monkeypatch.setenv("KEYSTEAD_PASSWORD", PASSWORD)

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["keystead", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        assert isinstance(end.value.code, int | None)
        return end.value.code or 0, out, err

    return command


def _http(status: str, body: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", body]
    return "\r\n".join(lines).encode()


STRANGERS = {
    "a web page": _http("200 OK", "<html>Welcome</html>"),
    "no body": _http("200 OK", ""),
    "a JSON array": _http("200 OK", "[]"),
    "a JSON text": _http("200 OK", '"records"'),
    "JSON of another service": _http("200 OK", '{"status": "up"}'),
    "records of another kind": _http("200 OK", '{"records": ["a"]}'),
    "an error of another service": _http("404 Not Found", '{"detail": "Not Found"}'),
    "an error as a text": _http("500 Internal Server Error", '{"error": "oops"}'),
    "a redirection": _http("302 Found", "{}", "Location: /login"),
    "deep nesting": _http("200 OK", "[" * 100_000),
    "not HTTP": b"220 mail.example.com ESMTP\r\n\r\n",
    "half an answer": _http("200 OK", '{"records": []}')[:-6],
    "nothing": b"",
}


@pytest.mark.parametrize("answer", STRANGERS.values(), ids=STRANGERS.keys())
def test_something_else_answers(
    pki: Pki, run: Callable[..., tuple[int, str, str]], tmp_path: Path, answer: bytes
) -> None:
    """Over TLS that is trusted: what comes is no answer of Keystead's."""
    ca = tmp_path / "ca.pem"
    ca.write_text(pki.server_ca.pem)
    with FaultServer(tls(server_context(pki.server), say_and_close(answer))) as server:
        url = f"https://localhost:{server.port}"
        status, out, err = run(*SHOW, "--url", url, "--ca", str(ca))
    assert (status, out) == (3, "")
    assert err.startswith(f"Error: {url} ")
    assert err.count("\n") == 1
    assert PASSWORD not in err


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (close_at_once, "cannot be reached"),
        (say_and_close(b"HTTP/1.0 400 Bad Request\r\n\r\n"), "is it an HTTPS port?"),
    ],
    ids=["closes", "plain HTTP"],
)
def test_no_tls(run: Callable[..., tuple[int, str, str]], script: Callable[[object], None], said: str) -> None:
    """A port that does not speak TLS gets no password."""
    with FaultServer(script) as server:
        status, out, err = run(*SHOW, "--url", f"https://127.0.0.1:{server.port}")
    assert (status, out) == (3, "")
    assert said in err


def test_a_password_that_is_not_utf8(run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A usage error, before anything is sent; it is not quoted."""
    monkeypatch.setenv("KEYSTEAD_PASSWORD", "gr\udcfc\udcdfe")
    status, out, err = run(*SHOW)
    assert (status, out, err.splitlines()[-1]) == (2, "", "Error: KEYSTEAD_PASSWORD: not UTF-8")


def test_nothing_is_said(run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that takes the connection and is silent is given up."""
    monkeypatch.setattr(client, "TIMEOUT_S", 0.2)
    with FaultServer(silence) as server:
        status, _, err = run(*SHOW, "--url", f"https://127.0.0.1:{server.port}")
    assert (status, err) == (3, f"Error: https://127.0.0.1:{server.port} cannot be reached: timed out\n")


def test_pages_are_followed(pki: Pki, run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """All records are shown, however many answers they take."""
    ca = tmp_path / "ca.pem"
    ca.write_text(pki.server_ca.pem)
    pages = iter(
        [
            _http(
                "200 OK", '{"records": [{"name": "a"}]}', 'Link: </api/security/certificates?start.uuid=1>; rel="next"'
            ),
            _http("200 OK", '{"records": [{"name": "b"}]}'),
        ]
    )

    def answer(connection: object) -> None:
        say_and_close(next(pages))(connection)  # type: ignore[arg-type]

    with FaultServer(tls(server_context(pki.server), answer)) as server:
        status, out, _ = run(*SHOW, "--url", f"https://localhost:{server.port}", "--ca", str(ca), "-o", "json")
    assert (status, json.loads(out)) == (0, [{"name": "a"}, {"name": "b"}])


def test_a_peer_cannot_steer_the_terminal(pki: Pki, run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """Control characters in what is shown become escapes, in tables and in errors."""
    ca = tmp_path / "ca.pem"
    ca.write_text(pki.server_ca.pem)
    evil = "\x1b[2J\r\n\u202e"
    answers = [
        _http("200 OK", json.dumps({"records": [{"name": evil}]})),
        _http("400 Bad Request", json.dumps({"error": {"code": "1", "message": evil}})),
    ]
    for answer in answers:
        with FaultServer(tls(server_context(pki.server), say_and_close(answer))) as server:
            _, out, err = run(*SHOW, "--url", f"https://localhost:{server.port}", "--ca", str(ca))
        assert "\\x1b[2J\\r\\n\\u202e" in out + err
        assert not {"\x1b", "\r", "\u202e"} & set(out + err)


def test_a_key_manager_without_servers_is_shown(
    installation: Installation, pki: Pki, sound_ports: list[int], run: Callable[..., tuple[int, str, str]]
) -> None:
    """It lives on when its last server is gone, so the table names it."""
    with installation.serving() as service:
        with service.client() as call:
            certificates = install_certificates(call, pki.client, pki.server_ca)
            path = create_key_manager(call, certificates, f"127.0.0.1:{sound_ports[0]}")
        with contextlib.closing(raw_sqlite(installation.data / "keystead.db")) as database:
            database.execute("DELETE FROM key_servers")
        show = ("security", "key-manager", "external", "show")
        status, out, _ = run(*show, "--url", service.url, "--ca", str(installation.data / "tls.crt"))
    assert status == 0
    _, server, *_, uuid = out.splitlines()[1].split()
    assert (server, uuid) == ("(none)", path.split("/")[3])
