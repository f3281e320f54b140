"""``keystead event log show --follow`` on a terminal and in a pipe, with a service that goes away and comes back."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.cli.terminal import CTRL_C, Terminal
from tests.peers.processes import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.keystead import Client, Installation, Service

SHOW = ("keystead", "event", "log", "show")
HURRIED = (sys.executable, "-m", "tests.peers.hurried", "keystead.cli.event:POLL_S=0.2")
FOLLOW = (*HURRIED, *SHOW[1:], "--follow")


def happen(call: Client, name: str, svm: str | None = None) -> None:
    """Let an event happen that names an account: it may read keys."""
    owner = {"owner": {"name": svm}} if svm else {}
    login = [{"application": "http", "authentication_methods": ["certificate"]}]
    call.create("/security/accounts", {"name": name, "role": {"name": "key-reader"}, "applications": login} | owner)


def test_each_event_is_shown_once_also_after_the_service_was_away(
    installation: Installation, environment: dict[str, str], folder: Path
) -> None:
    """On a terminal, until Ctrl-C."""
    serve = installation.command("serve", "--listen", f"127.0.0.1:{free_port()}")
    with installation.serving(serve) as service, service.client() as call:
        happen(call, "first-reader")
        happen(call, "second-reader")
    own = environment | {"KEYSTEAD_CA": str(installation.data / "tls.crt"), "NO_COLOR": "1"}
    with installation.serving(serve) as service:
        command = (*FOLLOW, "--url", service.url, "--limit", "1")
        with Terminal(command, folder, own, columns=1000) as terminal:
            terminal.wait_for("second-reader")
            with service.client() as call:
                happen(call, "third-reader")
            terminal.wait_for("third-reader")
            service.kill()
            terminal.wait_for(f"{service.url} cannot be reached: Connection refused: waiting for it")
            with installation.serving(serve) as again, again.client() as call:
                terminal.wait_for("the service answers again")
                happen(call, "fourth-reader")
                terminal.wait_for("fourth-reader")
                terminal.type(CTRL_C)
                assert terminal.end() == 130
    events = [line for line in terminal.screen.splitlines() if "-reader" in line]
    assert [line.partition("-reader")[0].rpartition('"')[2] for line in events] == ["second", "third", "fourth"]
    assert all(line.split("  ")[1:3] == ["keystead-01", "alert"] for line in events)
    assert terminal.screen.count("waiting for it") == 1
    assert "Traceback" not in terminal.screen


def test_events_of_one_svm_as_json_lines(service: Service, environment: dict[str, str], folder: Path) -> None:
    """One object per line as it happens; events of other severities and owners are left out."""
    with service.client() as call:
        for name in ("events-a", "events-b"):
            call.create("/svm/svms", {"name": name})
        for name, svm in (("reader-a", "events-a"), ("reader-b", "events-b"), ("reader-c", None)):
            happen(call, name, svm)
        command = (*FOLLOW, "--vserver", "events-a", "--severity", "alert", "--severity", "notice", "-o", "json")
        following = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            assert following.stdout is not None
            seen = [json.loads(following.stdout.readline())]
            happen(call, "reader-d", "events-b")
            happen(call, "reader-e", "events-a")
            seen.append(json.loads(following.stdout.readline()))
        finally:
            following.kill()
            following.communicate()
    assert [event["svm"]["name"] for event in seen] == ["events-a", "events-a"]
    assert ["reader-a" in seen[0]["log_message"], "reader-e" in seen[1]["log_message"]] == [True, True]
    other = (*SHOW, "--vserver", "events-a", "--severity", "emergency")
    done = subprocess.run(other, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("", "no records\n")


def test_a_refusal_ends_it(service: Service, environment: dict[str, str], folder: Path) -> None:
    """Nobody goes on to ask with a credential that is refused."""
    wrong = environment | {"KEYSTEAD_PASSWORD": "wrong", "KEYSTEAD_URL": service.url}
    done = subprocess.run(FOLLOW, cwd=folder, env=wrong, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error 6691623: ")
