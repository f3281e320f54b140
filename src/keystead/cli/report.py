"""``keystead report``: reports of key proofs and reboot drills, checked without the service that made them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keystead.cli.server import directory_options, refusals

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_SHOWN = 20


@click.group()
def report() -> None:
    """Signed reports of key proofs and reboot drills."""


@report.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
@click.option(
    "--public-key",
    required=True,
    metavar="FILE|TEXT",
    help="The cluster's public key as `keystead init` showed it, or a file with it.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing of what the report says.")
def verify(file: Path, public_key: str, *, quiet: bool) -> None:
    """Check a report's signature, offline, and show what it says; exit status 1 when it is not the cluster's.

    Example: keystead report verify proof.json --public-key cluster.pub
    """
    from keystead.core.keys.report import FORMAT, parse
    from keystead.sealing import signing

    with click.open_file(str(file), "rb") as opened:
        content = opened.read()
    try:
        signed = parse(content.decode())
    except ValueError as error:  # of which a UnicodeDecodeError is one
        text = "this is no signed report" if isinstance(error, UnicodeDecodeError) else str(error)
        raise click.ClickException(f"{file}: {text}") from None
    try:
        genuine = signing.verify(_key(public_key), FORMAT, signed.message, signed.signature)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--public-key") from None
    if not genuine:
        raise click.ClickException(f"{file}: the signature is not of this report by this key: do not believe it")
    click.echo(f"{file}: the signature is good")
    if not quiet:
        _show(signed.report)


@report.command()
@directory_options
def public_key(**flags: Any) -> None:
    """Print the public part of the key that signs reports: keep a copy where nobody can change both.

    Example: keystead report public-key --data keystead-data
    """
    from keystead.settings import load

    with refusals():
        from keystead.app.signing import public_key as public_key_

        click.echo(public_key_(load(flags)))


def _key(given: str) -> str:
    """The text itself, or that of the file that it names."""
    if not os.path.isfile(given):  # noqa: PTH113 - Path.is_file raises for a text that is too long for a name
        return given
    try:
        return Path(given).read_text(errors="replace")
    except OSError as error:
        raise click.BadParameter(f"{given}: {error.strerror}", param_hint="--public-key") from None


def _show(said: Mapping[str, Any]) -> None:
    """Print what a report says; its signature is good, so it has the form that the service gives it."""
    from keystead.cli.output import print_records, printable

    manager, keys, failures = said["key_manager"], said["keys"], said["failures"]
    owner = manager["svm"]["name"] if manager["svm"] else said["cluster"]["name"]
    kind, node = said["kind"].replace("_", " "), printable(said["node"]["name"])
    click.echo(f"{kind} of the keys of {printable(owner)}, by node {node}, {said['began']} to {said['ended']}")
    click.echo(f"{keys['total']} keys, {keys['unreadable']} unreadable, {failures['total']} failures")
    counted = [{"server": each["server"]} | each["results"] for each in said["servers"]]
    words = sorted({word for each in counted for word in each} - {"server"})
    if counted:
        print_records(counted, ["server", *words], "table")
    shown = failures["listed"][:MOST_SHOWN]
    if shown:
        print_records(shown, ["key_id", "server", "result", "reason"], "table")
    if failures["total"] > len(shown):
        click.echo(f"and {failures['total'] - len(shown)} failures more")
