"""Commands that save, restore and rebuild an installation: ``backup``, ``restore``, ``key-manager rebuild``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keystead.cli.commands import Command, Group
from keystead.cli.login import hidden, secret_bytes
from keystead.cli.server import directory_options, in_writable_folder, refusals
from keystead.settings import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystead.core.secret import Secret


_PASSPHRASE = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Read the passphrase from this file (one trailing newline is ignored). Without it, the command asks.",
)
SHORTEST_PASSPHRASE = 12
"""The minimum number of characters, because a passphrase of a stolen file can be guessed offline."""


def _passphrase(file: Path | None, *, new: bool) -> Secret:
    """Return the passphrase of a backup from a file or from the terminal. Ask twice for a new one."""
    from keystead.core.secret import Secret

    if file is not None:
        content = secret_bytes(file, "--passphrase-file").removesuffix(b"\n").removesuffix(b"\r")
    else:
        with hidden("passphrase", "give --passphrase-file, or use a terminal"):
            content = click.prompt("Passphrase", hide_input=True, confirmation_prompt=new, err=True).encode()
    if new and len(content) < SHORTEST_PASSPHRASE:
        raise click.UsageError(f"a passphrase has at least {SHORTEST_PASSPHRASE} characters")
    return Secret(content)


@contextlib.contextmanager
def _removing_new_parents_on_failure(data: Path) -> Iterator[None]:
    """Remove the parent directories that the block created above a data directory, if the block fails."""
    missing = [each for each in data.parents if not each.exists()]
    try:
        yield
    except BaseException:
        for each in missing:  # the innermost first; a directory that is not empty stays
            with contextlib.suppress(OSError):
                each.rmdir()
        raise


@click.command(cls=Command)
@directory_options
@_PASSPHRASE
@click.option("--bundle", is_flag=True, help="Save only the data that is needed to log in at the key servers again.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), callback=in_writable_folder)
def backup(file: Path, passphrase_file: Path | None, *, bundle: bool, **flags: Any) -> None:
    """Write a backup of an installation to FILE, sealed under a passphrase. The service may run meanwhile.

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
    """Restore a backup FILE to an empty data directory. Nothing is destroyed on key servers afterwards until a release.

    Example: keystead restore --data keystead-data keystead.backup
    """
    with refusals():
        from keystead.app.backup import restore as restore_

        settings = load(flags)
        with _removing_new_parents_on_failure(settings.data):
            lines = restore_(settings, file, _passphrase(passphrase_file, new=False))
        for line in lines:
            click.echo(line)


@click.group("key-manager", cls=Group)
def key_manager() -> None:
    """Repair key managers directly in the data directory."""


@key_manager.command()
@directory_options
@click.argument("uuid", required=False)
def rebuild(uuid: str | None, **flags: Any) -> None:
    """Find keys and unknown copies on the key servers of all key managers, or of the one with this UUID.

    Exit status 1 if a server could not be read completely, or if objects with uncertain keys were found.

    Example: keystead key-manager rebuild --data keystead-data
    """
    with refusals():
        from keystead.app.rebuild import rebuild as rebuild_

        lines, complete = rebuild_(load(flags), uuid)
        for line in lines:
            click.echo(line)
        sys.exit(0 if complete else 1)
