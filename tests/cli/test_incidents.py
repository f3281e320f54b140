"""``docs/how-to/incidents.md``: what it tells of really happens to a service, and its blocks mend it.

Each section has a reader of its own. The commands of the last one are those of an old release.
"""

from __future__ import annotations

import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.pages import blocks
from tests.cli.test_how_tos import (
    READER_PASSWORD,
    WITHIN_S,
    Reader,
    follow,
    prepare_backup,
    reader,
    script,
    write_authority,
)
from tests.peers.certificates import DAY, Authority
from tests.peers.keystead import COMMAND, Client, Installation, create_key, create_key_manager, install_certificates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group

__all__ = ["reader"]

pytestmark = pytest.mark.long

PAGE = "incidents.md"
WHEELS = sorted((Path(__file__).parents[1] / "releases").glob("*.whl"))
ENDS_S = 15
"""The life of a client certificate that is to end, in seconds. It must be long enough to be taken by key servers."""

SHIFTED = """
from datetime import timedelta
from pathlib import Path
from keystead.app.clock import SystemClock
now = SystemClock.now
SystemClock.now = lambda self: now(self) + timedelta(days=float(Path({file!r}).read_text()))
from keystead.cli.main import main
main()
"""
"""A service whose clock is off by so many days as a file says."""


@dataclass(frozen=True)
class Incident:
    """What happens before a section, and later before a heading; the commands that fail, and lines that are shown.

    ``after`` checks the service when all is mended.
    """

    happens: Callable[[Reader], None]
    fails: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()
    after: Callable[[Reader], None] = lambda _: None
    later: Mapping[str, Callable[[Reader], None]] = field(default_factory=dict)


def manager(call: Client, svm: str = "vs0") -> str:
    """Return the path of an SVM's key manager."""
    (found,) = call.get(f"/security/key-managers?svm.name={svm}")["records"]
    return f"/security/key-managers/{found['uuid']}"


def names(reader: Reader, svm: str = "vs0") -> set[str]:
    """Return the names of an SVM's keys."""
    with reader.client() as call:
        return {each["name"] for each in call.get(f"{manager(call, svm)}/volume-keys?fields=name")["records"]}


def wait(until: Callable[[], object]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + WITHIN_S
    while not until():
        assert time.monotonic() < end
        time.sleep(0.1)


def lost_servers(reader: Reader) -> int:
    """Return how many key servers are said to be lost."""
    with reader.client() as call:
        found = call.get("/support/attention?fields=*")["records"]
    return sum((each["subject"], each["severity"]) == ("key_server", "critical") for each in found)


# --- incidents -------------------------------------------------------------------------------------------------------


def lose_all(reader: Reader) -> None:
    """Read the key, so that it is in memory; then lose all of its key servers. There is another one."""
    with reader.client() as call:
        path = manager(call)
        (key,) = call.get(f"{path}/volume-keys")["records"]
    with Client(reader.port, reader.installation.data / "tls.crt", "storage", READER_PASSWORD) as storage:
        assert storage("POST", f"{path}/volume-keys/{key['key_id']}/retrieve").status == 200
    for server in reader.group.primaries[:3]:
        server.kill()
    wait(lambda: lost_servers(reader) == 3)
    reader.names["KS4"] = reader.group.primaries[3].address


def end_client_certificate(reader: Reader) -> None:
    """Use a client certificate until it has ended, and have the key servers ask for it again."""
    write_authority(reader)
    ends = timedelta(seconds=ENDS_S)
    short = reader.pki.client_ca.issue(
        (), common_name="keystead", purpose="client", key=reader.pki.client.key, ends=ends
    )
    until = time.monotonic() + ENDS_S
    with reader.client() as call:
        body = {"type": "client", "name": "short", "svm": {"name": "vs0"}, "private_key": short.key_pem}
        made = call.create("/security/certificates", body | {"public_certificate": short.certificate_pem})
        changed = call("PATCH", manager(call), {"external": {"client_certificate": {"uuid": made["uuid"]}}})
        assert changed.status == 200, changed.content
    wait(lambda: time.monotonic() > until)
    for server in reader.group.primaries[:3]:
        server.restart()
    wait(lambda: lost_servers(reader) == 3)


def end_listener_certificate(reader: Reader) -> None:
    """Have a certificate on the listener that has ended."""
    ended = Authority("Listener CA").issue(("127.0.0.1",), starts=-2 * DAY, ends=-DAY)
    for name, content in (("tls.crt", ended.certificate_pem), ("tls.key", ended.key_pem)):
        file = reader.installation.data / name
        file.chmod(0o600)
        file.write_text(content)
    wait(lambda: not accepted(reader))


def accepted(reader: Reader) -> bool:
    """Return True if a client accepts the listener's certificate, which is the one in the data directory."""
    try:
        with reader.client() as call:
            return call("GET", "/cluster").status == 200
    except OSError:
        return False


def lose_root_key(reader: Reader) -> None:
    """Make a backup, and a key after it. Then lose the root key."""
    prepare_backup(reader)
    words = ("--passphrase-file", str(reader.folder / "passphrase"))
    saved = reader.installation.run("backup", *words, str(reader.folder / "backup" / "keystead.backup"))
    assert saved.returncode == 0, saved.stderr
    with reader.client() as call:
        create_key(call, manager(call), "vol2")
    reader.stop_service()
    (reader.installation.data / "root.key").unlink()


def is_the_same(reader: Reader) -> None:
    """Check that nothing is older than before. The service of the page ended with it."""
    reader.stop_service()
    restart(reader)
    assert names(reader) == {"vol1", "vol2"}
    with reader.client() as call:
        assert call.get("/security/key-manager-incarnation")["number"] == 1


def fill_disk(reader: Reader) -> None:
    """Have no room: files of the service cannot grow beyond 64 KiB."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.prlimit(reader.service.pid, resource.RLIMIT_FSIZE, (2**16, most))
    with reader.client() as call:
        answers = (call("POST", "/svm/svms", {"name": f"before-{number}"}) for number in range(100))
        full = next(answer for answer in answers if answer.status != 201)
        assert full.status == 503
        assert b"its disk" in full.content


def make_room(reader: Reader) -> None:
    """Have room again."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.prlimit(reader.service.pid, resource.RLIMIT_FSIZE, (most, most))


def set_clock_wrong(reader: Reader) -> None:
    """Have the clock of the running service jump by two days, and the service notice."""
    offset = reader.folder / "offset"
    offset.write_text("0")
    reader.service.signal(signal.SIGTERM)  # so that the next one need not wait for the keeper's lease
    reader.service.wait(WITHIN_S)
    program = [sys.executable, "-c", SHIFTED.format(file=str(offset)), *reader.installation.command("serve")[3:]]
    reader.service = reader.running.enter_context(reader.installation.serving(program))
    offset.write_text("2")
    wait(lambda: "the clock is untrusted" in reader.service.stderr.read_text())


def set_clock_right(reader: Reader) -> None:
    """Set the clock right."""
    (reader.folder / "offset").write_text("0")


def lose_seconds(reader: Reader) -> None:
    """Put the database back to where it was before a key was created."""
    data, saved = reader.installation.data, reader.folder / "saved"
    saved.mkdir()
    reader.stop_service()
    for file in data.glob("keystead.db*"):
        shutil.copy(file, saved)
    restart(reader)
    with reader.client() as call:
        create_key(call, manager(call), "vol2")
    reader.stop_service()
    for file in data.glob("keystead.db*"):
        if file.suffix != ".place":
            file.unlink()
    for file in saved.iterdir():
        (data / file.name).write_bytes(file.read_bytes())
    restart(reader)
    assert names(reader) == {"vol1"}


def restart(reader: Reader) -> None:
    """Start the service again, on the same port."""
    reader.service = reader.running.enter_context(reader.installation.serving(reader.installation.command("serve")))


def is_released(reader: Reader) -> None:
    """Check that both keys are there, and that destruction goes on."""
    assert names(reader) == {"vol1", "vol2"}
    with reader.client() as call:
        assert call.get("/security/key-manager-incarnation")["destroys"]


def is_there(reader: Reader) -> None:
    """Check that the key is on the other key servers."""
    assert names(reader, "vs9") == {"vol1"}


def none_is_lost(reader: Reader) -> None:
    """Check that the key servers are available."""
    wait(lambda: lost_servers(reader) == 0)


INCIDENTS = {
    "All key servers are lost": Incident(
        lose_all, (r"20: keystead status",), (r"^CRITICAL +keys vol1 of vs0",), is_there
    ),
    "The client certificate has ended": Incident(
        end_client_certificate, (r"20: keystead status",), (r"stage tls",), none_is_lost
    ),
    "The certificate of the listener has ended": Incident(
        end_listener_certificate,
        (r"3: keystead cluster show",),
        later={"Check the listener": lambda reader: wait(lambda: accepted(reader))},
    ),
    "The root key is lost": Incident(
        lose_root_key, (r"1: keystead audit verify",), (r"root\.key cannot be read", r"^node .*: intact"), is_the_same
    ),
    "The disk is full": Incident(
        fill_disk,
        (r"1: keystead vserver create",),
        (r"its disk", r"^node .*: intact"),
        later={"Check the disk": make_room},
    ),
    "The clock is wrong": Incident(set_clock_wrong, later={"Check the clock": set_clock_right}),
    "The database lost its last seconds": Incident(lose_seconds, (), (r"restored", r"keys taken: 1\b"), is_released),
}


@pytest.mark.parametrize("section", INCIDENTS)
def test_a_section_mends_its_incident(section: str, reader: Reader) -> None:
    """Nothing fails but what the section is about."""
    incident = INCIDENTS[section]
    incident.happens(reader)
    follow(reader, script(PAGE, reader.port, section), dict(incident.later), incident.fails, incident.shows)
    incident.after(reader)


# --- back to the old release -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wheel", WHEELS, ids=lambda wheel: wheel.name.split("-")[1])
def test_back_to_the_old_release(wheel: Path, pykmip_group: Group, pki: Pki, tmp_path: Path) -> None:
    """The page's commands bring back what was before the upgrade, and the key that was created since."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "old")
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "passphrase").write_text("words that only this test knows\n")
    saving = ("backup", "--passphrase-file", str(tmp_path / "backup" / "passphrase"))
    old = Installation(tmp_path / "data", source=tmp_path / "old").init()
    with old.serving() as service, service.client() as call:
        certificates = install_certificates(call, pki.client, pki.server_ca)
        servers = [server.address for server in pykmip_group.primaries[:2]]
        path = create_key_manager(call, certificates, *servers).removesuffix("/key-servers")
        create_key(call, path, "before")
        saved = old.run(*saving, str(tmp_path / "backup" / "keystead.backup"))
        assert saved.returncode == 0, saved.stderr
    new = replace(old, source=None)
    (old.data / "keystead.toml").write_text("monitor_interval = 4\n")
    assert new.run("db", "upgrade").returncode == 0
    with new.serving() as service, service.client() as call:
        create_key(call, path, "since")

    (block,) = (each.text for each in blocks(f"how-to/{PAGE}", 8443, "Back to the old release"))
    commands = [
        line.removeprefix("$ ") for line in block.splitlines() if "systemctl" not in line and "serve" not in line
    ]
    assert len(commands) == 4, commands
    places = {"/var/lib/keystead": str(old.data), "/backup": str(tmp_path / "backup")}
    places["/opt/keystead-old/bin/keystead"] = " ".join(COMMAND)
    for line in commands:
        command = re.sub("|".join(places), lambda found: places[found[0]], line)
        done = subprocess.run(command, shell=True, env=old.environment, capture_output=True, text=True, check=False)  # noqa: S602
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    with old.serving() as service, service.client() as call:
        assert {each["name"] for each in call.get(f"{path}/volume-keys?fields=name")["records"]} == {"before", "since"}
