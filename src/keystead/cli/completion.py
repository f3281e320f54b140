"""``keystead completion SHELL``: the script that makes a shell complete commands and options."""

from __future__ import annotations

import click

from keystead.cli.commands import Command

PROGRAM = "keystead"
VARIABLE = "_KEYSTEAD_COMPLETE"


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a shell's completion script.

    Example: source <(keystead completion bash)
    """
    from click.shell_completion import get_completion_class

    from keystead.cli.main import cli

    made = get_completion_class(shell)
    if made is None:
        raise AssertionError("one of click's shells")
    click.echo(made(cli, {}, PROGRAM, VARIABLE).source())
