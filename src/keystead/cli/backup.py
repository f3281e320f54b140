"""Commands that save and bring back an installation: ``backup``, ``restore``, ``key-manager rebuild``."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keystead.cli.commands import Command, Group
from keystead.cli.login import hidden, secret_bytes
from keystead.cli.server import directory_options, refusals
from keystead.settings import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystead.core.secret import Secret


_PASSPHRASE = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Read the passphrase from this file (one trailing newline is ignored); else it is asked for.",
)
SHORTEST_PASSPHRASE = 12
"""Characters: what a stolen file is guessed with, offline."""


def _passphrase(file: Path | None, *, new: bool) -> Secret:
    """The passphrase of a backup, from a file or from the terminal, twice for a new one."""
    from keystead.core.secret import Secret

    if file is not None:
        content = secret_bytes(file, "--passphrase-file").removesuffix(b"\n").removesuffix(b"\r")
    else:
        with hidden("passphrase", "give --passphrase-file, or use a terminal"):
            content = click.prompt("Passphrase", hide_input=True, confirmation_prompt=new, err=True).encode()
    if new and len(content) < SHORTEST_PASSPHRASE:
        raise click.UsageError(f"a passphrase has at least {SHORTEST_PASSPHRASE} characters")
    return Secret(content)


def _in_a_folder(_: click.Context, __: click.Parameter, file: Path) -> Path:
    """Check that a file can be made, before temporary ones are, which nobody has asked for; raises BadParameter."""
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise click.BadParameter(f"{file}: no file can be made in {file.parent}")
    return file


@contextlib.contextmanager
def _without_new_parents(data: Path) -> Iterator[None]:
    """Take away again, when the block fails, the directories that it made above a data directory."""
    missing = [each for each in data.parents if not each.exists()]
    try:
        yield
    except BaseException:
        for each in missing:  # the innermost first; what somebody else has filled by now stays
            with contextlib.suppress(OSError):
                each.rmdir()
        raise


@click.command(cls=Command)
@directory_options
@_PASSPHRASE
@click.option("--bundle", is_flag=True, help="Only what it takes to log in at the key servers again.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), callback=_in_a_folder)
def backup(file: Path, passphrase_file: Path | None, *, bundle: bool, **flags: Any) -> None:
    """Write a backup of an installation to FILE, sealed under a passphrase; the service may run meanwhile.

    Example: keystead backup --data keystead-data keystead.backup
    """
    with refusals():
        from keystead.app.backup import backup as backup_

        settings = load(flags)
        for line in backup_(settings, file, _passphrase(passphrase_file, new=True), bundle=bundle):
            click.echo(line)


@click.command(cls=Command)
@directory_options
@_PASSPHRASE
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def restore(file: Path, passphrase_file: Path | None, **flags: Any) -> None:
    """Make a data directory of the backup FILE. It must be empty; on key servers nothing is destroyed afterwards.

    Example: keystead restore --data keystead-data keystead.backup
    """
    with refusals():
        from keystead.app.backup import restore as restore_

        settings = load(flags)
        with _without_new_parents(settings.data):
            lines = restore_(settings, file, _passphrase(passphrase_file, new=False))
        for line in lines:
            click.echo(line)


@click.group("key-manager", cls=Group)
def key_manager() -> None:
    """Key managers, on the data directory itself."""


@key_manager.command()
@directory_options
@click.argument("uuid", required=False)
def rebuild(uuid: str | None, **flags: Any) -> None:
    """Find the keys of all key managers, or of one, on their key servers, and copies that the database does not know.

    Exit status 1 when a server could not be read, or not all of it, or objects were found whose keys are not certain.

    Example: keystead key-manager rebuild --data keystead-data
    """
    with refusals():
        from keystead.app.rebuild import rebuild as rebuild_

        lines, complete = rebuild_(load(flags), uuid)
        for line in lines:
            click.echo(line)
        sys.exit(0 if complete else 1)
