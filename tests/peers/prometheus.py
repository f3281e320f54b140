"""A real Prometheus that scrapes a real Keystead, and ``promtool``: Debian's packages of these names."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import subprocess
import time
import urllib.parse
from typing import TYPE_CHECKING, Any, Final

from tests.peers.keystead import ANSWER_S, PASSWORD
from tests.peers.processes import Program, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.keystead import Service

MISSING: Final = next((each for each in ("prometheus", "promtool") if shutil.which(each) is None), "")
"""The program that this machine lacks, or empty."""

READY_S: Final = 60

_CONFIGURATION: Final = """\
global:
  scrape_interval: 1s
  scrape_timeout: 1s
  evaluation_interval: 1s
rule_files: [{rules}]
scrape_configs:
  - job_name: keystead
    scheme: https
    tls_config:
      ca_file: {ca}
    basic_auth:
      username: admin
      password_file: {password}
    static_configs:
      - targets: ["127.0.0.1:{port}"]
"""


class Prometheus:
    """A running Prometheus."""

    def __init__(self, program: Program) -> None:
        self._address = program.address

    def query(self, expression: str) -> list[dict[str, str]]:
        """Return the labels of the series that an expression selects now. There are none while Prometheus starts."""
        found = self._get(f"query?{urllib.parse.urlencode({'query': expression})}")
        return [each["metric"] for each in found["result"]] if found else []

    def rules(self) -> list[dict[str, Any]]:
        """Return its rules, as it read them and with what came of their last evaluation."""
        return [rule for group in (self._get("rules") or {"groups": []})["groups"] for rule in group["rules"]]

    def _get(self, path: str) -> Any:
        """Return what it answers, None while it starts. AssertionError with its words if it refuses."""
        connection = http.client.HTTPConnection(self._address, timeout=ANSWER_S)
        try:
            connection.request("GET", f"/api/v1/{path}")
            answer = connection.getresponse()
            if answer.status == http.client.SERVICE_UNAVAILABLE:
                return None
            body = json.load(answer)
            assert body["status"] == "success", body
            return body["data"]
        finally:
            connection.close()

    def wait_for(self, expression: str, seconds: float = READY_S) -> list[dict[str, str]]:
        """Return the labels of the series that an expression selects, once there are any."""
        end = time.monotonic() + seconds
        while not (found := self.query(expression)):
            if time.monotonic() > end:
                raise TimeoutError(f"nothing for {expression}")
            time.sleep(0.05)
        return found


@contextlib.contextmanager
def scraping(service: Service, folder: Path, rules: Path | None = None) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes a service every second, with its files in ``folder``, and perhaps with rules."""
    folder.mkdir()
    password, configuration = folder / "password", folder / "prometheus.yml"
    password.write_text(PASSWORD)
    ca = service.installation.data / "tls.crt"
    configuration.write_text(_CONFIGURATION.format(ca=ca, password=password, port=service.port, rules=rules or ""))
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    program = Program(command, port, log=folder / "log")
    try:
        program.wait_until_ready()
        prometheus = Prometheus(program)
        prometheus.wait_for('up{job="keystead"} == 1')
        yield prometheus
    finally:
        program.stop()


def complaints(text: str) -> str:
    """Return what ``promtool check metrics`` says about an answer of ``/metrics``; empty if all is well."""
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
