"""The parts that commands over the REST API share: login options, names of SVMs, lists in one option, PEM files."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keystead.cli.client import Api, Refused, exactly
from keystead.cli.completing import beginning, names_from, svms
from keystead.cli.login import read_login
from keystead.cli.output import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from keystead.cli.completing import Finder

CLUSTER = "(cluster)"  # shown in the SVM column of a table if there is no SVM
REFUSED = 1
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_LOGIN = [
    click.option("--url", help="URL of the service, https://HOST[:PORT]. [env: KEYSTEAD_URL; profile: url]"),
    click.option("--user", help="Name of the account. [env: KEYSTEAD_USER; profile: user; default: admin]"),
    click.option("--ca", type=FILE, help="File of trusted certificates, PEM. [env: KEYSTEAD_CA; profile: ca]"),
    click.option(
        "--profile",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Profile file with url, ca, user and password; mode 0600 if it holds a password."
        " [env: KEYSTEAD_PROFILE; default: ~/.config/keystead/profile.toml]",
    ),
    click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True),
]

_SVMS = names_from(svms)


def svm_option(help_: str, **more: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option ``--vserver``, whose name a shell completes."""
    return click.option("--vserver", metavar="SVM", help=help_, shell_complete=_SVMS, **more)


owner = svm_option("Name of the SVM; without it, the cluster.")
one_svm = svm_option("Show only objects of this SVM.")
yes = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")


def api_command(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the login options. The command asks for the password unless KEYSTEAD_PASSWORD or the profile has it."""
    for option in reversed(_LOGIN):
        command = option(command)
    return command


def api(flags: dict[str, Any]) -> Api:
    """Open the service that the options name."""
    login = read_login(flags["url"], flags["user"], flags["ca"], flags["profile"])
    return Api(login, errors_as_json=flags["output"] == "json")


def svm_name(record: dict[str, Any]) -> str:
    """Return the name of a record's SVM for a table."""
    return str(record.get("svm", {}).get("name", CLUSTER))


def owner_in_words(vserver: str | None) -> str:
    """Return an SVM, or the cluster, in words."""
    return f"SVM {vserver}" if vserver else "the cluster"


def in_svm(vserver: str | None) -> dict[str, Any]:
    """Return the part of a body that names the owner of a new object."""
    return {"svm": {"name": vserver}} if vserver else {}


def scope_of(vserver: str | None) -> dict[str, str]:
    """Return a filter for the objects of one SVM, or of the cluster."""
    return of_svm(vserver) or {"scope": "cluster"}


def of_svm(vserver: str | None) -> dict[str, str]:
    """Return a filter for the objects of one SVM, or no filter."""
    return {"svm.name": exactly(vserver)} if vserver else {}


def matching(text: str) -> str:
    """Return a filter for a text in which only ``*`` is an operator, for any text."""
    return "*".join(map(exactly, text.split("*")))


def named(service: Api, path: str, name: str, *, fields: str = "name", **query: str) -> dict[str, Any] | None:
    """Return the record with a name in a collection, or None. Raise Refused or Unreachable.

    ``fields`` must include ``name``. The name is compared here again, because deletions rely on it.
    """
    found = service.records(path, fields=fields, name=exactly(name), **query)
    return next((record for record in found if record.get("name") == name), None)


def check_svm(service: Api, vserver: str | None) -> None:
    """Raise click.ClickException if the SVM does not exist, because that message says more than an empty list."""
    if vserver is None:
        return
    try:
        found = named(service, "/svm/svms", vserver)
    except Refused:  # the account may not list SVMs
        return
    if found is None:
        raise click.ClickException(f"there is no SVM {vserver}")


def names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Split ``a,b:5696, c`` and strip each name. Raise click.BadParameter for an empty name."""
    if value is None:
        return ()
    found = tuple(part.strip() for part in value.split(","))
    if not all(found):
        raise click.BadParameter("there is an empty name between the commas")
    return found


def certificates(*types: str) -> Finder:
    """Return a finder of the names of an owner's certificates, of these types if any are given."""

    def find(service: Api, parameters: Mapping[str, Any], begun: str) -> list[str]:
        wanted = scope_of(parameters.get("vserver")) | ({"type": "|".join(types)} if types else {})
        return beginning(service, "/security/certificates", begun, **wanted)

    return find


def by_name_or_uuid(text: str) -> dict[str, str]:
    """Return a reference to an installed certificate for a body."""
    return {"uuid" if _UUID.fullmatch(text) else "name": text}


def only_one(flags: Mapping[str, object]) -> None:
    """Raise click.UsageError if more than one of these options is given."""
    given = [flag for flag, value in flags.items() if value not in (None, False)]
    if len(given) > 1:
        raise click.UsageError(f"only one of {' and '.join(given)}")


def pem(path: Path) -> str:
    """Return PEM text. Raise click.UsageError if the file cannot be read or is not text."""
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{path}: not PEM text (DER? `openssl x509 -inform der` converts it)") from None


def confirm(what: str, *, yes: bool) -> None:
    """Ask on the terminal for confirmation. Raise click.UsageError if there is no terminal and no ``--yes``.

    "No" ends the command with the exit status of a refusal.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f'no terminal to ask on: give --yes to confirm "{what}?"')
    if not click.confirm(f"{what}?", err=True):
        click.echo("nothing was changed", err=True)
        click.get_current_context().exit(REFUSED)


@contextlib.contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal that something takes time. Print nothing if there is no terminal.

    The yielded function adds how far it is, such as "3 of 8 records complete.".
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(text) as status:
        yield lambda said: status.update(Text(f"{text}: {printable(said)}" if said else text))
