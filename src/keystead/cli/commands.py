"""The base of every command and group: no empty options and arguments, and whole texts in lists of commands.

Empty options are refused before anything is done, because ``--vserver "$SVM"`` with an unset variable would mean the
cluster, and ``--data ""`` the current directory. An option that accepts an empty text has ``cls=MayBeEmpty``.
"""

from __future__ import annotations

import click

WHOLE = 1000
"""A number of characters that no first sentence of a help text has."""


class MayBeEmpty(click.Option):
    """An option that accepts an empty text as a value."""


class Command(click.Command):
    """A command that refuses empty options and arguments."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Raise click.UsageError for an option or argument that is empty."""
        # Look at the values before types convert them, because a path type turns "" into ".".
        given, _, _ = self.make_parser(ctx).parse_args(list(args))
        for parameter in self.get_params(ctx):
            values = given.get(parameter.name or "")
            empty = "" in (values if isinstance(values, list | tuple) else (values,))
            if empty and not isinstance(parameter, MayBeEmpty) and not ctx.resilient_parsing:
                raise click.UsageError(f"{_shown(parameter)} is empty: is a variable not set?", ctx)
        return super().parse_args(ctx, args)


class Group(click.Group):
    """A group of such commands and groups."""

    command_class = Command
    group_class = type

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands with whole first sentences, because click cuts them to one line."""
        found = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        rows = [(name, each.get_short_help_str(WHOLE)) for name, each in found.items() if each and not each.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _shown(parameter: click.Parameter) -> str:
    """Return the name of an option or argument in the help."""
    return max(parameter.opts, key=len) if isinstance(parameter, click.Option) else parameter.human_readable_name
