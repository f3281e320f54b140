"""Each kept release can be upgraded from: its wheel makes an installation with keys; this version goes on with it.

`tests/store/test_compatibility.py` runs a release through an upgrade in little time.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.peers import canned
from tests.peers.keystead import (
    COMMAND,
    PASSWORD,
    READY_S,
    Client,
    Installation,
    Service,
    create_key,
    create_key_manager,
    install_certificates,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.peers.fixtures import Pki
    from tests.peers.postgres import PostgresServer

WHEELS = sorted((Path(__file__).parents[1] / "releases").glob("*.whl"))
KEYS = ("first", "second", "third")
READER = {
    "name": "reader",
    "role": {"name": "key-reader"},
    "password": PASSWORD,
    "applications": [{"application": "http", "authentication_methods": ["password"]}],
}


@pytest.fixture
def servers(pki: Pki, tmp_path: Path) -> Iterator[list[str]]:
    """Two key servers: their addresses."""
    with contextlib.ExitStack() as stack:
        programs = [canned.start(tmp_path / name, pki.server, pki.client_ca) for name in ("ks1", "ks2")]
        for program in programs:
            stack.callback(program.stop)
            program.wait_until_ready()
        yield [program.address for program in programs]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty database of the test's own; empty for SQLite in the data directory."""
    if request.param == "sqlite":
        yield ""
        return
    postgres: PostgresServer = request.getfixturevalue("postgres")
    with postgres.empty_database() as url:
        yield url


@dataclass(frozen=True)
class Kept:
    """What must be there after an upgrade: each key's material by name, the key servers, and the audit records."""

    material: Mapping[str, str]
    servers: Sequence[str]
    records: int

    @classmethod
    def read(cls, service: Service, call: Client, manager: str) -> Kept:
        """Read it through the API: keys as the account that may, all else as ``call``."""
        keys = call.get(f"{manager}/volume-keys?fields=name,key_id")["records"]
        with service.client("reader") as reader:
            material = {key["name"]: retrieved(reader, f"{manager}/volume-keys/{key['key_id']}") for key in keys}
        stored = [record["server"] for record in call.get(f"{manager}/key-servers")["records"]]
        return cls(material, stored, call.get("/security/audit/messages?return_records=false")["num_records"])


def retrieved(call: Client, key: str) -> str:
    """Return a key's material; ask again while key servers do not answer in time."""
    deadline = time.monotonic() + READY_S
    while (answer := call("POST", f"{key}/retrieve")).status == 503:
        assert time.monotonic() < deadline, answer.content
        time.sleep(0.1)
    assert answer.status == 200, answer.content
    material: str = answer.body["material"]
    return material


def test_there_is_a_release() -> None:
    """Else the tests below would be none."""
    assert WHEELS


@pytest.mark.long
@pytest.mark.parametrize("wheel", WHEELS, ids=[wheel.name.split("-")[1] for wheel in WHEELS])
def test_this_version_goes_on_with_an_installation_of_a_release(
    wheel: Path, database: str, servers: list[str], pki: Pki, tmp_path: Path
) -> None:
    """Keys, key servers, accounts and audit records are there afterwards; new keys are made; the chain is whole."""
    release = tmp_path / "release"
    zipfile.ZipFile(wheel).extractall(release)
    old = Installation(tmp_path / "data", database, source=release).init()
    said = subprocess.run([*COMMAND, "--version"], env=old.environment, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == wheel.name.split("-")[1]
    with old.serving() as service, service.client() as call:
        answer = call("POST", "/security/accounts", READER)
        assert answer.status == 201, answer.content
        certificates = install_certificates(call, pki.client, pki.server_ca)
        manager = create_key_manager(call, certificates, *servers).removesuffix("/key-servers")
        for name in KEYS:
            create_key(call, manager, name)
        before = Kept.read(service, call, manager)
    assert (set(before.material), before.servers) == (set(KEYS), servers)

    new = replace(old, source=None)
    upgraded = new.run("db", "upgrade")
    assert upgraded.returncode == 0, upgraded.stderr
    with new.serving() as service, service.client() as call:
        after = Kept.read(service, call, manager)
        assert (after.material, after.servers) == (before.material, before.servers)
        assert after.records >= before.records
        create_key(call, manager, "fourth")
    verified = new.run("audit", "verify")
    assert verified.returncode == 0, verified.stdout
