"""The developer's page, and its lines, which are run against a service."""

from __future__ import annotations

import html
import json
import os
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from keystead import __version__
from keystead.web.developer import CA_FILE, first_calls, host_and_port
from tests.peers.keystead import PASSWORD
from tests.web.conftest import ORIGIN

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.keystead import Installation
    from tests.web.conftest import Browser, Site

VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@pytest.mark.parametrize("name", ["admin", "auditor", "vs1-admin", "reader"])
async def test_everybody_sees_it(site: Site, name: str) -> None:
    """With the address that the browser asked for, and the own name."""
    page = (await site.browser().log_in(name, url="/developer")).content.decode()
    assert __version__ in page
    for _, text in first_calls(ORIGIN, name):
        assert text in html.unescape(page)
    assert 'href="/docs/api"' in page
    assert (f"{ORIGIN}/metrics" in page) is (name in {"admin", "auditor"})


async def test_a_host_that_is_none(browser: Browser) -> None:
    """It is refused, and not written into the lines."""
    await browser.log_in()
    assert (await browser.send("GET", "/developer", host="[::1")).status == 400
    answer = await browser.send("GET", "/developer", host="keys.test:port")
    assert answer.status == 400


def test_lines_are_quoted() -> None:
    """Whatever a browser sends as its host stays one value in each."""
    host = "keys.test;x'\""
    (_, curl), (_, python), (_, playbook) = first_calls(f"https://{host}:8443", "a")
    assert shlex.split(curl)[-1].startswith(f"https://{host}:8443/")
    compile(python, "lines", "exec")
    assert f"hostname: {json.dumps(host)}\n" in playbook  # JSON texts are YAML


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("https://keys.example.com", ("keys.example.com", 443)),
        ("https://127.0.0.1:8443", ("127.0.0.1", 8443)),
        ("https://[::1]:8443", ("[::1]", 8443)),
    ],
)
def test_host_and_port(origin: str, expected: tuple[str, int]) -> None:
    """As clients of the API take them."""
    assert host_and_port(origin) == expected


@pytest.mark.skipif(shutil.which("curl") is None, reason="a line of the page uses curl")
def test_the_lines_run(installation: Installation, tmp_path: Path) -> None:
    """The lines of curl and of Python answer with the cluster's name. The password is given as somebody types it."""
    shutil.copy(installation.data / CA_FILE, tmp_path / CA_FILE)
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    with installation.serving() as service, service.client() as call:
        name = call.get("/cluster?fields=name")["name"]
        (_, curl), (_, python), _ = first_calls(f"https://127.0.0.1:{service.port}", "admin")

        def run(words: list[str], **options: Any) -> str:
            done: str = subprocess.run(
                words,
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
                start_new_session=True,  # without a terminal, so that the password is read from the input
                **options,
            ).stdout
            return done

        words = [f"admin:{PASSWORD}" if word == "admin" else word for word in shlex.split(curl)]
        assert json.loads(run(words))["name"] == name
        assert run([sys.executable, "-W", "ignore", "-c", python], input=f"{PASSWORD}\n").startswith(f"{name} ")
