"""``keystead init`` and its data directory: repeated, interrupted, shared, of another release, tampered with."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from sqlalchemy import create_engine, text

from keystead.app.audit import verify_audit
from keystead.app.initialise import initialise, planned, upgrade
from keystead.app.opening import CannotStart, served_alone
from keystead.app.wiring import running
from keystead.core.secret import Secret
from keystead.sealing import Argon2Hasher
from keystead.settings import Settings, SettingsError
from keystead.store import open_store, tables
from keystead.store.upgrade import is_empty
from tests.peers.databases import raw_sqlite
from tests.peers.keystead import PASSWORD, Installation
from tests.peers.killing import Harness
from tests.store.revisions import hear_node, to_revision

if TYPE_CHECKING:
    from tests.peers.postgres import PostgresServer

MADE = {"admin.password", "keystead.db", "node.uuid", "root.key", "tls.crt", "tls.key"}
WAL = {"keystead.db-wal", "keystead.db-shm"}


def hash_of_admin(settings: Settings) -> str:
    """Return the stored hash of admin's password."""

    async def read() -> str:
        store = open_store(settings.database_url)
        try:
            account = await store.read(lambda tx: tx.account("admin"))
            assert account is not None
            return account.password_hash
        finally:
            await store.close()

    return asyncio.run(read())


def admin_has(settings: Settings, password: str) -> bool:
    """Return True if the account admin has this password."""
    stored, hasher = hash_of_admin(settings), Argon2Hasher()
    try:
        return asyncio.run(hasher.verify(stored, Secret(password)))
    finally:
        hasher.close()


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files that never change after they were made."""
    return {each.name: each.read_bytes() for each in folder.iterdir() if not each.name.startswith("keystead.db")}


def execute(installation: Installation, statement: str) -> None:
    """Change the SQLite database behind the service's back."""
    with contextlib.closing(raw_sqlite(installation.data / "keystead.db")) as database:
        database.execute(statement)


def test_init_without_a_terminal_writes_the_password_to_a_file_and_is_idempotent(tmp_path: Path) -> None:
    """An existing empty directory is taken; secrets are 0400; a second init changes nothing and says so."""
    installation = Installation(tmp_path / "data")
    installation.data.mkdir()
    first = installation.run("init")
    assert (first.returncode, first.stderr) == (0, "")
    assert {each.name for each in installation.data.iterdir()} == MADE
    modes = {each.name: each.stat().st_mode & 0o777 for each in installation.data.iterdir()}
    assert modes == dict.fromkeys(MADE, 0o400) | {"keystead.db": 0o600, "node.uuid": 0o444, "tls.crt": 0o444}
    certificate = x509.load_pem_x509_certificate((installation.data / "tls.crt").read_bytes())
    assert certificate.fingerprint(SHA256()).hex() in first.stdout.replace(":", "").lower()
    password = (installation.data / "admin.password").read_text().removesuffix("\n")
    assert len(password) > 20
    assert password not in first.stdout
    assert hash_of_admin(Settings(data=installation.data)).startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    before = contents(installation.data)
    second = installation.run("init")
    assert second.returncode == 0
    assert "its password is unchanged" in second.stdout
    assert contents(installation.data) == before
    assert admin_has(Settings(data=installation.data), password)


def test_init_says_whether_key_servers_may_be_on_this_host(tmp_path: Path) -> None:
    """One line: they are refused, or the networks that are allowed."""
    settings = Settings(data=tmp_path / "data")
    refused = initialise(settings, PASSWORD.encode(), terminal=False)
    allowed = initialise(replace(settings, egress_allow=("127.0.0.0/8", "::1")), None, terminal=False)
    assert "key servers on this host are refused: to use them, list their network in KEYSTEAD_EGRESS_ALLOW" in refused
    assert "key servers may also be in 127.0.0.0/8,::1: setting egress_allow" in allowed


@pytest.mark.parametrize(
    ("content", "password"),
    [
        (b"with a newline\n", "with a newline"),
        (b"without one", "without one"),
        (b"two newlines\n\n", "two newlines\n"),
        (b" spaces stay ", " spaces stay "),
        ("gr\u00fc\u00dfe aus unicode\n".encode(), "gr\u00fc\u00dfe aus unicode"),
    ],
)
def test_the_password_file_is_taken_as_it_is(
    initialised: Installation, tmp_path: Path, content: bytes, password: str
) -> None:
    """One trailing newline is ignored, nothing else; no password is shown or written anywhere."""
    shutil.copytree(initialised.data, tmp_path / "data")
    settings = Settings(data=tmp_path / "data")
    execute(Installation(settings.data), "DELETE FROM accounts")
    lines = initialise(settings, content, terminal=True)
    assert "account admin made, with the password given" in lines
    assert password.strip() not in "".join(lines)
    assert not (settings.data / "admin.password").exists()
    assert admin_has(settings, password)


@pytest.mark.parametrize("content", [b"", b"\n", b"short\n", b"x" * 129, b"\xff\xfe not utf-8"])
def test_a_password_that_cannot_be_used_makes_nothing(tmp_path: Path, content: bytes) -> None:
    """A usage error, before the directory is made; the password is not quoted."""
    with pytest.raises(SettingsError) as refused:
        initialise(Settings(data=tmp_path / "data"), content, terminal=False)
    assert "x" * 20 not in str(refused.value)
    assert not (tmp_path / "data").exists()


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    """A tight one takes nothing away: clients may read the certificate."""
    installation = Installation(tmp_path / "data")
    tight = ["sh", "-c", 'umask 777; exec "$@"', "sh", *installation.command("init", "--root-key", f"{tmp_path}/key")]
    installation.data.mkdir(mode=0o700)
    subprocess.run(tight, env=installation.environment, check=True, timeout=120)
    modes = {each.name: each.stat().st_mode & 0o777 for each in (*installation.data.iterdir(), tmp_path / "key")}
    assert {name: mode for name, mode in modes.items() if not name.startswith("keystead.db")} == {
        "admin.password": 0o400,
        "key": 0o400,
        "node.uuid": 0o444,
        "tls.crt": 0o444,
        "tls.key": 0o400,
    }


def test_a_root_key_that_is_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    """With the link and what it points to; no key is made at either place."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "not mounted" / "key")
    done = Installation(tmp_path / "data").run("init", "--root-key", str(link))
    assert done.returncode == 1
    assert done.stderr == f"Error: the root key {link} is a link to {tmp_path}/not mounted/key, which does not exist\n"
    assert not (tmp_path / "not mounted").exists()


def on_a_terminal(installation: Installation) -> str:
    """Return what ``keystead init`` shows on a terminal."""
    ours, theirs = os.openpty()
    try:
        subprocess.run(
            installation.command("init"),
            env=installation.environment,
            stdout=theirs,
            stdin=theirs,
            check=True,
            timeout=120,
        )
        return os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_on_a_terminal_the_password_is_shown_once_and_not_written(installation: Installation) -> None:
    """It is on the screen, in no file, and not shown by the next init."""
    execute(installation, "DELETE FROM accounts")
    screen = on_a_terminal(installation)
    shown = next(line for line in screen.splitlines() if "password: " in line).rpartition(" ")[2]
    assert admin_has(Settings(data=installation.data), shown)
    assert not (installation.data / "admin.password").exists()
    assert "its password is unchanged" in on_a_terminal(installation)


def test_two_inits_at_once_make_one_installation(tmp_path: Path) -> None:
    """Both succeed; one of them made the account, and its password is the one in the file."""
    installation = Installation(tmp_path / "data")
    both = [
        subprocess.Popen(
            installation.command("init"),
            env=installation.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ended = [(*process.communicate(timeout=120), process.returncode) for process in both]
    assert [(err, status) for _, err, status in ended] == [("", 0)] * 2
    assert sorted("made, its password is in" in out for out, _, _ in ended) == [False, True]
    assert {each.name for each in installation.data.iterdir()} == MADE
    assert admin_has(Settings(data=installation.data), (installation.data / "admin.password").read_text()[:-1])


def different_states(points: list[str]) -> list[int]:
    """Return the points before which something lasting has changed, and one in the middle of the migration."""
    lasting = ("open ", "os.link ", "os.rename ", "os.remove .root", "commit")
    found = [number for number, point in enumerate(points) if point.startswith(lasting)]
    after_commits = [number + 1 for number, point in enumerate(points) if point == "commit"]
    return sorted({*found, *after_commits, points.index("statement CREATE") + 5})


@pytest.mark.long
def test_an_init_killed_at_any_point_can_be_repeated(tmp_path: Path) -> None:
    """The next init makes what is missing; nothing is torn, nothing is left over, and the password is known."""
    with Harness() as harness:
        points = harness.run("initialise", data=str(tmp_path / "whole"), database="").points
        for number in different_states(points):
            where = f"killed at point {number}, {points[number]}"
            settings = Settings(data=tmp_path / f"killed-{number}")
            assert harness.run("initialise", number, data=str(settings.data), database="").killed, where
            assert harness.run("initialise", data=str(settings.data), database="").result, where
            assert {each.name for each in settings.data.iterdir()} - {"keystead.db-wal", "keystead.db-shm"} == MADE, (
                where
            )
            assert len((settings.data / "root.key").read_bytes()) == 32, where
            assert admin_has(settings, (settings.data / "admin.password").read_text().removesuffix("\n")), where


def refusal(settings: Settings) -> str:
    """Why the service cannot start."""

    async def start() -> None:
        async with running(settings):
            pass

    with pytest.raises(CannotStart) as refused:
        asyncio.run(start())
    return str(refused.value)


@pytest.mark.parametrize("make", ["wrong", "missing", "short", "open to all"])
def test_a_root_key_that_is_not_the_one_is_refused(installation: Installation, make: str) -> None:
    """With a line that names the file; init does not make another one either."""
    key = installation.data / "root.key"
    content = key.read_bytes()
    key.unlink()
    if make != "missing":
        key.write_bytes({"wrong": os.urandom(32), "short": content[:31]}.get(make, content))
        key.chmod(0o644 if make == "open to all" else 0o400)
    settings = Settings(data=installation.data)
    assert "root key" in refusal(settings)
    with pytest.raises(CannotStart, match="root key"):
        initialise(settings, None, terminal=False)
    assert key.exists() == (make != "missing")


@pytest.mark.parametrize(
    ("revision", "advice"), [("0000", "run `keystead db upgrade`"), ("9999", "install the release whose")]
)
def test_another_schema_is_refused(installation: Installation, revision: str, advice: str) -> None:
    """Older: with the command that upgrades it. Newer: with the release that is needed."""
    execute(installation, f"UPDATE alembic_version SET version_num = '{revision}'")  # noqa: S608 - a constant
    execute(installation, f"UPDATE compatibility SET writes_min = '{revision}'")  # noqa: S608 - a constant
    said = refusal(Settings(data=installation.data))
    assert revision in said
    assert advice in said


def test_serve_says_in_one_line_why_it_cannot_start(installation: Installation) -> None:
    """Exit status 1, nothing on standard output, no traceback."""
    execute(installation, "UPDATE alembic_version SET version_num = '0000'")
    done = installation.run("serve")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: {refusal(Settings(data=installation.data))}\n"


def test_a_key_that_is_gone_is_named(installation: Installation) -> None:
    """It is no usage error: a new pair is made by init."""
    (installation.data / "tls.key").unlink()
    done = installation.run("serve", "--listen", "127.0.0.1:0")
    said = (
        f"there is no {installation.data}/tls.key: put it back, or let `keystead init` make a new certificate and key"
    )
    assert (done.returncode, done.stderr.splitlines()[-1:]) == (1, [f"Error: {said}"])


def test_db_upgrade_makes_and_checks_the_schema_on_postgresql(postgres: PostgresServer, tmp_path: Path) -> None:
    """A database without tables is refused with the command, then upgraded; the next upgrade finds it current."""
    with postgres.database() as url:
        settings = Settings(data=tmp_path / "data", database=url)
        initialise(settings, None, terminal=False)
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        engine.dispose()
        assert "keystead db upgrade" in refusal(settings)
        assert "made" in Installation(settings.data, url).run("db", "upgrade").stdout
        assert "current" in upgrade(settings)


def test_db_upgrade_and_a_node_of_release_0_1_0(tmp_path: Path) -> None:
    """It is refused while the node is served, and goes on at once when the node has stopped; a dry run says so."""
    settings, url = Settings(data=tmp_path), f"sqlite:///{tmp_path / 'keystead.db'}"
    to_revision(url, "0012")
    hear_node(url, datetime.now(UTC))
    (tmp_path / "node.uuid").write_text("node-1\n")
    with served_alone(tmp_path):
        dry = planned(settings)
        assert dry[0] == f"database schema 0012, would become {tables.HEAD}:"
        assert dry[-1].startswith("refused now: node n1 was heard")
        with pytest.raises(CannotStart, match="stop it"):
            upgrade(settings)
    dry = planned(settings)
    assert dry[-2:] == [
        f"releases with a schema before {tables.WRITES_MIN} could not write any more",
        "make a backup first: no command makes a schema older",
    ]
    assert upgrade(settings) == f"database schema {tables.HEAD}, upgraded from 0012"
    assert planned(settings) == [f"database schema {tables.HEAD}, current"]


TAMPERED = {
    "altered": "UPDATE audit_records SET account = 'nobody' WHERE \"index\" = 2",
    "removed": 'DELETE FROM audit_records WHERE "index" = 2',
    "cut off the end": 'DELETE FROM audit_records WHERE "index" = 4',
    "read id of no read": "UPDATE audit_records SET read_id = '0123456789abcdef' WHERE \"index\" = 2",
    "sort key of another time": "UPDATE audit_records SET key = '2020' || substr(key, 5) WHERE \"index\" = 2",
    "no sort key": "UPDATE audit_records SET key = '' WHERE \"index\" = 4",
    "head moved": 'UPDATE audit_heads SET "index" = 2, mac = (SELECT mac FROM audit_records WHERE "index" = 2)',
}


def test_audit_verify_finds_what_was_changed(installation: Installation, tmp_path: Path) -> None:
    """Intact: status 0. Altered, removed, cut off: status 1, and where the chain breaks."""
    with installation.serving() as service, service.client() as call:
        for name in "abc":
            call.create("/svm/svms", {"name": name})
    done = installation.run("audit", "verify")
    assert (done.returncode, "intact, 4 records" in done.stdout) == (0, True), done.stdout
    for number, (how, statement) in enumerate(TAMPERED.items()):
        copy = installation.copy(tmp_path / f"copy-{number}")
        execute(copy, statement)
        (line,), intact = verify_audit(Settings(data=copy.data))
        assert not intact, how
        assert "BROKEN: record" in line, how
    execute(installation, TAMPERED["altered"])
    broken = installation.run("audit", "verify")
    assert (broken.returncode, broken.stderr) == (1, "")
    assert "BROKEN: record 2" in broken.stdout


def test_the_anchor_of_the_page(installation: Installation) -> None:
    """The query of the page returns, letter by letter, what `audit verify` printed."""
    page = (Path(__file__).parents[2] / "docs" / "explanation" / "security.md").read_text()
    found = re.search(r"`(SELECT [^`]*FROM\s+audit_records[^`]*)`", page)
    assert found is not None
    (line,), _ = verify_audit(Settings(data=installation.data))
    printed = re.fullmatch(r"node (\S+): intact, (\d+) records, the last with MAC (\S+)", line)
    assert printed is not None
    node, number, mac = printed.groups()
    asked = " ".join(found[1].split()).replace("'...'", f"'{node}'").removesuffix("N") + number
    with contextlib.closing(sqlite3.connect(installation.data / "keystead.db")) as database:
        assert database.execute(asked).fetchall() == [(mac,)]


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return all files of a data directory."""
    return {each.name: each.read_bytes() for each in folder.iterdir()}


@pytest.mark.parametrize("left", ["nothing", "an empty file"])
def test_a_database_that_is_lost_is_not_made_anew(installation: Installation, left: str) -> None:
    """Its keys would be nobody's: the ways out are said, and nothing is made; `serve` says it, too."""
    for each in installation.data.glob("keystead.db*"):
        each.unlink()
    if left == "an empty file":
        (installation.data / "keystead.db").touch()
    before = snapshot(installation.data)
    done = installation.run("init")
    assert (done.returncode, done.stdout) == (1, "")
    assert "is lost: a new one would know none of its keys. Move the directory away" in done.stderr
    assert "`keystead restore`" in done.stderr
    assert snapshot(installation.data) == before
    if left == "nothing":
        assert "`keystead restore`" in refusal(Settings(data=installation.data))


def test_tables_alone_are_no_database_that_came_back(installation: Installation) -> None:
    """Made by `db upgrade` where it was lost: no data key is made for a node that had some."""
    for each in installation.data.glob("keystead.db*"):
        each.unlink()
    settings = Settings(data=installation.data)
    upgrade(settings)
    for _ in range(2):
        with pytest.raises(CannotStart, match="is lost"):
            initialise(settings, None, terminal=False)


def test_an_empty_database_of_postgresql_is_not_that_of_a_node(postgres: PostgresServer, tmp_path: Path) -> None:
    """A node's directory says that there was one: nothing is made in it."""
    with postgres.database() as url:
        initialise(Settings(data=tmp_path / "data", database=url), None, terminal=False)
    with postgres.empty_database() as url:
        settings = Settings(data=tmp_path / "data", database=url)
        with pytest.raises(CannotStart, match="is lost"):
            initialise(settings, None, terminal=False)
        assert is_empty(url)


def test_a_database_that_does_not_answer_is_not_lost(installation: Installation, tmp_path: Path) -> None:
    """Or is no database: the reason is said, and nothing else is."""
    (installation.data / "keystead.db").write_text("no database at all, but long enough to look at" * 100)
    away = f"postgresql:///keystead?host={tmp_path}"
    for settings in (Settings(data=installation.data), Settings(data=installation.data, database=away)):
        with pytest.raises(CannotStart) as refused:
            initialise(settings, None, terminal=False)
        assert "lost" not in str(refused.value)


def test_a_second_node_joins_a_database_with_the_same_root_key_only(postgres: PostgresServer, tmp_path: Path) -> None:
    """Another data directory is another node of the same cluster; with a root key of its own it is refused."""
    with postgres.database() as url:
        first, stranger, second = (Settings(data=tmp_path / name, database=url) for name in ("one", "stranger", "two"))
        initialise(first, PASSWORD.encode(), terminal=False)
        with pytest.raises(CannotStart, match="root key"):
            initialise(stranger, None, terminal=False)
        second.data.mkdir()
        shutil.copy(first.data / "root.key", second.data)
        initialise(second, None, terminal=False)
        nodes = [Installation(each.data, url) for each in (first, second)]
        with nodes[0].serving() as one, nodes[1].serving() as two, one.client() as call, two.client() as other:
            other.create("/svm/svms", {"name": "from-two"})
            known, svms = call.get("/cluster/nodes"), call.get("/svm/svms")
        assert {record["name"] for record in known["records"]} == {"keystead-01", "keystead-02"}
        assert [record["name"] for record in svms["records"]] == ["from-two"]
