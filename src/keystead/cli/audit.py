"""``keystead audit``: verifies and exports the audit records of a data directory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from keystead.cli.commands import Command, Group
from keystead.cli.server import directory_options, in_writable_folder, refusals
from keystead.settings import load


@click.group(cls=Group)
def audit() -> None:
    """Check and export the audit records."""


@audit.command(cls=Command)
@directory_options
@click.option(
    "--file",
    "files",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Verify this exported file as well, and that it fits what the database has. May be repeated.",
)
@click.option("--alone", is_flag=True, help="Verify the files only. That needs the root key, and no database.")
def verify(files: tuple[Path, ...], *, alone: bool, **flags: Any) -> None:
    """Verify every node's chain of audit records. Exit status 1 if a chain is broken.

    Example: keystead audit verify --data keystead-data
    """
    if alone and not files:
        raise click.UsageError("--alone needs --file")
    with refusals():
        from keystead.app.audit import verify_audit

        lines, intact = verify_audit(load(flags), tuple(dict.fromkeys(files)), alone=alone)
        for line in lines:
            click.echo(line)
        sys.exit(0 if intact else 1)


@audit.command(cls=Command)
@directory_options
@click.option("--new", "only_new", is_flag=True, help="Export only what was written since the last export.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), callback=in_writable_folder)
def export(file: Path, *, only_new: bool, **flags: Any) -> None:
    """Write the audit records of all nodes to FILE, as JSON lines that can be verified. The service may run meanwhile.

    Example: keystead audit export --data keystead-data audit.jsonl
    """
    with refusals():
        from keystead.app.audit import export_audit

        for line in export_audit(load(flags), file, only_new=only_new):
            click.echo(line)
