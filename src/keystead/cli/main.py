"""The ``keystead`` command: its tree of commands, loaded one by one, and its exit statuses.

Exit status: 0 done; 1 refused (the error is printed), not confirmed, or the output cannot be written; 2 usage; 3 the
service cannot be reached; 130 interrupted. ``keystead status`` also ends with 10 and 20.
"""

from __future__ import annotations

import contextlib
import os
import sys

import click

from keystead import __version__
from keystead.cli.lazy import LazyGroup

REFUSED = 1
INTERRUPTED = 130  # 128 + SIGINT, as in shells


@click.group(
    cls=LazyGroup,
    lazy={
        "init": "keystead.cli.server:init",
        "serve": "keystead.cli.server:serve",
        "db": "keystead.cli.server:db",
        "audit": "keystead.cli.audit:audit",
        "backup": "keystead.cli.backup:backup",
        "restore": "keystead.cli.backup:restore",
        "key-manager": "keystead.cli.backup:key_manager",
        "account": "keystead.cli.account:account",
        "kmip": "keystead.cli.kmip:kmip",
        "status": "keystead.cli.status:status",
        "security": "keystead.cli.security:security",
        "cluster": "keystead.cli.cluster:cluster",
        "node": "keystead.cli.cluster:node",
        "vserver": "keystead.cli.vserver:vserver",
        "event": "keystead.cli.event:event",
        "job": "keystead.cli.job:job",
        "report": "keystead.cli.report:report",
        "completion": "keystead.cli.completion:completion",
        "demo": "keystead.testing.command:demo",
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="%(version)s")
def cli() -> None:
    """Keystead: an external key manager for storage, managed through the ONTAP REST API."""


def main() -> None:
    """Run the command line and end the process with its exit status."""
    _open_standard_streams()
    try:
        status = _run()
    except OSError as error:  # mostly standard output, closed or full; a file's error has its name
        with contextlib.suppress(OSError):
            click.echo(f"Error: {error.filename or 'the output cannot be written'}: {error.strerror}", err=True)
        _drop_output()
        status = REFUSED
    sys.exit(status)


def _run() -> int:
    try:
        status: int = cli.main(prog_name="keystead", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:  # Ctrl-C, or the end of input at a prompt
        return INTERRUPTED
    return status


def _open_standard_streams() -> None:
    """Open /dev/null for each missing standard stream, so that no socket or database gets its file number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, closefd=False))


def _drop_output() -> None:
    """Redirect standard output and error to /dev/null, so that the interpreter's end reports no write error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)
