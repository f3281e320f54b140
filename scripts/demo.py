"""``./dev demo``: four real KMIP servers, Keystead, servers added and refused, each request shown with its answer.

Everything is real and on loopback: PyKMIP's servers, mutual TLS, the REST API. It stays up until Ctrl-C (``--once``
exits), in a temporary folder that it removes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.panel import Panel
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from keystead.cli.client import Api, Refused
from keystead.cli.login import Login
from tests.peers import pykmip
from tests.peers.certificates import Authority, client

if TYPE_CHECKING:
    from collections.abc import Iterator

READY_S = 30
KEYSTEAD = [sys.executable, "-m", "keystead"]
console = Console(highlight=False, width=max(110, min(Console().width, 120)))


class Demo:
    """A running Keystead and the way to show a call of it."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def call(self, title: str, method: str, path: str, body: Any = None, **query: str) -> dict[str, Any]:
        """Make a call; print the request and the answer, whichever it is, and return it."""
        shown = f"{method} /api{path}" + "".join(f"?{name}={value}" for name, value in query.items())
        console.print()
        console.print(Text(title, style="bold"))
        console.print(Text(f"  {shown}", style="cyan"))
        if body is not None:
            console.print(_json(_shortened(body)))
        started = time.monotonic()
        try:
            answer, ok = self._api.call(method, path, body, **query), True
        except Refused as refused:
            answer, ok = {"error": refused.error}, False
        milliseconds = (time.monotonic() - started) * 1000
        verdict, style = ("accepted", "green") if ok else ("refused", "red")
        console.print(Text(f"  {verdict} in {milliseconds:.0f} ms", style=style))
        console.print(_json(_shortened(answer)))
        return answer


def _shortened(value: Any) -> Any:
    """Show the first line of PEM texts, and no private key at all."""
    if isinstance(value, dict):
        return {name: "***" if name == "private_key" else _shortened(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_shortened(each) for each in value]
    return f"{value[:27]}..." if isinstance(value, str) and value.startswith("-----BEGIN") else value


def _json(value: Any) -> Syntax:
    text = _laid_out(value, 4)
    return Syntax(text, "json", theme="ansi_dark", background_color="default", padding=(0, 4), word_wrap=True)


def _laid_out(value: Any, indent: int) -> str:
    """JSON on as few lines as fit: a value on one line if it is short enough, else one line per member."""
    text = json.dumps(value)
    if len(text) + indent <= console.width - 8 or not isinstance(value, dict | list) or not value:
        return text
    inner, space = indent + 2, " " * (indent - 2)
    if isinstance(value, dict):
        members = [f"{json.dumps(name)}: {_laid_out(each, inner)}" for name, each in value.items()]
        return "{\n" + ",\n".join(f"{space}{member}" for member in members) + f"\n{space[2:]}}}"
    return "[\n" + ",\n".join(f"{space}{_laid_out(each, inner)}" for each in value) + f"\n{space[2:]}]"


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))


def stages_table(records: list[dict[str, Any]]) -> Table:
    """Draw the staged diagnosis of a dry run."""
    table = _table("Staged diagnosis")
    table.add_column("server")
    for stage in records[0]["stages"]:
        table.add_column(stage["stage"])
    table.add_column("verdict", no_wrap=True)
    marks = {"passed": ("✓", "green"), "failed": ("✗", "bold red")}
    for record in records:
        cells = []
        for stage in record["stages"]:
            mark, style = marks.get(stage["state"], ("·", "dim"))
            took = f" {stage['elapsed_ms']:.0f} ms" if stage["state"] in marks else ""
            cells.append(Text(mark + took, style=style))
        accepted = record["accepted"]
        verdict = (
            Text("accepted", style="green") if accepted else Text(f"{record['code']} {record['reason']}", style="red")
        )
        table.add_row(record["server"], *cells, verdict)
    return table


def servers_table(records: list[dict[str, Any]]) -> Table:
    """Draw the key servers as they are stored."""
    table = _table("Key servers of SVM vs0")
    for column in ("#", "server", "timeout", "create_remove_timeout", "username"):
        table.add_column(column)
    for number, record in enumerate(records, 1):
        row = (str(record[name]) for name in ("server", "timeout", "create_remove_timeout", "username"))
        table.add_row(str(number), *row)
    return table


@contextlib.contextmanager
def keystead(data: Path, log: Path) -> Iterator[tuple[str, str]]:
    """Run ``keystead init`` and ``serve``; yield the URL and the password of ``admin``."""
    password = secrets.token_urlsafe(12)
    password_file = data.parent / "admin-password"
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    environment = os.environ | {"KEYSTEAD_EGRESS_ALLOW": "127.0.0.0/8,::1/128"}
    command = [*KEYSTEAD, "init", "--data", str(data), "--admin-password-file", str(password_file)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*KEYSTEAD, "serve", "--data", str(data), "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, start_new_session=True,
        )  # fmt: skip
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("listening on "):
            raise SystemExit(f"keystead did not start:\n{log.read_text()}")
        yield line.removeprefix("listening on ").strip(), password
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)
        if process.stdout:
            process.stdout.close()


def tell(demo: Demo, good: list[str], foreign: str, strict: str, server_ca: Authority, identity: Any) -> None:
    """The story: certificates, a key manager, servers added and refused."""
    installed = [
        demo.call(title, "POST", "/security/certificates", body, return_records="true")["records"][0]["uuid"]
        for title, body in (
            (
                "Install the certificate that we show to key servers",
                {"type": "client", "name": "kmip-client", "public_certificate": identity.certificate_pem,
                 "private_key": identity.key_pem},
            ),
            (
                "Install the CA whose key servers we believe",
                {"type": "server_ca", "name": "kmip-ca", "public_certificate": server_ca.pem},
            ),
        )
    ]  # fmt: skip
    demo.call("Create an SVM", "POST", "/svm/svms", {"name": "vs0"}, return_records="true")
    manager = demo.call(
        "Create its key manager with a first key server: proved over mutual TLS and KMIP before anything is stored",
        "POST",
        "/security/key-managers",
        {
            "svm": {"name": "vs0"},
            "external": {
                "client_certificate": {"uuid": installed[0]},
                "server_ca_certificates": [{"uuid": installed[1]}],
                "servers": [{"server": good[0]}],
            },
        },
        return_records="true",
    )["records"][0]["uuid"]
    path = f"/security/key-managers/{manager}/key-servers"
    demo.call("Add a primary key server", "POST", path, {"server": good[1], "timeout": 5}, return_records="true")
    demo.call("A server whose certificate another CA issued", "POST", path, {"server": foreign})
    demo.call("A server that does not know the CA of our certificate", "POST", path, {"server": strict})
    both = {"records": [{"server": foreign}, {"server": strict}]}
    tried = demo.call("Which stage was it? A dry run proves and stores nothing", "POST", path, both, dry_run="true")
    console.print(stages_table(tried["records"]))
    rest = {"records": [{"server": good[2]}, {"server": good[3]}]}
    demo.call("Add two at once: all or none", "POST", path, rest, return_records="true")
    demo.call("A fifth primary key server", "POST", path, {"server": "ks5.example.com"})
    stored = demo.call("What is stored", "GET", path, fields="*")
    console.print(servers_table(stored["records"]))


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="exit when the story is told")
    once = parser.parse_args().once
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="keystead-demo-") as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary)
        server_ca, client_ca, other_ca = Authority("Key Server CA"), Authority("Client CA"), Authority("Another CA")
        identity = client(client_ca)
        console.print(Rule("Keystead demo"))
        console.print("Starting four PyKMIP key servers, two more that are set up wrongly, and Keystead ...")
        servers = stack.enter_context(pykmip.running(4, folder / "good", server_ca.issue(), client_ca))
        foreign = stack.enter_context(pykmip.running(1, folder / "foreign", other_ca.issue(), client_ca))
        strict = stack.enter_context(pykmip.running(1, folder / "strict", server_ca.issue(), other_ca))
        data = folder / "data"
        url, password = stack.enter_context(keystead(data, folder / "serve.log"))
        demo = Demo(Api(Login(url, "admin", data / "tls.crt", password)))
        tell(demo, [each.address for each in servers], foreign[0].address, strict[0].address, server_ca, identity)
        console.print()
        console.print(Rule(f"done in {time.monotonic() - started:.0f} s"))
        if once:
            return
        console.print(
            Panel(
                f"Keystead runs at {url}\naccount  admin\npassword {password}\nCA       {data / 'tls.crt'}\n\n"
                f"curl -u admin --cacert {data / 'tls.crt'} {url}/api/security/key-managers?fields=*",
                title="It stays up until Ctrl-C",
            ),
            soft_wrap=True,
        )
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
