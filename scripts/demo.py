"""``./dev demo``: five real KMIP servers, Keystead, servers added and refused, and a key that outlives one of them.

Everything is real and on loopback: PyKMIP's servers, mutual TLS, the REST API. It stays up until Ctrl-C (``--once``
exits), in a temporary folder that it removes; whatever ends it, nothing that it started is left.
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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from keystead.cli.client import Api, Refused
from keystead.cli.login import Login
from scripts import demo_view as view
from tests.peers import pykmip
from tests.peers.certificates import Authority, Credentials, client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

STOP_S = 10
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
COMMAND = Path(sys.executable).with_name("keystead")
LOOPBACK = {"KEYSTEAD_EGRESS_ALLOW": "127.0.0.0/8,::1/128"}
WATCHED_S = 1  # between two looks at a key server: a story must not wait for the default
KEY_READER = {
    "name": "storage",
    "role": {"name": "key-reader"},
    "applications": [{"application": "http", "authentication_methods": ["password"]}],
}
LOSS_S = 15  # the longest that it waits for a loss to be known


@dataclass(frozen=True)
class Servers:
    """The addresses of five sound key servers, of one with a foreign certificate, of one that does not know ours.

    ``kill`` kills the first of the sound ones; the last, ``spare``, takes its place. ``groups`` are the process groups
    of those that are left, the spare one last.
    """

    good: tuple[str, ...]
    spare: str
    groups: dict[str, int]
    foreign: str
    strict: str
    kill: Callable[[], None]


@dataclass(frozen=True)
class Pki:
    """Who issued what: the key servers' CA, our client certificate and its CA, and a CA that nobody here trusts."""

    server_ca: Authority
    client_ca: Authority
    other_ca: Authority
    client: Credentials

    def write(self, folder: Path) -> None:
        """Write the files that ``keystead kmip probe`` reads."""
        self.client.write(folder, "client")
        (folder / "kmip-ca.pem").write_text(self.server_ca.pem)


class Demo:
    """A running Keystead and the way to show a call of it."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def call(
        self, title: str, method: str, path: str, body: Any = None, *, table: bool = False, **query: str
    ) -> dict[str, Any]:
        """Make a call, show the request and the answer (unless a table follows), and return the answer."""
        line = f"{method} /api{path}" + ("?" if query else "") + "&".join(f"{k}={v}" for k, v in query.items())
        view.request(title, line, body)
        started = time.monotonic()
        try:
            answer, accepted = self._api.call(method, path, body, **query), True
        except Refused as refused:
            answer, accepted = {"error": refused.error}, False
        if not table:
            view.answer(answer, accepted=accepted, milliseconds=(time.monotonic() - started) * 1000)
        return answer

    def ask(self, method: str, path: str, body: Any = None, **query: str) -> dict[str, Any]:
        """Make a call that is not shown."""
        return self._api.call(method, path, body, **query)

    def create(self, title: str, path: str, body: Any, key: str = "uuid") -> str:
        """Make a call that creates an object; return its uuid, or another key field."""
        found: str = self.call(title, "POST", path, body, return_records="true")["records"][0][key]
        return found


def tell(demo: Demo, reader: Demo, servers: Servers, pki: Pki, folder: Path) -> None:
    """Tell the story: certificates, a key manager, servers added, refused and lost, and a key kept on them.

    ``reader`` is somebody who may read keys.
    """
    certificate = demo.create(
        "Install the certificate that we show to key servers",
        "/security/certificates",
        {
            "type": "client",
            "name": "kmip-client",
            "public_certificate": pki.client.certificate_pem,
            "private_key": pki.client.key_pem,
        },
    )
    server_ca = demo.create(
        "Install the CA whose key servers we believe",
        "/security/certificates",
        {"type": "server_ca", "name": "kmip-ca", "public_certificate": pki.server_ca.pem},
    )
    demo.create("Create an SVM", "/svm/svms", {"name": "vs0"})
    manager = demo.create(
        "Create its key manager: the first server is proved before anything is stored",
        "/security/key-managers",
        {
            "svm": {"name": "vs0"},
            "external": {
                "client_certificate": {"uuid": certificate},
                "server_ca_certificates": [{"uuid": server_ca}],
                "servers": [{"server": servers.good[0]}],
            },
        },
    )
    path = f"/security/key-managers/{manager}/key-servers"
    demo.call("Add a primary key server", "POST", path, {"server": servers.good[1], "timeout": 5})
    demo.call("A server whose certificate another CA issued", "POST", path, {"server": servers.foreign})
    demo.call("A server that does not know the CA of our certificate", "POST", path, {"server": servers.strict})
    both = {"records": [{"server": servers.foreign}, {"server": servers.strict}]}
    title = "How far did they come? A dry run proves every stage and stores nothing"
    view.diagnosis(demo.call(title, "POST", path, both, table=True, dry_run="true")["records"])
    rest = {"records": [{"server": server} for server in servers.good[2:]]}
    demo.call("Add two at once: all or none", "POST", path, rest, return_records="true")
    demo.call("A fifth primary key server", "POST", path, {"server": "ks5.example.com"})
    stored = demo.call("What is stored", "GET", path, table=True, fields="*")["records"]
    probed = probe([server["server"] for server in stored], folder)
    view.key_servers("Key servers of SVM vs0, probed with `keystead kmip probe`", stored, probed)
    volume_keys = f"/security/key-managers/{manager}/volume-keys"
    key = demo.create("Keep a key on all four", volume_keys, {"name": "vol1"}, key="key_id")
    copies = demo.call("Where it is", "GET", f"{volume_keys}/{key}", table=True, fields="copies")["copies"]
    view.copies(copies)
    demo.call("Who may do everything may not read it", "POST", f"{volume_keys}/{key}/retrieve")
    before = reader.call("Somebody whose role is key-reader may", "POST", f"{volume_keys}/{key}/retrieve")
    survival = demo.call(
        "What would be lost with which servers?", "GET", f"/security/key-managers/{manager}/key-survival", table=True
    )
    view.survival(survival)
    lose(demo, servers, path)
    after = reader.call("The key is there without it", "POST", f"{volume_keys}/{key}/retrieve")
    if after["material"] != before["material"]:
        raise SystemExit("the key changed")
    demo.call("Remove it", "DELETE", f"{path}/{quote(servers.good[0], safe='')}")
    demo.call("Another takes its place, and its copies are written there", "POST", path, {"server": servers.spare})


def lose(demo: Demo, servers: Servers, path: str) -> None:
    """Kill a key server, and wait until Keystead knows."""
    view.say(f"\nNow {servers.good[0]} is killed (kill -9) ...")
    servers.kill()
    killed = time.monotonic()
    lost = {"connectivity.node_states.state": "not_responding"}
    while not demo.ask("GET", path, **lost)["records"]:
        if time.monotonic() > killed + LOSS_S:
            raise SystemExit("the loss of a key server was not noticed")
        time.sleep(0.1)
    view.say(f"Keystead knows after {time.monotonic() - killed:.1f} s.")
    demo.call("Which server does not answer?", "GET", path, table=False, **lost)
    demo.call("What was announced?", "GET", "/support/ems/events", fields="log_message", order_by="time desc")


def probe(servers: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """Run ``keystead kmip probe`` on all servers at once."""
    files = ["--client-cert", "client.pem", "--client-key", "client.key", "--server-ca", "kmip-ca.pem"]
    running = [
        subprocess.Popen(
            [COMMAND, "kmip", "probe", server, *files, "-o", "json"],
            stdout=subprocess.PIPE, cwd=folder, env=os.environ | LOOPBACK,
        )
        for server in servers
    ]  # fmt: skip
    return [json.loads(process.communicate()[0]) for process in running]


@contextlib.contextmanager
def key_servers(folder: Path, pki: Pki) -> Iterator[Servers]:
    """Run the key servers, started side by side; they are ready when the block begins."""
    sound = pki.server_ca.issue()
    kinds = [*[(sound, pki.client_ca)] * 5, (pki.other_ca.issue(), pki.client_ca), (sound, pki.other_ca)]
    with contextlib.ExitStack() as stack:
        programs = []
        for number, (credentials, client_ca) in enumerate(kinds, 1):
            programs.append(pykmip.start(folder / f"ks{number}", credentials, client_ca))
            stack.callback(programs[-1].stop)
        for program in programs:
            program.wait_until_ready()
        *good, spare, foreign, strict = programs
        yield Servers(
            good=tuple(program.address for program in good),
            spare=spare.address,
            groups={program.address: program.pid for program in (*good[1:], spare)},
            foreign=foreign.address,
            strict=strict.address,
            kill=programs[0].stop,
        )


@contextlib.contextmanager
def keystead(folder: Path) -> Iterator[Login]:
    """Run ``keystead init`` and ``serve``; yield where it is and the login of ``admin``."""
    data, log = folder / "data", folder / "serve.log"
    password = secrets.token_hex(12)  # letters and digits: accounts made through the API need both
    password_file = folder / "admin-password"
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    init: list[str | Path] = [COMMAND, "init", "--data", data, "--admin-password-file", password_file]
    subprocess.run(init, check=True, stdout=subprocess.DEVNULL)
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [COMMAND, "serve", "--data", data, "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True,
            env=os.environ | LOOPBACK | {"KEYSTEAD_MONITOR_INTERVAL": str(WATCHED_S)},
        )  # fmt: skip
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("listening on "):
            raise SystemExit(f"keystead did not start:\n{log.read_text()}")
        yield Login(line.removeprefix("listening on ").strip(), "admin", data / "tls.crt", password)
    finally:
        process.terminate()
        try:
            process.communicate(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def invite(login: Login, folder: Path, servers: Servers) -> None:
    """Say what can be tried while it stays up, as lines to be pasted."""
    view.say(f"\nKeystead stays up at {login.url} until Ctrl-C.")
    view.say(f"The account is {login.user}, the password {login.password}. In another terminal:\n")
    lines = [
        f"cd {folder}",
        f"export KEYSTEAD_URL={login.url} KEYSTEAD_CA=$PWD/data/tls.crt",
        f"export KEYSTEAD_PASSWORD={login.password}",
        *(f"export {name}={value}" for name, value in LOOPBACK.items()),
        f"alias keystead={COMMAND}",
        "keystead security key-manager external show",
        f"keystead kmip probe {servers.foreign} \\",
        "    --client-cert client.pem --client-key client.key --server-ca kmip-ca.pem",
        f"curl -u {login.user} --cacert $KEYSTEAD_CA $KEYSTEAD_URL/api/security/key-managers",
    ]
    print(*lines, sep="\n", flush=True)  # by print, so that no line is folded where it would not paste
    view.say("\nIts key servers are these process groups; kill one, and read a key that is not in memory:\n")
    for server, group in servers.groups.items():
        view.say(f"    {server}  {group}")
    read = [
        "\nkeystead security key-manager key create --vserver vs0 --name vol2",
        f"kill -9 -- -{servers.groups[servers.spare]}",
        "keystead security key-manager key retrieve --user storage --vserver vs0 \\",
        "    --name vol2 --explain --stdout | sha256sum",
        "keystead security key-manager external survival --vserver vs0",
    ]
    print(*read, sep="\n", flush=True)
    view.say(
        "\nFor docs/quickstart.md, in a fresh terminal (this folder is deleted when the demo ends), with key servers"
        " that the lines above do not kill:\n"
    )
    files = {"CLIENT_CERT": "client.pem", "CLIENT_KEY": "client.key", "KMIP_CA": "kmip-ca.pem"}
    values = {
        "KEYSTEAD_EGRESS_ALLOW": LOOPBACK["KEYSTEAD_EGRESS_ALLOW"],
        **{f"KS{number}": server for number, server in enumerate(servers.good[1:], 1)},
        **{name: str(folder / file) for name, file in files.items()},
    }
    print(*(f"export {name}={value}" for name, value in values.items()), sep="\n", flush=True)


def run(*, once: bool) -> None:
    """Run the demo in a folder that is removed in the end."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="keystead-demo-") as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary)
        client_ca = Authority("Client CA")
        pki = Pki(Authority("Key Server CA"), client_ca, Authority("Another CA"), client(client_ca))
        pki.write(folder)
        view.rule("Keystead demo")
        view.say("Starting five PyKMIP servers, two that are set up wrongly, and Keystead ...")
        servers = stack.enter_context(key_servers(folder, pki))
        login = stack.enter_context(keystead(folder))
        with Api(login) as api, Api(replace(login, user="storage")) as reading:
            Demo(api).ask("POST", "/security/accounts", KEY_READER | {"password": login.password})
            tell(Demo(api), Demo(reading), servers, pki, folder)
        view.say("")
        view.rule(f"done in {time.monotonic() - started:.0f} s")
        if not once:
            invite(login, folder, servers)
            signal.pause()


def stop(*_: object) -> None:
    """End the demo; from now on nothing interrupts it while it cleans up."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> None:
    """Read the command line; any signal that asks to end ends it cleanly."""
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="exit when the story is told")
    once = parser.parse_args().once
    for number in STOPS:
        signal.signal(number, stop)
    try:
        run(once=once)
    except KeyboardInterrupt:
        view.say("\nStopped: everything is removed.")


if __name__ == "__main__":
    main()
