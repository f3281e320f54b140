"""``show-status`` and ``probe``: one line for each key server, and beneath it what is wrong with the bad ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from keystead.cli.security_key_manager_status import Watched, print_status
from tests.cli.terminal import Terminal
from tests.peers.certificates import server_context
from tests.peers.fault_servers import FaultServer, tls
from tests.peers.keystead import PASSWORD, install_certificates
from tests.peers.kmip_answers import answering

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Service

SHOW = ("keystead", "security", "key-manager", "external", "show-status")
PROBE = (*SHOW[:-1], "probe")
SINCE = "2026-03-01T12:30:45+00:00"
LOST = {"stage": "connect", "reason": "connection_refused"}
WHY = "stage connect, reason connection_refused"
REFUSED = (
    "    The host answers but nothing listens on the port: check the port (KMIP's is 5696) and that the KMIP service is"
    " started."
)
NOTICED_S = 120


def said(state: str = "available", node: str = "n1", **facts: Any) -> dict[str, Any]:
    """Return what a node says about a key server."""
    return {"state": state, "node": {"name": node}, "since": SINCE, **facts}


def shown(capsys: pytest.CaptureFixture[str], *watched: Watched) -> list[str]:
    """Return the lines that are printed about these servers."""
    print_status(watched, ["server"])
    return capsys.readouterr().out.splitlines()


def test_good_servers(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each; the first certificate of all that ends counts, and has ended in one case."""
    now = datetime.now(UTC)
    ends = [{"expiry_time": (now + timedelta(days=days, hours=1)).isoformat()} for days in (9, 300, -4)]
    good = Watched("vs0", "ks1:5696", [said(certificates=ends[:2], keys_visible=True), said(node="n2")])
    late = Watched("vs0", "ks2:5696", [said(certificates=ends[1:])])
    assert shown(capsys, good, late) == [
        "server    state      since              cert  keys",
        "ks1:5696  available  2026-03-01 12:30Z  9d    yes",
        "ks2:5696  available  2026-03-01 12:30Z  -4d",
    ]


def test_the_worst_word_of_the_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    """Not responding is worse than unknown; below is which of the nodes say so, and what to do."""
    bad = said("not_responding", "n3", since="2026-03-02T08:00:00+01:00", last_available=SINCE, **LOST)
    unknown = {"state": "unknown", "node": {"name": "n2"}}
    assert shown(capsys, Watched("vs0", "ks1:5696", [said(), unknown, bad])) == [
        "server    state           since",
        "ks1:5696  not_responding  2026-03-02 07:00Z",
        "",
        "ks1:5696: stage connect, reason connection_refused",
        "  last available 2026-03-01 12:30Z, reported by 1 of 3 nodes: n3",
        REFUSED,
    ]


def test_what_to_do_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Servers that fail for the same reason share it."""
    down = said("not_responding", **LOST)
    lines = shown(capsys, Watched("vs0", "ks1:5696", [down]), Watched("vs0", "ks2:5696", [down]))
    assert lines[4:] == [f"ks1:5696: {WHY}", REFUSED, f"ks2:5696: {WHY}"]


@pytest.mark.parametrize(
    ("states", "first", "last"),
    [
        ([said("not_responding", stage="resolve")], "stage resolve", "The host name has no address that Keystead may"),
        ([said("not_responding", stage="tls")], "stage tls", "TLS fails: check the certificates of both sides"),
        ([said("not_responding", stage="kmip")], "stage kmip", "TLS works and KMIP does not"),
        ([said("not_responding", stage="credential")], "stage credential", "The server refuses our requests"),
        ([said("unknown", reason="look_failed")], "reason look_failed", "Look at the log of Keystead"),
        ([said("unknown")], "unknown", "The node has not looked at the server yet"),
        ([said(keys_visible=False)], "stage keys, reason canary_not_seen", "Check address, port and user"),
    ],
)
def test_what_is_wrong_in_words(
    states: list[dict[str, Any]], first: str, last: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the reason; by the stage for accounts of SVMs, which see no reason; without either for a silent node."""
    _, row, _, title, *_, advice = shown(capsys, Watched("vs0", "ks1:5696", states))
    assert row.startswith(f"ks1:5696  {states[0]['state']}")
    assert title == f"ks1:5696: {first}"
    assert advice.startswith(f"    {last}")
    assert advice.endswith("An account of the cluster sees the reason.") is ("stage" in states[0])


def test_a_server_that_hides_keys_from_one_node(capsys: pytest.CaptureFixture[str]) -> None:
    """Its line says no."""
    hidden = Watched("vs0", "ks1:5696", [said(keys_visible=True), said(node="n2", keys_visible=False)])
    _, row, _, _, nodes, _ = shown(capsys, hidden)
    assert row.split()[-1] == "no"
    assert nodes == "  reported by 1 of 2 nodes: n2"


def test_no_line_exceeds_eighty_columns(tmp_path: Path) -> None:
    """On a terminal: one line per server, and what is wrong folded between words."""
    ends = (datetime.now(UTC) + timedelta(days=300)).isoformat()
    facts: dict[str, Any] = {"certificates": [{"expiry_time": ends}], "keys_visible": True}
    bad = said("not_responding", stage="tls", reason="server_certificate_issuer_not_found", **facts)
    watched = [("(cluster)", f"ks{number}.example.com:5696", [bad]) for number in range(4)]
    shows = "from keystead.cli.security_key_manager_status import Watched, print_status; import sys, json"
    script = f"{shows}; print_status([Watched(*each) for each in json.loads(sys.argv[1])], ['vserver', 'server'])"
    command = (sys.executable, "-c", script, json.dumps(watched))
    with Terminal(command, tmp_path, dict(os.environ) | {"NO_COLOR": "1"}) as terminal:
        assert terminal.end() == 0
    lines = terminal.screen.splitlines()
    assert lines[0].split() == ["vserver", "server", "state", "since", "cert", "keys"]
    assert [line.split()[1] for line in lines[1:5]] == [server for _, server, _ in watched]
    assert max(map(len, lines)) <= 80
    assert "    the intermediate CA as well if the server does not send it." in terminal.screen


def test_a_key_server_that_was_stopped(folder: Path, environment: dict[str, str], service: Service, pki: Pki) -> None:
    """Accounts of the cluster see the reason and what to do, accounts of the SVM the stage in words."""
    with service.client() as call:
        call.create("/svm/svms", {"name": "stopped"})
        installed = install_certificates(call, pki.client, pki.server_ca)
        application = {"application": "http", "authentication_methods": ["password"]}
        call.create(
            "/security/accounts",
            {"name": "stopped1", "owner": {"name": "stopped"}, "role": {"name": "vsadmin"}, "password": PASSWORD}
            | {"applications": [application]},
        )
        with FaultServer(tls(server_context(pki.server_ca.issue(), pki.client_ca), answering())) as server:
            address = f"127.0.0.1:{server.port}"
            call.create("/security/key-managers", installed.new_key_manager([{"server": address}], "stopped"))
    deadline = time.monotonic() + NOTICED_S
    while "not_responding" not in (seen := _output(folder, environment, "--vserver", "stopped")):
        assert time.monotonic() < deadline, seen
    heading, row, _, title, last, advice = seen.splitlines()
    assert heading.split() == ["server", "state", "since", "cert"]
    assert row.split()[:2] == [address, "not_responding"]
    assert row.split()[-1] == "9d"
    assert title == f"{address}: {WHY}"
    assert last.startswith("  last available 20")
    assert advice == REFUSED
    _, _, _, title, _, advice = _output(folder, environment, "--user", "stopped1").splitlines()
    assert title == f"stopped {address}: stage connect"
    assert advice.startswith("    Nothing answers at the host and port")

    probed = _run(folder, environment, PROBE, "--vserver", "stopped")
    assert probed.returncode == 1
    assert probed.stdout.splitlines()[3] == f"{address}: {WHY}"
    probed = _run(folder, environment, PROBE, "--vserver", "stopped", "--user", "stopped1")
    assert probed.returncode == 1
    _, row, _, title, advice = probed.stdout.splitlines()
    assert row.split() == [address, "false", "connect", "66060341"]
    assert title == f"{address}: stage connect"
    assert advice.startswith("    Nothing answers at the host and port")


def _output(folder: Path, environment: dict[str, str], *arguments: str) -> str:
    run = _run(folder, environment, SHOW, *arguments)
    assert run.returncode == 0, run.stderr
    return run.stdout


def _run(
    folder: Path, environment: dict[str, str], command: tuple[str, ...], *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
