"""The how-to pages, as their readers paste them: every block is run, after the quickstart, against real servers.

What a page helps with really happens before: a key server is wiped, a disk is lost. :data:`BEFORE` says what, before
the blocks under which heading.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from keystead.app.initialise import initialise
from keystead.kmip.testing.server import KeyServer
from keystead.settings import FILE_NAME, Settings, load
from tests.cli.pages import DOCS, PASTED, SHOWN, blocks, environment, run
from tests.peers.appliances import Appliance
from tests.peers.certificates import Authority, client, server_context
from tests.peers.keystead import PASSWORD, Client, Installation, create_key, create_key_manager, install_certificates
from tests.peers.postgres import postgres_server
from tests.peers.processes import accepts, free_port

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.peers.certificates import Credentials
    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group
    from tests.peers.keystead import Service

READER_PASSWORD = "the reader's, 1 of many"
WITHIN_S = 120
RUN_ELSEWHERE = {"ansible.md", "cluster.md", "container.md", "incidents.md", "systemd.md", "test-against-keystead.md"}
"""Pages with tests of their own: ``tests/conformance/test_ansible_page.py``, ``tests/test_cluster_page.py``,
``tests/test_containerfile.py``, ``tests/cli/test_incidents.py``, ``tests/test_systemd.py`` and
``tests/testing/test_page.py``."""
WITHOUT_COMMANDS = {"console.md"}
"""Pages with nothing to paste."""


@dataclass
class Reader:
    """Who follows a page: a folder as the quickstart leaves it, a service, and key servers to which things happen."""

    folder: Path
    installation: Installation
    port: int
    pki: Pki
    group: Group
    service: Service
    names: dict[str, str]
    running: contextlib.ExitStack
    others: dict[str, OtherServer] = field(default_factory=dict)

    def client(self) -> Client:
        """A client of the service."""
        return Client(self.port, self.installation.data / "tls.crt", "admin", PASSWORD, "")

    def stop_service(self) -> None:
        """Kill the service, whoever started it."""
        self.service.kill()
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((self.folder / "serve.pid").read_text()), signal.SIGKILL)
        until = time.monotonic() + WITHIN_S
        while accepts(self.port):
            assert time.monotonic() < until
            time.sleep(0.02)

    def other_server(self, name: str, credentials: Credentials) -> None:
        """Start a key server with a certificate of its own, and name its address."""
        server = self.running.enter_context(other_server(credentials, self.pki.client_ca))
        self.others[name] = server
        self.names[name] = server.address


@dataclass
class OtherServer:
    """A key server in this process that can be wiped, and get another certificate."""

    context: ssl.SSLContext
    appliance: Appliance

    @property
    def address(self) -> str:
        return self.appliance.address

    def replace(self, credentials: Credentials) -> None:
        """Be another machine: without objects, with another certificate."""
        credentials.load_into(self.context)
        self.appliance.responder.store.forget_all()
        self.appliance.disconnect()


@contextlib.contextmanager
def other_server(credentials: Credentials, client_ca: Authority) -> Iterator[OtherServer]:
    """Run a key server on an event loop in a thread."""
    context = server_context(credentials, client_ca)
    with Appliance(KeyServer(context)) as appliance:
        yield OtherServer(context, appliance)


@pytest.fixture
def reader(tmp_path: Path, pki: Pki, pykmip_group: Group) -> Iterator[Reader]:
    """Have a folder, a service and an SVM vs0 as the quickstart leaves them, with its files and names."""
    port = free_port()
    installation = Installation(tmp_path / "keystead-data", settings={"listen": f"127.0.0.1:{port}"})
    initialise(Settings(data=installation.data), f"{PASSWORD}\n".encode(), terminal=False)
    servers = [server.address for server in pykmip_group.primaries]
    names = {f"KS{number}": address for number, address in enumerate(servers[:3], 1)}
    names |= {"SYSLOG": "127.0.0.1", "HOOK": "https://127.0.0.1:1/in"}
    names |= {
        "CLIENT_CERT": "client.pem",
        "CLIENT_KEY": "client.key",
        "KMIP_CA": "kmip-ca.pem",
        "DATA": "keystead-data",
    }
    pki.client.write(tmp_path, "client")
    (tmp_path / "kmip-ca.pem").write_text(pki.server_ca.pem)
    write_passwords(tmp_path, port)
    with contextlib.ExitStack() as running:
        service = running.enter_context(installation.serving(installation.command("serve")))
        made = Reader(tmp_path, installation, port, pki, pykmip_group, service, names, running)
        with made.client() as call:
            follow_quickstart(call, pki, servers[:3])
        yield made


def write_passwords(folder: Path, port: int) -> None:
    """Write the files that hold the passwords of ``admin`` and ``storage``."""
    profile = folder / ".config" / "keystead" / "profile.toml"
    profile.parent.mkdir(parents=True)
    profile.touch(mode=0o600)
    ca = folder / "keystead-data" / "tls.crt"
    profile.write_text(f'url = "https://127.0.0.1:{port}"\nca = "{ca}"\nuser = "admin"\npassword = "{PASSWORD}"\n')
    (folder / "admin.password").write_text(f"{PASSWORD}\n")
    (folder / "storage.password").write_text(f"{READER_PASSWORD}\n")


def follow_quickstart(call: Client, pki: Pki, servers: list[str]) -> None:
    """Make what the quickstart makes and the pages use: certificates, SVM, key manager, key, reader."""
    mine = {"public_certificate": pki.client.certificate_pem, "private_key": pki.client.key_pem}
    call.create("/security/certificates", {"type": "client", "name": "kmip-client"} | mine)
    ca = {"type": "server_ca", "name": "kmip-ca", "public_certificate": pki.server_ca.pem}
    call.create("/security/certificates", ca)
    svm = {"svm": {"name": "vs0"}}
    call.create("/svm/svms", svm["svm"])
    call.create("/security/certificates", {"type": "client", "name": "vs0-client"} | mine | svm)
    external = {
        "client_certificate": {"name": "vs0-client"},
        "server_ca_certificates": [{"name": "kmip-ca"}],
        "servers": [{"server": server} for server in servers],
    }
    manager = call.create("/security/key-managers", {"external": external} | svm)["uuid"]
    create_key(call, f"/security/key-managers/{manager}", "vol1")
    account = {
        "name": "storage",
        "owner": svm["svm"],
        "role": {"name": "key-reader"},
        "password": READER_PASSWORD,
        "applications": [{"application": "http", "authentication_methods": ["password"]}],
    }
    made = call("POST", "/security/accounts", account)
    assert made.status == 201, made.content


# --- what happens to the reader --------------------------------------------------------------------------------------


def write_authority(reader: Reader) -> None:
    """Give the reader the authority of the key servers' clients, to sign with openssl."""
    ca = reader.pki.client_ca
    (reader.folder / "client-ca.pem").write_text(ca.pem)
    (reader.folder / "client-ca.key").write_bytes(private_pem(ca))
    reader.names |= {"CA": "client-ca.pem", "CA_KEY": "client-ca.key"}


def private_pem(authority: Authority) -> bytes:
    """Return an authority's private key as a file has it."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return authority.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def appliance(reader: Reader) -> None:
    """Have a key server whose certificate names another host."""
    reader.other_server("KS4", reader.pki.server_ca.issue(["kms.internal"]))
    reader.names["KS4_NAME"] = "kms.internal"


def unknown_issuer(reader: Reader) -> None:
    """Have a key server whose certificate comes from another authority."""
    authority = Authority("Another CA")
    reader.other_server("KS4", authority.issue())
    (reader.folder / "ca2.pem").write_text(authority.pem)
    reader.names["KS4_CA"] = "ca2.pem"


def for_keys(reader: Reader) -> None:
    """Have a fourth key server, and what a new certificate needs."""
    write_authority(reader)
    reader.names["KS4"] = reader.group.primaries[3].address
    client(reader.pki.client_ca).write(reader.folder, "other-client")
    reader.names |= {"NEW_CERT": "other-client.pem", "NEW_KEY": "other-client.key"}


def dead_server(reader: Reader) -> None:
    """Lose a key server."""
    reader.group.primaries[2].kill()


def wiped_server(reader: Reader) -> None:
    """Have a key server come back without its objects and with another public key, and have the service notice."""
    reader.other_server("KS3", reader.pki.server_ca.issue())
    with reader.client() as call:
        (manager,) = call.get("/security/key-managers?svm.name=vs0")["records"]
        servers = f"/security/key-managers/{manager['uuid']}/key-servers"
        assert call("DELETE", f"{servers}/{reader.group.primaries[2].address}").status == 200
        call.create(servers, {"server": reader.names["KS3"]})
        create_key(call, f"/security/key-managers/{manager['uuid']}", "vol2")
        reader.others["KS3"].replace(reader.pki.server_ca.issue())
        until = time.monotonic() + WITHIN_S
        while not call.get("/support/ems/events?message.name=km.canary.notvisible")["num_records"]:
            assert time.monotonic() < until
            time.sleep(0.1)


def database_away(reader: Reader) -> None:
    """Take the database away."""
    for file in reader.installation.data.glob("keystead.db*"):
        file.rename(file.with_name(f"lost-{file.name}"))


def database_back(reader: Reader) -> None:
    """Give it back."""
    for file in reader.installation.data.glob("lost-keystead.db*"):
        file.rename(file.with_name(file.name.removeprefix("lost-")))


def prepare_backup(reader: Reader) -> None:
    """Have a place for backups, with the settings."""
    (reader.folder / "backup").mkdir()
    (reader.folder / "backup" / "keystead.toml").write_text("monitor_interval = 4\n")
    (reader.folder / "passphrase").write_text("words that only this page knows\n")
    reader.names |= {"BACKUP": "backup", "PASSPHRASE": "passphrase"}


def empty_postgresql(reader: Reader) -> None:
    """Have an empty database on a PostgreSQL server."""
    server = reader.running.enter_context(postgres_server(os.environ.get("PYTEST_XDIST_TESTRUNUID", "")[:12] or None))
    url = reader.running.enter_context(server.empty_database())
    reader.names["KEYSTEAD_COPY_TO"] = url.replace("+psycopg", "").replace("keystead@", "keystead:its-password@")


def lost_disk(reader: Reader) -> None:
    """Create a key after the backup, then lose the data directory."""
    with reader.client() as call:
        (manager,) = call.get("/security/key-managers?svm.name=vs0")["records"]
        create_key(call, f"/security/key-managers/{manager['uuid']}", "after the backup")
    reader.stop_service()
    shutil.rmtree(reader.installation.data)


def lost_database(reader: Reader) -> None:
    """Lose the database, and nothing else."""
    reader.stop_service()
    (reader.installation.data / "keystead.db").write_bytes(b"\0" * 8192)


def foreign_key(reader: Reader) -> None:
    """Have another installation keep a key on a key server of vs0, and look for it."""
    data = reader.folder / "another"
    initialise(Settings(data=data), f"{PASSWORD}\n".encode(), terminal=False)
    with Installation(data).serving() as other, other.client() as call:
        certificates = install_certificates(call, reader.pki.client, reader.pki.server_ca)
        path = create_key_manager(call, certificates, reader.names["KS1"])
        create_key(call, path, "theirs")
    assert "unclaimed objects: 1" in reader.installation.run("key-manager", "rebuild").stdout


PAGES = ["quickstart.md", *(f"how-to/{each.name}" for each in sorted((DOCS / "how-to").iterdir()))]

BEFORE: dict[str, dict[str, Callable[[Reader], None]]] = {
    "certificates.md": {"": write_authority},
    "change-a-key-server.md": {"": appliance},
    "keys.md": {"": for_keys, "Replace a key server": dead_server},
    "monitor.md": {"": wiped_server},
    "move-the-database.md": {
        "": empty_postgresql,
        "Move it": Reader.stop_service,
        "Move it back": Reader.stop_service,
    },
    "operate.md": {"Read a key meanwhile": database_away, "Export audit records": database_back},
    "recover.md": {
        "": prepare_backup,
        "Restore": lost_disk,
        "The database is lost, the bundle is not": lost_database,
        "Look through what was found": foreign_key,
    },
    "refused-server.md": {"": unknown_issuer},
}
"""What happens before the blocks under a heading; ``""`` is before the page."""

LONG = {"move-the-database.md"}
"""Pages that are run with ``--long`` only."""

FAILS: dict[str, tuple[str, ...]] = {
    "monitor.md": (r"(10|20): keystead status",),
    "refused-server.md": (
        r"1: keystead security key-manager external add-servers --vserver vs0 --key-servers \$KS4$",
        r"1: keystead security key-manager external add-servers --vserver vs0 --dry-run --key-servers \$KS4$",
        r"1: keystead kmip probe \$KS4 ",
    ),
}
"""The commands that fail because the page is about that, each with its exit status, as patterns."""

SHOWS: dict[str, tuple[str, ...]] = {
    "keys.md": (r"^recovered vol2: ", r"^gave up 127\.0\.0\.1:", r"^vs2 +vol2 +committed"),
    "monitor.md": (
        *(r"^keystead_key_server_available\{", r"km\.canary\.notvisible", r"km\.keyserver\.confirmed"),
        *(r"^127\.0\.0\.1 +6514 +tcp_encrypted +local3 +true", r"^servers +1 +include +km\.keyserver\.\*"),
        *(r"^siem +syslog +127\.0\.0\.1 +servers", r"^deleted filter servers"),
    ),
    "move-the-database.md": (
        r"^set `database = .postgresql://keystead@/.* with its password ",
        r"^node .*: intact, \d+ records",
        r"^remove the setting `database` ",
    ),
    "operate.md": (r"^reset the password of account admin ",),
    "recover.md": (r"keys taken: 1\b", r"keys taken: 2\b", r"^released: incarnation \d destroys"),
    "refused-server.md": (r"stage tls, reason server_certificate_issuer_not_found",),
}
"""What else the output shows, as patterns of lines."""


# --- the tests -------------------------------------------------------------------------------------------------------


_NOTE = """set -u -o pipefail
note() {
  echo "$1: ${2%%$'\\n'*}" >> failed
}
trap 'note $? "$BASH_COMMAND"' ERR
"""


def script(page: str, port: int, section: str = "") -> str:
    """Return the blocks of a page, or of a section, that are pasted.

    What fails is noted in a file, and the next command is run.
    """
    (api,) = (block.script for block in blocks("quickstart.md", port) if "\napi() {" in block.text)
    lines = [_NOTE, api]
    heading = ""
    for block in blocks(f"how-to/{page}", port, section):
        if block.heading != heading:
            lines.append(f"pause '{block.heading}'\n")
            heading = block.heading
        if block.language in PASTED and not block.names:
            lines.append(block.script)
    return "".join([*lines, "exit 0\n"])


@pytest.mark.skipif(shutil.which("curl") is None, reason="the pages use curl")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="the pages use openssl")
@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.long) if page in LONG else page for page in sorted(BEFORE)]
)
def test_every_block_can_be_pasted(page: str, reader: Reader) -> None:
    """Nothing fails but what the page is about."""
    happens = dict(BEFORE[page])
    if "" in happens:
        happens.pop("")(reader)
    asked = {name for block in blocks(f"how-to/{page}", reader.port) for name in block.names}
    assert asked <= reader.names.keys()
    follow(reader, script(page, reader.port), happens, FAILS.get(page, ()), SHOWS.get(page, ()))


def follow(
    reader: Reader,
    script_: str,
    happens: dict[str, Callable[[Reader], None]],
    fails: Sequence[str],
    shows: Sequence[str],
) -> None:
    """Run a script. Before a heading, something may happen. These commands fail, and these lines are shown."""

    def paused(heading: str) -> None:
        if heading in happens:
            happens.pop(heading)(reader)

    ended = run(script_, reader.folder, environment(reader.folder, reader.port, reader.names), paused)
    failed = reader.folder / "failed"
    failures = failed.read_text().splitlines() if failed.exists() else []
    said = f"{ended.out}\n{ended.err}"
    assert ended.status == 0, (failures, said)
    assert len(failures) == len(fails), (failures, said)
    for pattern, failure in zip(fails, failures, strict=True):
        assert re.match(pattern, failure), (failure, said)
    for pattern in shows:
        assert re.search(pattern, said, re.MULTILINE), (pattern, said)
    assert not happens, f"no such headings: {sorted(happens)}"


@pytest.mark.parametrize("page", PAGES)
def test_every_fence_has_a_known_language(page: str) -> None:
    """So that no block escapes; a command that is shown and not pasted has a prompt in front."""
    found = list(blocks(page, 8443))
    assert {block.language for block in found} <= {*PASTED, *SHOWN}
    for block in found:
        assert block.language != "console" or block.text.startswith(("$ ", "# ")), block.text
        assert block.language not in PASTED or "\n$ " not in f"\n{block.text}", block.text


def test_settings_are_taken(tmp_path: Path) -> None:
    """Each block that shows lines of ``keystead.toml`` is such a file."""
    shown = [block.text for page in PAGES for block in blocks(page, 8443) if block.language == "toml"]
    assert shown
    (tmp_path / FILE_NAME).touch(mode=0o600)
    for text in shown:
        (tmp_path / FILE_NAME).write_text(text)
        load({"data": tmp_path}, {})


def test_every_page_is_run() -> None:
    """Here, or by a test of its own, unless there is nothing to run."""
    pages = BEFORE.keys() | RUN_ELSEWHERE | WITHOUT_COMMANDS
    assert {each.name for each in (DOCS / "how-to").iterdir()} == pages
    assert [name for name in WITHOUT_COMMANDS if "```" in (DOCS / "how-to" / name).read_text()] == []
