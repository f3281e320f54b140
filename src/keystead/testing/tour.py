"""The demo's tour: servers added and refused, and a key that outlives one of them.

Everything is real and on loopback: key servers, mutual TLS, the REST API. The text is for terminals of 80 columns.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from keystead.cli.client import Api, Refused
from keystead.testing import tour_view as view
from keystead.testing.demo import PASSWORD_FILE, Demo, demo, exports
from keystead.testing.service import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from keystead.testing.key_servers import KeyServer

COMMAND: Final = (sys.executable, "-m", "keystead")
KEY_READER: Final = {
    "name": "storage",
    "role": {"name": "key-reader"},
    "applications": [{"application": "http", "authentication_methods": ["password"]}],
}
LOSS_S: Final = 15
"""The most seconds that it waits for a loss to be known."""
COUNT: Final = 7
"""Four key servers, a spare one, one that another CA certified, one that does not know the CA of our certificate."""


class TourError(Exception):
    """The tour cannot go on. The text says why."""


class Caller:
    """Who calls the service, and shows a call."""

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


def tell(caller: Caller, reader: Caller, told: Demo) -> None:
    """Tell the story: certificates, a key manager, servers added, refused and lost, and a key kept on them.

    ``reader`` is somebody who may read keys.
    """
    *good, spare, foreign, strict = told.servers
    foreign.break_("wrong_ca")
    strict.break_("client_ca")
    manager = set_up(caller, told)
    path = f"/security/key-managers/{manager}/key-servers"
    refuse_and_add(caller, path, good, [foreign.address, strict.address])
    stored = caller.call("What is stored", "GET", path, table=True, fields="*")["records"]
    probed = probe([server["server"] for server in stored], told.folder)
    view.key_servers("Key servers of SVM vs0, probed with `keystead kmip probe`", stored, probed)
    volume_keys = f"/security/key-managers/{manager}/volume-keys"
    key = caller.create("Keep a key on all four", volume_keys, {"name": "vol1"}, key="key_id")
    copies = caller.call("Where it is", "GET", f"{volume_keys}/{key}", table=True, fields="copies")["copies"]
    view.copies(copies)
    caller.call("Who may do everything may not read it", "POST", f"{volume_keys}/{key}/retrieve")
    before = reader.call("Somebody whose role is key-reader may", "POST", f"{volume_keys}/{key}/retrieve")
    survival = caller.call(
        "What would be lost with which servers?", "GET", f"/security/key-managers/{manager}/key-survival", table=True
    )
    view.survival(survival)
    lose(caller, good[0], path)
    after = reader.call("The key is there without it", "POST", f"{volume_keys}/{key}/retrieve")
    if after["material"] != before["material"]:
        raise TourError("the key changed")
    caller.call("Remove it", "DELETE", f"{path}/{quote(good[0].address, safe='')}")
    added = {"server": spare.address}
    caller.call("Another takes its place, and its copies are written there", "POST", path, added)


def set_up(caller: Caller, told: Demo) -> str:
    """Install the certificates, create an SVM and its key manager; return the key manager's uuid."""
    certificate = caller.create(
        "Install the certificate that we show to key servers",
        "/security/certificates",
        {
            "type": "client",
            "name": "kmip-client",
            "public_certificate": told.servers.client.certificate_pem,
            "private_key": told.servers.client.key_pem,
        },
    )
    (ca,) = told.servers.cas
    server_ca = caller.create(
        "Install the CA whose key servers we believe",
        "/security/certificates",
        {"type": "server_ca", "name": "kmip-ca", "public_certificate": ca},
    )
    caller.create("Create an SVM", "/svm/svms", {"name": "vs0"})
    return caller.create(
        "Create its key manager: the first server is proved before anything is stored",
        "/security/key-managers",
        {
            "svm": {"name": "vs0"},
            "external": {
                "client_certificate": {"uuid": certificate},
                "server_ca_certificates": [{"uuid": server_ca}],
                "servers": [{"server": told.servers[0].address}],
            },
        },
    )


def refuse_and_add(caller: Caller, path: str, good: Sequence[KeyServer], bad: Sequence[str]) -> None:
    """Add the good key servers but the first, and try the bad ones."""
    foreign, strict = bad
    caller.call("Add a primary key server", "POST", path, {"server": good[1].address, "timeout": 5})
    caller.call("A server whose certificate another CA issued", "POST", path, {"server": foreign})
    caller.call("A server that does not know the CA of our certificate", "POST", path, {"server": strict})
    both = {"records": [{"server": server} for server in bad]}
    title = "How far did they come? A dry run proves every stage and stores nothing"
    view.diagnosis(caller.call(title, "POST", path, both, table=True, dry_run="true")["records"])
    rest = {"records": [{"server": server.address} for server in good[2:]]}
    caller.call("Add two at once: all or none", "POST", path, rest, return_records="true")
    caller.call("A fifth primary key server", "POST", path, {"server": "ks5.example.com"})


def lose(caller: Caller, server: KeyServer, path: str) -> None:
    """Kill a key server, and wait until Keystead knows. Raise TourError if it does not."""
    view.say(f"\nNow {server.address} is killed ...")
    server.kill()
    killed = time.monotonic()
    lost = {"connectivity.node_states.state": "not_responding"}
    while not caller.ask("GET", path, **lost)["records"]:
        if time.monotonic() > killed + LOSS_S:
            raise TourError("the loss of a key server was not noticed")
        time.sleep(0.1)
    view.say(f"Keystead knows after {time.monotonic() - killed:.1f} s.")
    caller.call("Which server does not answer?", "GET", path, table=False, **lost)
    caller.call("What was announced?", "GET", "/support/ems/events", fields="log_message", order_by="time desc")


def probe(servers: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """Run ``keystead kmip probe`` on all servers at once."""
    files = ["--client-cert", "client.pem", "--client-key", "client.key", "--server-ca", "kmip-ca.pem"]
    running = [
        subprocess.Popen(  # noqa: S603 - this interpreter
            [*COMMAND, "kmip", "probe", server, *files, "-o", "json"],
            stdout=subprocess.PIPE, cwd=folder, env={**os.environ, "KEYSTEAD_EGRESS_ALLOW": LOOPBACK},
        )
        for server in servers
    ]  # fmt: skip
    return [json.loads(process.communicate()[0]) for process in running]


def invite(told: Demo) -> None:
    """Say what can be tried while it stays up, as lines to be pasted. The password is shown on a terminal only."""
    *good, spare, foreign, _ = told.servers
    service = told.service
    view.say(f"\nKeystead stays up at {service.url} until Ctrl-C.")
    where = service.password if sys.stdout.isatty() else f"in {told.folder / PASSWORD_FILE}"
    view.say(f"The account is {service.user}, the password {where}.")
    view.say(
        "Open that address in a browser: the console. (The browser warns, because the certificate is the demo's own.)"
        f' Under "Key servers", add {foreign.address}: it is refused, and the page says what to do. "Survival"'
        " shows which keys are lost with which key servers. Or, in another terminal:\n"
    )
    lines = [
        f"cd {shlex.quote(str(told.folder))}",
        f"export KEYSTEAD_URL={service.url} KEYSTEAD_CA=$PWD/data/tls.crt",
        f"export KEYSTEAD_PASSWORD=$(cat {PASSWORD_FILE}) KEYSTEAD_DEMO=$PWD",
        f"export KEYSTEAD_EGRESS_ALLOW={LOOPBACK}",
        f"alias keystead={shlex.quote(shlex.join(COMMAND))}",
        "keystead security key-manager external show",
        f"keystead kmip probe {foreign.address} \\",
        "    --client-cert client.pem --client-key client.key --server-ca kmip-ca.pem",
        "curl --config curl.conf $KEYSTEAD_URL/api/security/key-managers",
    ]
    print(*lines, sep="\n", flush=True)  # noqa: T201 - no line is folded where it would not paste
    view.say("\nIts key servers; break one, and read a key that is not in memory:\n")
    for server in (*good[1:], spare):
        view.say(f"    {server.address}  {server.name}")
    read = [
        "\nkeystead security key-manager key create --vserver vs0 --name vol2",
        f"keystead demo break {spare.name} refused",
        "keystead security key-manager key retrieve --user storage --vserver vs0 \\",
        "    --name vol2 --explain --stdout | sha256sum",
        "keystead security key-manager external survival --vserver vs0",
    ]
    print(*read, sep="\n", flush=True)  # noqa: T201 - as above
    view.say(
        "\nFor docs/quickstart.md, in a fresh terminal (this folder is deleted when the demo ends), with key servers"
        " that the lines above do not break:\n"
    )
    names = {f"KS{number}": server.address for number, server in enumerate(good[1:], 1)}
    values = {"KEYSTEAD_EGRESS_ALLOW": LOOPBACK, **names, **told.files}
    print(exports(values), end="", flush=True)  # noqa: T201 - as above


def run(folder: Path, *, once: bool, host: str, port: int) -> None:
    """Run the tour in an empty folder, and stay up unless it is for ``once``. Raise TourError, NotStartedError."""
    started = time.monotonic()
    view.rule("Keystead demo")
    view.say("Starting five key servers, two that are set up wrongly, and Keystead ...")
    with demo(folder, COUNT, host=host, port=port) as told:
        view.say(f"Keystead answers at {told.service.url}, browsers too. How to log in stands at the end.")
        with told.service.api() as api, told.service.api("storage") as reading:
            Caller(api).ask("POST", "/security/accounts", KEY_READER | {"password": told.service.password})
            tell(Caller(api), Caller(reading), told)
        view.say("")
        view.rule(f"done in {time.monotonic() - started:.0f} s")
        if not once:
            invite(told)
            signal.pause()
