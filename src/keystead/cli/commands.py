"""What every command is made of: what is given to it empty is refused, before anything is done.

``--vserver "$SVM"`` would mean the cluster where the variable is not set, and ``--data ""`` the current directory. An
option that an empty text is a value of says so: it has ``cls=MayBeEmpty``.
"""

from __future__ import annotations

import click


class MayBeEmpty(click.Option):
    """An option that an empty text is a value of."""


class Command(click.Command):
    """A command that takes no empty text for an answer."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Raise click.UsageError for an option or argument that is empty."""
        given, _, _ = self.make_parser(ctx).parse_args(list(args))  # as typed: a type makes "." of an empty path
        for parameter in self.get_params(ctx):
            values = given.get(parameter.name or "")
            empty = "" in (values if isinstance(values, list | tuple) else (values,))
            if empty and not isinstance(parameter, MayBeEmpty) and not ctx.resilient_parsing:
                raise click.UsageError(f"{_shown(parameter)} is empty: is a variable not set?", ctx)
        return super().parse_args(ctx, args)


class Group(click.Group):
    """A group of such commands, and of groups like itself."""

    command_class = Command
    group_class = type


def _shown(parameter: click.Parameter) -> str:
    """How an option or an argument is called in the help."""
    return max(parameter.opts, key=len) if isinstance(parameter, click.Option) else parameter.human_readable_name
