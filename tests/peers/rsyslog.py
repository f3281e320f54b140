"""A real rsyslog, Debian's package of this name: it writes what comes over TCP or TLS to a file, message by message."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.peers.processes import Program, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.certificates import Credentials

PROGRAM: Final = shutil.which("rsyslogd", path="/usr/sbin:/usr/bin:/sbin:/bin")
DRIVER: Final = "ossl"
MISSING: Final = (
    "" if PROGRAM and any(Path("/usr/lib").glob(f"*/rsyslog/lmnsd_{DRIVER}.so")) else "rsyslog or rsyslog-openssl"
)
"""What this machine lacks, or empty."""

_PLAIN: Final = """\
global(workDirectory="{folder}" parser.escapeControlCharactersOnReceive="off")
module(load="imtcp" {tls})
template(name="parsed" type="list") {{
  property(name="pri") constant(value=" ") property(name="hostname") constant(value=" ") property(name="app-name")
  constant(value=" ") property(name="msgid") constant(value=" ") property(name="structured-data") constant(value=" ")
  property(name="msg") constant(value="\\n")
}}
ruleset(name="all") {{ action(type="omfile" file="{file}" template="parsed") }}
input(type="imtcp" port="{port}" address="127.0.0.1" ruleset="all")
"""
_TLS: Final = """\
global(defaultNetstreamDriver="{driver}" defaultNetstreamDriverCertFile="{chain}" defaultNetstreamDriverKeyFile="{key}"
  defaultNetstreamDriverCAFile="{ca}")
"""


class Rsyslog:
    """A running rsyslog."""

    def __init__(self, program: Program, file: Path) -> None:
        self._program = program
        self._file = file

    @property
    def port(self) -> int:
        """The port to send to."""
        return self._program.port

    @property
    def lines(self) -> list[str]:
        """Its parsed messages: priority, host, program, message id, structured data and text of each message."""
        return self._file.read_text().splitlines() if self._file.exists() else []


@contextlib.contextmanager
def collecting(folder: Path, shown: Credentials | None = None, ca: str = "") -> Iterator[Rsyslog]:
    """Run rsyslog in a folder until the block ends. With ``shown``, it speaks TLS with this certificate of ``ca``."""
    assert PROGRAM
    folder.mkdir()
    port, file, configuration, tls = free_port(), folder / "messages", folder / "rsyslog.conf", ""
    text = ""
    if shown is not None:
        chain, key = shown.write(folder, "server")
        (folder / "ca.pem").write_text(ca)
        text = _TLS.format(driver=DRIVER, chain=chain, key=key, ca=folder / "ca.pem")
        tls = f'StreamDriver.Name="{DRIVER}" StreamDriver.Mode="1" StreamDriver.AuthMode="anon"'
    configuration.write_text(text + _PLAIN.format(folder=folder, tls=tls, file=file, port=port))
    command = [PROGRAM, "-n", "-f", str(configuration), "-i", str(folder / "pid")]
    program = Program(command, port, log=folder / "log")
    try:
        program.wait_until_ready()
        yield Rsyslog(program, file)
    finally:
        program.stop()
