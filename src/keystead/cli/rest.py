"""What the commands over the REST API share: their login flags, names of SVMs, lists in one flag, files of PEM text."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keystead.cli.client import Api, Refused
from keystead.cli.login import read_login

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

CLUSTER = "(cluster)"  # where a table names the SVM and there is none
REFUSED = 1
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_LOGIN = [
    click.option("--url", help="The service, https://HOST[:PORT]. [env: KEYSTEAD_URL; profile: url]"),
    click.option("--user", help="The account. [env: KEYSTEAD_USER; profile: user; default: admin]"),
    click.option("--ca", type=FILE, help="Certificates to trust, PEM. [env: KEYSTEAD_CA; profile: ca]"),
    click.option(
        "--profile",
        type=click.Path(path_type=Path, dir_okay=False),
        help="File with url, ca, user, password, mode 0600."
        " [env: KEYSTEAD_PROFILE; default: ~/.config/keystead/profile.toml]",
    ),
    click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True),
]

owner = click.option("--vserver", metavar="SVM", help="The SVM; without it, the cluster.")
one_svm = click.option("--vserver", metavar="SVM", help="One SVM's only.")
yes = click.option("--yes", is_flag=True, help="Do not ask.")


def api_command(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the login flags; the password is asked for unless KEYSTEAD_PASSWORD or the profile has it."""
    for option in reversed(_LOGIN):
        command = option(command)
    return command


def api(flags: dict[str, Any]) -> Api:
    """Open the service that the flags name."""
    login = read_login(flags["url"], flags["user"], flags["ca"], flags["profile"])
    return Api(login, errors_as_json=flags["output"] == "json")


def svm_name(record: dict[str, Any]) -> str:
    """The SVM of a record, for a table."""
    return str(record.get("svm", {}).get("name", CLUSTER))


def whose(vserver: str | None) -> str:
    """An SVM, or the cluster, in words."""
    return f"SVM {vserver}" if vserver else "the cluster"


def in_svm(vserver: str | None) -> dict[str, Any]:
    """What a body says about whose a new thing is."""
    return {"svm": {"name": vserver}} if vserver else {}


def scope_of(vserver: str | None) -> dict[str, str]:
    """A filter for the things of one SVM, or of the cluster."""
    return of_svm(vserver) or {"scope": "cluster"}


def of_svm(vserver: str | None) -> dict[str, str]:
    """A filter for the things of one SVM; none for all."""
    return {"svm.name": exactly(vserver)} if vserver else {}


def exactly(text: str) -> str:
    """A filter for this very text, whatever operators it holds: quoted, and what would end the quotes in braces."""
    return '"' + text.replace('"', '"{"}"') + '"'


def matching(text: str) -> str:
    """A filter for a text in which * is any text, and nothing else means anything but itself."""
    return "*".join(map(exactly, text.split("*")))


def named(service: Api, path: str, name: str, *, fields: str = "name", **query: str) -> dict[str, Any] | None:
    """The record of a collection that has a name, None when there is none; raises Refused, Unreachable.

    ``fields`` has ``name`` among them: what is deleted goes by this, so names are compared here as well.
    """
    found = service.records(path, fields=fields, name=exactly(name), **query)
    return next((record for record in found if record.get("name") == name), None)


def check_svm(service: Api, vserver: str | None) -> None:
    """Raise click.ClickException for an SVM that is not there, which says more than what it lacks."""
    if vserver is None:
        return
    try:
        found = named(service, "/svm/svms", vserver)
    except Refused:  # whoever may not list them
        return
    if found is None:
        raise click.ClickException(f"there is no SVM {vserver}")


def names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Split ``a,b:5696, c``: blanks around a name are dropped; an empty one is a slip, not a name."""
    if value is None:
        return ()
    found = tuple(part.strip() for part in value.split(","))
    if not all(found):
        raise click.BadParameter("an empty name stands between the commas")
    return found


def by_name_or_uuid(text: str) -> dict[str, str]:
    """A reference to an installed certificate in a body."""
    return {"uuid" if _UUID.fullmatch(text) else "name": text}


def only_one(flags: Mapping[str, object]) -> None:
    """Raise click.UsageError when more than one of these flags is given."""
    given = [flag for flag, value in flags.items() if value not in (None, False)]
    if len(given) > 1:
        raise click.UsageError(f"only one of {' and '.join(given)}")


def pem(path: Path) -> str:
    """Read PEM text; a usage error when the file cannot be read or is no text."""
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{path}: not PEM text (DER? `openssl x509 -inform der` converts it)") from None


def confirm(what: str, *, yes: bool) -> None:
    """Ask on the terminal whether something is to be deleted; where there is none, ``--yes`` must say so.

    "No" ends the command, as refused.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f'no terminal to ask on: --yes answers "{what}?"')
    if not click.confirm(f"{what}?", err=True):
        click.echo("nothing was changed", err=True)
        click.get_current_context().exit(REFUSED)


@contextlib.contextmanager
def progress(text: str) -> Iterator[None]:
    """Show on a terminal that something takes time; elsewhere nothing is printed."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield
