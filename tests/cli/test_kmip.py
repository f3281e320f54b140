"""``keystead kmip probe`` against real peers: what it prints, its exit status, and its secrets."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization

from keystead.cli.kmip import kmip
from keystead.core.errors.probe_reasons import ADVICE
from tests.peers import fault_servers as fault
from tests.peers import kmip_answers as answers
from tests.peers.certificates import Authority, client, server_context

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

SERVER_CA, CLIENT_CA = Authority(), Authority("Client CA")
SERVER, CLIENT = SERVER_CA.issue(), client(CLIENT_CA)


@pytest.fixture
def server() -> Iterator[fault.FaultServer]:
    """Yield a sound key server."""
    with fault.FaultServer(fault.tls(server_context(SERVER, CLIENT_CA), answers.answering())) as opened:
        yield opened


@pytest.fixture
def probe(tmp_path: Path) -> Any:
    """Run the command with certificates from files, loopback allowed unless told otherwise."""
    CLIENT.write(tmp_path, "client")
    (tmp_path / "ca.pem").write_text(SERVER_CA.pem)
    (tmp_path / "other-ca.pem").write_text(Authority("Another CA").pem)

    def run(where: str, *options: str, ca: str = "ca.pem", typed: str | None = None, **environment: str) -> Result:
        files = ["--client-cert", "client.pem", "--client-key", "client.key", "--server-ca", ca]
        paths = [str(tmp_path / part) if part.endswith((".pem", ".key")) else part for part in files]
        settings = {"KEYSTEAD_EGRESS_ALLOW": "127.0.0.0/8", "KEYSTEAD_DATA": str(tmp_path), **environment}
        return CliRunner().invoke(kmip, ["probe", where, *paths, *options], env=settings, input=typed)

    return run


def test_accepted(probe: Any, server: fault.FaultServer) -> None:
    """All stages, what was learned, and exit status 0."""
    result = probe(f"127.0.0.1:{server.port}")
    assert result.exit_code == 0
    for expected in ("credential", "Accepted", "Fault Server", "CN=key server", "TLSv1.3"):
        assert expected in result.stdout


def test_refused(probe: Any, server: fault.FaultServer) -> None:
    """The failed stage with its reason, the code, what to do, and exit status 1."""
    result = probe(f"127.0.0.1:{server.port}", ca="other-ca.pem")
    assert result.exit_code == 1
    for expected in ("66060338", "server_certificate_issuer_not_found"):
        assert expected in result.stdout
    assert ADVICE["server_certificate_issuer_not_found"] in result.stdout
    assert "At fault: the server's certificate key server, issued by Key Server CA, valid 20" in result.stdout


def test_egress_rules_hold_here_too(probe: Any, server: fault.FaultServer) -> None:
    """Without the exception loopback is refused, and the setting that allows it is named."""
    result = probe(f"127.0.0.1:{server.port}", KEYSTEAD_EGRESS_ALLOW="")
    assert result.exit_code == 1
    assert "address_not_allowed, rule loopback" in result.stdout
    assert "KEYSTEAD_EGRESS_ALLOW" in result.stdout
    assert server.accepted == 0


def test_json(probe: Any, server: fault.FaultServer) -> None:
    """``-o json`` prints one record as a dry run's, accepted or not."""
    accepted = json.loads(probe(f"127.0.0.1:{server.port}", "-o", "json").stdout)
    assert accepted["server"] == f"127.0.0.1:{server.port}"
    assert accepted["accepted"] is True
    assert not {"code", "reason"} & set(accepted)
    assert [stage["state"] for stage in accepted["stages"]] == ["passed"] * 6
    assert accepted["learned"]["kmip_version"] == "2.1"
    result = probe(f"127.0.0.1:{server.port}", "-o", "json", ca="other-ca.pem")
    refused = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (refused["code"], refused["reason"]) == ("66060338", "server_certificate_issuer_not_found")
    assert {stage["stage"]: stage["state"] for stage in refused["stages"]} == {
        "egress": "passed",
        "resolve": "passed",
        "connect": "passed",
        "tls": "failed",
        "kmip": "skipped",
        "credential": "skipped",
    }


def test_the_time_out_is_obeyed(probe: Any) -> None:
    """A time-out of 0 is one second, as in an add."""
    with fault.FaultServer(fault.silence) as silent:
        result = probe(f"127.0.0.1:{silent.port}", "--timeout", "0")
    assert "tls_timed_out" in result.stdout


@pytest.mark.parametrize("source", ["environment", "file", "prompt"])
def test_a_password_is_no_flag(probe: Any, tmp_path: Path, source: str) -> None:
    """It comes from the environment, a file or a prompt, is sent, and is printed nowhere."""
    seen: list[bytes] = []

    def script(connection: Any) -> None:
        seen.append(connection.recv(65536))

    (tmp_path / "password").write_text("canary\n")
    options = ["--password-file", str(tmp_path / "password")] if source == "file" else []
    environment = {"KEYSTEAD_KMIP_PASSWORD": "canary"} if source == "environment" else {}
    with fault.FaultServer(fault.tls(server_context(SERVER, CLIENT_CA), script)) as server:
        result = probe(f"127.0.0.1:{server.port}", "--username", "user", *options, typed="canary\n", **environment)
    assert b"canary" in seen[0]
    assert b"canary\n" not in seen[0]
    assert "canary" not in result.output


def test_an_encrypted_key_is_opened_with_its_passphrase(probe: Any, server: fault.FaultServer, tmp_path: Path) -> None:
    """The passphrase is asked for; a wrong one is a usage error."""
    encrypted = CLIENT.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"passphrase"),
    )
    (tmp_path / "client.key").write_bytes(encrypted)
    assert probe(f"127.0.0.1:{server.port}", typed="passphrase\n").exit_code == 0
    wrong = probe(f"127.0.0.1:{server.port}", typed="wrong\n")
    assert wrong.exit_code == 2
    assert "--client-key" in wrong.output


@pytest.mark.parametrize(
    ("where", "options", "environment", "named"),
    [
        ("a b", [], {}, "HOST[:PORT]"),
        ("::1", [], {}, "IPv6"),
        ("host:0", [], {}, "port"),
        ("host", ["--timeout", "61"], {}, "--timeout"),
        ("host", ["--client-cert", "client.key"], {}, "--client-cert"),
        ("host", ["--server-ca", "client.key"], {}, "--server-ca"),
        ("host", ["--client-key", "ca.pem"], {}, "--client-key"),
        ("host", ["--client-key", "missing.pem"], {}, "missing.pem"),
        ("host", ["--password-file", "ca.pem"], {}, "--username"),
        ("host", [], {"KEYSTEAD_EGRESS_ALLOW": "everything"}, "KEYSTEAD_EGRESS_ONLY: 'everything' does not"),
    ],
)
def test_usage(probe: Any, tmp_path: Path, where: str, options: list[str], environment: Any, named: str) -> None:
    """What cannot be used is named, and the exit status is 2."""
    paths = [str(tmp_path / part) if part.endswith((".pem", ".key")) else part for part in options]
    result = probe(where, *paths, **environment)
    assert result.exit_code == 2
    assert named in result.output


@pytest.mark.parametrize(
    ("options", "environment", "named"),
    [
        (["--username", "u", "--password-file", "latin.key"], {}, "--password-file"),
        (["--username", "u"], {"KEYSTEAD_KMIP_PASSWORD": "gr\udcfc\udcdfe"}, "KEYSTEAD_KMIP_PASSWORD"),
        (["--username", "\udcfc"], {"KEYSTEAD_KMIP_PASSWORD": "p"}, "--username"),
    ],
)
def test_what_is_sent_must_be_utf8(
    probe: Any, server: fault.FaultServer, tmp_path: Path, options: list[str], environment: Any, named: str
) -> None:
    """KMIP's texts are; a password that is not is not quoted, and nothing is sent."""
    (tmp_path / "latin.key").write_bytes(b"gr\xfc\xdfe\n")
    paths = [str(tmp_path / part) if part.endswith(".key") else part for part in options]
    result = probe(f"127.0.0.1:{server.port}", *paths, **environment)
    assert (result.exit_code, server.accepted) == (2, 0)
    assert f"{named}: not UTF-8" in result.output
    assert "gr" not in result.output.partition("Error")[2]


def test_help_needs_no_heavy_import() -> None:
    """Asking for help loads neither cryptography nor asyncio."""
    code = (
        "import sys; from click.testing import CliRunner; from keystead.cli.kmip import kmip;"
        " CliRunner().invoke(kmip, ['probe', '--help']); print({'cryptography', 'asyncio', 'rich'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert ended.stdout == "set()\n"


def test_the_name_in_the_certificate(probe: Any) -> None:
    """A server that shows another name is refused without ``--tls-server-name`` and accepted with it."""
    context = server_context(SERVER_CA.issue(["kms.example.com"]), CLIENT_CA)
    with fault.FaultServer(fault.tls(context, answers.answering())) as named:
        where = f"127.0.0.1:{named.port}"
        refused = probe(where)
        assert refused.exit_code == 1
        assert "server_certificate_wrong_name" in refused.stdout
        assert probe(where, "--tls-server-name", "kms.example.com").exit_code == 0
        wrong = probe(where, "--tls-server-name", "kms.example.com:5696")
    assert wrong.exit_code == 2
    assert "--tls-server-name" in wrong.output
