"""``keystead account reset-password``: the way back in for who holds the data directory and the root key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from keystead.cli.commands import Command, Group
from keystead.cli.login import new_password
from keystead.cli.rest import FILE
from keystead.cli.server import directory_options, refusals
from keystead.settings import load

if TYPE_CHECKING:
    from pathlib import Path


@click.group(cls=Group)
def account() -> None:
    """Repair accounts directly in the data directory."""


@account.command("reset-password", cls=Command)
@directory_options
@click.option("--vserver", metavar="SVM", help="SVM that owns the account; without it, the cluster.")
@click.option(
    "--password-file", type=FILE, help="Read the new password from this file (one trailing newline is ignored)."
)
@click.argument("name")
def reset_password(name: str, vserver: str | None, password_file: Path | None, **flags: Any) -> None:
    """Set the password of the account NAME without a login, and unlock it. The service may run meanwhile.

    Example: keystead account reset-password --data keystead-data admin
    """
    with refusals():
        from keystead.app.reset_password import reset_password as reset
        from keystead.core.secret import Secret

        settings = load(flags)
        click.echo(reset(settings, name, vserver, Secret(new_password(name, password_file))))
