"""Every reachable row of the table of failures, caused by a real peer, on both TLS versions and both event loops.

Each case is probed many times in parallel while the machine is busy: a wrong code now and then is a wrong code.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.probing import STAGES, ProbeResult
from keystead.core.secret import Secret
from keystead.keyservers.failures import TABLE
from keystead.keyservers.gateway import Gateway
from tests.keyservers.cases import (
    CLIENT,
    CLIENT_CA,
    LOOPBACK,
    OTHER_CA,
    SERVER,
    SERVER_CA,
    STRANGER,
    Case,
    all_cases,
    identity,
    kmip_server,
    not_supported,
    target,
)
from tests.peers import fault_servers as fault
from tests.peers import kmip_answers as kmip
from tests.peers import openssl
from tests.peers.certificates import Credentials, client, server_context

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.fixtures import Pki
    from tests.peers.processes import Program

BATCH = 25


@pytest.fixture(scope="module", autouse=True)
def busy(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep a processor busy in long runs: races show when the machine is not idle."""
    if not request.config.getoption("--long"):
        yield
        return
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield
    burner.kill()
    burner.wait()


async def probe_many(case: Case, port: int, repetitions: int) -> list[ProbeResult]:
    """Probe in parallel batches."""
    gateway = Gateway(LOOPBACK)
    password = Secret("password") if case.username else None
    one = target(port, case.host, case.timeout_s, username=case.username, password=password)
    results: list[ProbeResult] = []
    while repetitions > 0:
        batch = [one] * min(repetitions, BATCH)
        results += await gateway.probe_all(batch, case.identity, 40)
        repetitions -= BATCH
    return results


@pytest.mark.parametrize("case", list(all_cases()))
def test_each_peer_has_its_row(run: Any, case: Case, request: pytest.FixtureRequest) -> None:
    """Each peer gives the expected code and reason at every probe."""
    with case.peer() as peer:
        port = peer if isinstance(peer, int) else peer.port
        results = run(probe_many(case, port, 50 if request.config.getoption("--long") else 5))
    for result in results:
        assert (result.reason, result.stage, result.error) == (case.reason, case.stage, case.error)
        assert result.accepted is (case.error is None)
        assert_stages_agree(result)


def assert_stages_agree(result: ProbeResult) -> None:
    """One stage failed, or none; nothing behind it has run; all stages are listed."""
    assert tuple(stage.stage for stage in result.stages) == STAGES
    states = [stage.state for stage in result.stages]
    if result.accepted:
        assert states == ["passed"] * len(STAGES)
        return
    assert result.stage is not None
    failed = STAGES.index(result.stage)
    assert states[failed] == "failed"
    assert set(states[failed + 1 :]) <= {"skipped"}
    assert "failed" not in states[:failed]


@pytest.mark.parametrize(
    ("options", "reason", "error"),
    [
        (["-tls1_3"], None, None),
        (["-tls1_2"], None, None),
        (["-tls1_2", "-cipher", "AES256-GCM-SHA384"], "no_common_cipher", errors.TLS_ENGINE),
    ],
    ids=["TLS 1.3", "TLS 1.2", "plain RSA only"],
)
def test_openssl_as_the_server(run: Any, tmp_path: Path, options: list[str], reason: str | None, error: Any) -> None:
    """OpenSSL's server passes TLS and fails at KMIP, because it never answers."""
    credentials = SERVER_CA.issue(key="rsa")
    with openssl.s_server(tmp_path, credentials, CLIENT_CA, *options) as server:
        (result,) = run(Gateway(LOOPBACK).probe_all([target(server.port, timeout_s=1)], identity(), 40))
    assert (result.reason, result.error) == ((reason, error) if reason else ("no_answer", errors.KMIP_VERSIONS))


@pytest.mark.parametrize(
    ("ours", "alert", "reason"),
    [
        (STRANGER, "unknown ca", "client_certificate_untrusted"),
        (client(CLIENT_CA, ends=timedelta(days=-0.5)), "expired", "client_certificate_expired"),
        (CLIENT_CA.issue((), purpose="server"), "purpose", "client_certificate_refused"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_refuses_our_certificate(
    run: Any, tmp_path: Path, version: str, ours: Credentials, alert: str, reason: str
) -> None:
    """The reasons with which OpenSSL refuses a certificate are told apart on both versions."""
    assert alert
    with openssl.s_server(tmp_path, SERVER, CLIENT_CA, version) as server:
        (result,) = run(Gateway(LOOPBACK).probe_all([target(server.port)], identity(ours), 40))
    assert (result.reason, result.error, result.stage) == (reason, errors.CLIENT_CERTIFICATE_REFUSED, "tls")


def test_pykmip_is_accepted(run: Any, pki: Pki, pykmip_servers: list[Program]) -> None:
    """PyKMIP's server passes every stage and shows its vendor."""
    targets = [target(server.port) for server in pykmip_servers]
    results = run(Gateway(LOOPBACK).probe_all(targets, identity(pki.client, pki.server_ca), 40))
    for result, server in zip(results, pykmip_servers, strict=True):
        assert result.accepted, result
        assert_stages_agree(result)
        learned = result.learned
        assert learned["address"] == server.address
        assert learned["tls_version"] == "TLSv1.2"
        assert learned["kmip_version"] == "2.0"
        assert learned["kmip_versions"] == ["2.0", "1.4", "1.3", "1.2", "1.1", "1.0"]
        assert "PyKMIP" in str(learned["vendor"])
        assert abs(int(str(learned["clock_skew_s"]))) < 60
        certificate: Any = learned["certificate"]
        assert certificate["subject"] == "CN=key server"
        assert certificate["names"] == ["localhost", "127.0.0.1", "::1"]


def test_pykmip_refuses(run: Any, pki: Pki, pykmip_servers: list[Program]) -> None:
    """A foreign certificate is refused in the handshake, a certificate without a purpose in KMIP."""
    (one,) = pykmip_servers[:1]
    unstated = pki.client_ca.issue((), common_name="keystead", purpose="unstated")
    for ours, reason, error, stage in [
        (pki.stranger, "client_certificate_untrusted", errors.CLIENT_CERTIFICATE_REFUSED, "tls"),
        (unstated, "client_certificate_not_registered", errors.CLIENT_CERTIFICATE_REFUSED, "kmip"),
    ]:
        (result,) = run(Gateway(LOOPBACK).probe_all([target(one.port)], identity(ours, pki.server_ca), 40))
        assert (result.reason, result.error, result.stage) == (reason, error, stage)


def test_every_reachable_row_has_a_case() -> None:
    """Each row of the table has a peer that causes it, or a reason why none can."""
    caused = {(param.values[0].reason, param.values[0].error) for param in all_cases()}
    unreachable = {
        ("unreachable", errors.NETWORK): "needs a network without a route: tested in test_failures.py",
        ("server_certificate_revoked", errors.SERVER_CA_REFUSED): "no revocation list is loaded",
    }
    rows = {(row.reason, row.error) for row in TABLE}
    assert rows - caused == set(unreachable)
    assert not caused - rows - {(None, None)}


def test_a_refused_certificate_is_shown_to_the_operator(run: Any) -> None:
    """A refused certificate is in the result."""
    with kmip_server()() as server:
        (result,) = run(Gateway(LOOPBACK).probe_all([target(server.port)], identity(CLIENT, OTHER_CA), 40))
    certificate: Any = result.learned["certificate"]
    assert certificate["issuer"] == "CN=Key Server CA"


@pytest.mark.parametrize(
    ("answers", "warning"),
    [
        (not_supported(kmip.QUERY), "Query is not supported"),
        (not_supported(kmip.LOCATE), "Locate is not supported"),
        ({kmip.LOCATE: kmip.failure(kmip.LOCATE, kmip.PERMISSION_DENIED)}, "Locate is not permitted"),
        (
            {kmip.DISCOVER_VERSIONS: kmip.failure(0x1E, kmip.PERMISSION_DENIED)},
            "Discover Versions is not permitted",
        ),
    ],
    ids=["no Query", "no Locate", "Locate denied", "Discover Versions denied"],
)
def test_what_is_tolerated_is_told(run: Any, answers: Any, warning: str) -> None:
    """A server that lacks an operation is accepted with a warning."""
    with kmip_server(answers)() as server:
        (result,) = run(Gateway(LOOPBACK).probe_all([target(server.port)], identity(), 40))
    assert result.accepted
    assert result.learned["warnings"] == [warning]


def test_the_clock_is_compared(run: Any) -> None:
    """The result has the difference between the server's clock and ours, in seconds."""
    with kmip_server(clock=3600)() as server:
        (result,) = run(Gateway(LOOPBACK).probe_all([target(server.port)], identity(), 40))
    assert 3590 < int(str(result.learned["clock_skew_s"])) < 3610


def test_what_a_server_says_is_made_fit_to_show(run: Any) -> None:
    """A vendor's text is cut and stripped of control characters."""
    vendor = "\x1b[31mred\r\n" + "x" * 1000
    answers = {kmip.QUERY: kmip.success(kmip.QUERY, kmip.text(0x42009D, vendor))}
    with kmip_server(answers)() as server:
        (result,) = run(Gateway(LOOPBACK).probe_all([target(server.port)], identity(), 40))
    shown = str(result.learned["vendor"])
    assert len(shown) == 256
    assert shown.isprintable()


def test_a_refusal_is_logged_with_its_reason(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asks, and by the level that is logged by default: for accounts of SVMs it is told nowhere else."""
    caplog.set_level("INFO")
    run(Gateway(LOOPBACK).probe_all([target(5696, "169.254.169.254"), target(fault.refused_port())], identity(), 40))
    closed, forbidden = sorted(each for each in caplog.messages if each.startswith("key server "))
    assert "169.254.169.254" in forbidden
    assert "address_not_allowed (egress)" in forbidden
    assert "link_local" in forbidden
    assert "connection_refused (connect)" in closed


def test_the_username_is_sent_and_shown_nowhere(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The credential travels in each request; neither result nor log holds the password."""
    caplog.set_level("DEBUG")
    seen: list[bytes] = []
    answer = kmip.answering({kmip.LOCATE: kmip.failure(kmip.LOCATE, kmip.AUTHENTICATION_NOT_SUCCESSFUL)})

    class Watched:
        def __init__(self, connection: Any) -> None:
            self._connection = connection

        def recv(self, size: int) -> bytes:
            seen.append(self._connection.recv(size))
            return seen[-1]

        def sendall(self, data: bytes) -> None:
            self._connection.sendall(data)

    script = fault.tls(server_context(SERVER, CLIENT_CA), lambda connection: answer(Watched(connection)))
    with fault.FaultServer(script) as server:
        one = target(server.port, username="canary-user", password=Secret("canary-password"))
        (result,) = run(Gateway(LOOPBACK).probe_all([one], identity(), 40))
    assert result.reason == "credential_refused"
    assert sum(b"canary-password" in data for data in seen) == 3
    assert "canary-password" not in repr(result) + caplog.text
