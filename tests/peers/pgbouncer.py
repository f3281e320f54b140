"""A real PgBouncer, Debian's package of this name: a pool in transaction mode before one database."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Final

from tests.peers.patroni import DATABASE, URL
from tests.peers.processes import Program, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM: Final = shutil.which("pgbouncer", path="/usr/local/sbin:/usr/sbin:/usr/bin")
MISSING: Final = "" if PROGRAM else "pgbouncer"
"""The program that this machine lacks, or empty."""

_CONFIGURATION: Final = """\
[databases]
{database} = host=127.0.0.1 port={behind} dbname={database} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_prepared_statements = {prepared}
server_connect_timeout = 2
server_login_retry = 1
"""


@contextlib.contextmanager
def pooling(folder: Path, behind: int, *, prepared: bool, database: str = DATABASE) -> Iterator[str]:
    """Run PgBouncer before the server on a port, until the block ends; give the URL of its database in libpq's form.

    With ``prepared`` it takes prepared statements, which clients may then use although their server changes.
    """
    assert PROGRAM
    folder.mkdir()
    port, configuration = free_port(), folder / "pgbouncer.ini"
    text = _CONFIGURATION.format(
        database=database, user=DATABASE, behind=behind, port=port, prepared=200 if prepared else 0
    )
    configuration.write_text(text)
    account = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to run as root
    program = Program([PROGRAM, *account, str(configuration)], port, log=folder / "log")
    try:
        program.wait_until_ready()
        yield URL.format(port=port).removesuffix(DATABASE) + database
    finally:
        program.stop()
