"""The alerts for Prometheus and the dashboard for Grafana: they ask for metrics that there are, and fire when due."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from keystead.app.conditions import note_backup
from tests.peers import prometheus
from tests.peers.keystead import create_key, create_key_manager, install_certificates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group
    from tests.peers.keystead import Client, Installation

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "keystead.rules.yml"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "keystead.json").read_text())
PAGE = (ROOT / "docs" / "how-to" / "monitor.md").read_text()
REFERENCE = (ROOT / "docs" / "reference" / "metrics.md").read_text()
ALERTS = re.findall(r"- alert: (\w+)", RULES.read_text())
NEVER_HERE = 'keystead_key_copies{presence="different"}'
"""What a sound world does not show."""


def metrics() -> dict[str, set[str]]:
    """Return the labels of each metric that the reference lists. A histogram has three names."""
    found: dict[str, set[str]] = {}
    for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", REFERENCE, re.MULTILINE):
        own = set(re.findall(r"`(\w+)`", labels)) | {"job", "instance"}
        names = [f"{name}_{part}" for part in ("bucket", "sum", "count")] if kind == "histogram" else [name]
        found |= {each: own | ({"le"} if each.endswith("_bucket") else set()) for each in names}
    return found


def dashboard_expressions() -> Iterator[str]:
    """Yield the expressions of the dashboard, for the job of these tests."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"].replace("$job", "keystead").replace("$__rate_interval", "10s")


def selectors(expression: str) -> list[str]:
    """Return what an expression selects: names of metrics with their matchers."""
    return re.findall(r"\b(?:keystead_|process_|up\b)\w*(?:\{.*?\})?", expression)


def test_the_alerts_fire_when_due() -> None:
    """By their unit tests, in Prometheus' own form: each alert fires in one case, and does not in another."""
    if shutil.which("promtool") is None:
        pytest.skip("there is no promtool on this machine")
    tests = sorted(RULES.parent.glob("*.test.yml"))
    done = subprocess.run(["promtool", "test", "rules", *tests], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    cases = "".join(each.read_text() for each in tests)
    fires = set(re.findall(r"- alertname: (\w+)\n +eval_time: \w+\n +exp_alerts:", cases))
    silent = set(re.findall(r"- \{alertname: (\w+), eval_time: \w+\}", cases))
    assert fires == silent == set(ALERTS)


def test_the_page_says_what_to_do_at_each_alert() -> None:
    table = PAGE.partition("## What to alert on")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"`(Keystead\w+)`", table)) == sorted(ALERTS)


@pytest.mark.parametrize("place", ["alerts", "dashboard"])
def test_metrics_and_labels_are_in_the_reference(place: str) -> None:
    """A metric that is not there, or has no such label, would select nothing, and nobody would notice."""
    known = metrics() | {"up": {"job", "instance"}}
    text = RULES.read_text() if place == "alerts" else "\n".join(dashboard_expressions())
    found = selectors(text)
    assert len(found) > len(ALERTS)
    grouped = set(re.findall(r"\w+", " ".join(re.findall(r"\bby \((.*?)\)", text))))
    assert grouped <= set().union(*known.values())
    for selector in found:
        name, _, matchers = selector.partition("{")
        assert name in known, selector
        assert set(re.findall(r"(\w+)=", matchers)) <= known[name], selector


def test_the_dashboard_is_whole() -> None:
    """Each panel has an id and a place of its own, a title, and targets of the chosen data source."""
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24
    shown = [panel for panel in panels if panel["type"] != "row"]
    assert all(panel["title"] and panel["targets"] for panel in shown)
    assert {target["datasource"]["uid"] for panel in shown for target in panel["targets"]} == {"${datasource}"}


@pytest.mark.long
def test_every_expression_in_a_real_prometheus(
    installation: Installation, tmp_path: Path, pki: Pki, pykmip_group: Group
) -> None:
    """Prometheus takes all rules, and whatever they and the dashboard select is shown by a real service.

    One of two key servers is lost, and a destination takes nothing. At last the service is killed.
    """
    if prometheus.MISSING:
        pytest.skip(f"there is no {prometheus.MISSING} on this machine")
    lost, sound = (server.address for server in pykmip_group.primaries[:2])
    with installation.serving() as service, service.client() as call:
        certificates = install_certificates(call, pki.client, pki.server_ca)
        create_key(call, create_key_manager(call, certificates, lost, sound), "vol1")
        deliver_to_nobody(call)
        with prometheus.scraping(service, tmp_path / "prometheus", RULES) as shown:
            expressions = {rule["name"]: rule["query"] for rule in shown.rules()}
            assert sorted(expressions) == sorted(ALERTS)
            shown.wait_for(expressions["KeysteadNoBackup"])
            note_backup(installation.data)
            pykmip_group.primaries[0].kill()
            found = shown.wait_for(expressions["KeysteadKeyServerLost"])
            assert [each["key_server"] for each in found] == [lost]
            shown.wait_for(expressions["KeysteadKeysInFewDomains"].replace("> 0", ">= 0"))
            for selector in {each for text in expressions.values() for each in selectors(text)} - {NEVER_HERE}:
                shown.wait_for(selector)
            for expression in dashboard_expressions():
                shown.wait_for(expression)
            assert not shown.query(expressions["KeysteadNoBackup"])
            assert not shown.query(expressions["KeysteadNoKeeper"])
            assert {rule["health"] for rule in shown.rules()} == {"ok"}
            service.kill()
            shown.wait_for(expressions["KeysteadNodeDown"])
            shown.wait_for(expressions["KeysteadNoKeeper"])


def deliver_to_nobody(call: Client) -> None:
    """Have a destination of audit records where nobody listens, so that messages wait for it."""
    body = {"address": "127.0.0.1", "port": 1, "protocol": "tcp_unencrypted"}
    assert call("POST", "/security/audit/destinations?force=true", body).status in {201, 202}
