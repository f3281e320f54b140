"""``keystead report``: make reports of verifications and reboot drills over the REST API, and check them offline."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from keystead.cli.commands import Group
from keystead.cli.files import PUBLIC, new_file
from keystead.cli.key_managers import KEY_MANAGERS, no_key_manager, own_key_manager_path, run_job
from keystead.cli.output import counted, print_records, printable
from keystead.cli.rest import api, api_command, of_svm, owner, progress, svm_name, svm_option
from keystead.cli.server import directory_options, refusals

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from keystead.cli.client import Api

FAILED = 1
MOST_SHOWN = 20
STANDARD_OUTPUT = "-"
NO_REPORT = "there is no report yet: `keystead report prove` makes one"
PROVEN, NO_COPY = "proven", "no_copy"
COLUMNS = ("time", "kind", "keys", "unreadable", "failures", "uuid")

_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))


@click.group(cls=Group)
def report() -> None:
    """Make, save and check signed reports of verifications and reboot drills."""


@report.command()
@api_command
@owner
def prove(vserver: str | None, **flags: Any) -> None:
    """Verify every copy of every key and make a report. Exit status 1 if a copy is not proven.

    "failures" is the number of copies that are not proven. The lines below the table count them by key server and
    result. With "unreachable", no answer came. With "missing", the server shows its canary, but not the copy. With
    "not_shown", it shows neither. With "different", the bytes are not the key's. With "refused", the server does not
    return the copy. With "unsettled", the object of the copy is not known yet. With "no_copy", no copy of the key is
    known.

    Example: keystead report prove --vserver vs0
    """
    _make("prove", "reading every copy of every key", vserver, flags)


@report.command("reboot-drill")
@api_command
@owner
def reboot_drill(vserver: str | None, **flags: Any) -> None:
    """Read every key as a restarted node would, and make a report. Exit status 1 if a key is not read.

    "failures" is the number of keys that no key server returned. The lines below the table list the servers that did
    not return a copy, even if another server did. `keystead report prove --help` explains the words.

    Example: keystead report reboot-drill --vserver vs0
    """
    _make("reboot-drill", "reading every key from the key servers", vserver, flags)


@report.command()
@api_command
@svm_option("Show only reports of this SVM's key manager.")
def show(vserver: str | None, **flags: Any) -> None:
    """List the stored reports of all key managers that you may see, the newest first.

    Example: keystead report show --vserver vs0
    """
    with api(flags) as service:
        managers = service.records(KEY_MANAGERS, fields="svm", **of_svm(vserver))
        if vserver and not managers:
            raise no_key_manager(service, vserver)
        records = [record for manager in managers for record in _reports(service, manager)]
    records.sort(key=lambda record: datetime.fromisoformat(record["time"]), reverse=True)
    if flags["output"] == "table":
        records = [record | {"vserver": svm_name(record)} for record in records]
    print_records(records, ("vserver", *COLUMNS), flags["output"])


def _reports(service: Api, manager: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a key manager's reports, each with its SVM if there is one."""
    svm = {"svm": manager["svm"]} if "svm" in manager else {}
    return [svm | record for record in service.records(f"{KEY_MANAGERS}/{manager['uuid']}/key-reports", fields="*")]


@report.command()
@api_command
@owner
@click.option("--uuid", help="Save the report with this uuid; the default is the newest.")
@click.option("--kind", type=click.Choice(["proof", "reboot-drill"]), help="Save the newest report of this kind.")
@_file
def save(vserver: str | None, uuid: str | None, kind: str | None, file: Path, **flags: Any) -> None:
    """Write a report to a new file, to keep and verify it. "-" is standard output.

    Example: keystead report save --vserver vs0 --kind proof proof.json
    """
    if uuid and kind:
        raise click.UsageError("--uuid already names one report: leave out --kind")
    with api(flags) as service:
        path = f"{own_key_manager_path(service, vserver)}/key-reports"
        wanted = quote(uuid, safe="") if uuid else _newest(service, path, kind)["uuid"]
        document = service.call("GET", f"{path}/{wanted}")["document"]
    if str(file) == STANDARD_OUTPUT:
        click.echo(document, nl=False)
        return
    with new_file(file, PUBLIC) as opened:
        opened.write(document.encode())


@report.command()
@_file
@click.option(
    "--public-key",
    required=True,
    metavar="FILE|TEXT",
    help="The cluster's public key as `keystead init` showed it, or a file that holds it.",
)
@click.option("-q", "--quiet", is_flag=True, help="Do not print the content of the report.")
def verify(file: Path, public_key: str, *, quiet: bool) -> None:
    """Check a report's signature offline and show its content. Exit status 1 if the signature is not the cluster's.

    Example: keystead report verify proof.json --public-key cluster.pub
    """
    from keystead.core.keys.report import FORMAT, parse
    from keystead.sealing import signing

    try:
        with click.open_file(str(file), "rb") as opened:
            content = opened.read()
    except OSError as error:
        raise click.UsageError(f"{file}: {error.strerror}") from None
    try:
        signed = parse(content.decode())
    except ValueError as error:  # UnicodeDecodeError is a ValueError, too
        text = "this is no signed report" if isinstance(error, UnicodeDecodeError) else str(error)
        raise click.ClickException(f"{file}: {text}") from None
    try:
        genuine = signing.verify(_key(public_key), FORMAT, signed.message, signed.signature)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--public-key") from None
    if not genuine:
        raise click.ClickException(f"{file}: this key did not sign this report: do not trust the report")
    click.echo(f"{file}: the signature is good")
    if not quiet:
        _show(signed.report)


@report.command()
@directory_options
def public_key(**flags: Any) -> None:
    """Print the public part of the key that signs reports. Keep a copy at a place that nobody else can change.

    Example: keystead report public-key --data keystead-data
    """
    from keystead.settings import load

    with refusals():
        from keystead.app.signing import public_key as public_key_

        click.echo(public_key_(load(flags)))


def _make(action: str, doing: str, vserver: str | None, flags: dict[str, Any]) -> None:
    """Run a job to its end and show its report."""
    with api(flags) as service, progress(doing) as say:
        path = own_key_manager_path(service, vserver)
        run_job(service, f"{path}/{action}", {}, say)
        made = _newest(service, f"{path}/key-reports")
        document = service.call("GET", f"{path}/key-reports/{made['uuid']}")["document"]
    print_records([made], COLUMNS, flags["output"])
    if flags["output"] == "table":
        for line in not_proven(json.loads(document)["report"]):
            click.echo(line)
    if not made["keys"]:
        click.echo("there are no keys: nothing was read", err=True)
    if made["failures"]:
        click.get_current_context().exit(FAILED)


def not_proven(said: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each key server with copies that are not proven, and then the number of keys without a copy."""
    for server in said["servers"]:
        results = sorted((word, number) for word, number in server["results"].items() if word != PROVEN)
        if results:
            yield f"{server['server']}: {', '.join(f'{number} {word}' for word, number in results)}"
    without = sum(each["result"] == NO_COPY for each in said["failures"]["listed"])
    if without:
        yield f"no key server: {without} {NO_COPY}"


def _newest(service: Api, path: str, kind: str | None = None) -> dict[str, Any]:
    wanted = {"kind": kind.replace("-", "_")} if kind else {}
    records = service.call("GET", path, fields="*", max_records="1", **wanted)["records"]
    if not records:
        raise click.ClickException(f"there is no {kind} yet" if kind else NO_REPORT)
    found: dict[str, Any] = records[0]
    return found


def _key(given: str) -> str:
    """Return the given text, or the text of the file that it names."""
    if not os.path.isfile(given):  # noqa: PTH113 - Path.is_file raises for a text that is too long for a name
        return given
    try:
        return Path(given).read_text(errors="replace")
    except OSError as error:
        raise click.BadParameter(f"{given}: {error.strerror}", param_hint="--public-key") from None


def _show(said: Mapping[str, Any]) -> None:
    """Print the content of a report. Its signature is verified, so it has the form that the service gives it."""
    manager, keys, failures = said["key_manager"], said["keys"], said["failures"]
    owner = manager["svm"]["name"] if manager["svm"] else said["cluster"]["name"]
    kind, node = said["kind"].replace("_", " "), printable(said["node"]["name"])
    click.echo(f"{kind} of the keys of {printable(owner)}, by node {node}, {said['began']} to {said['ended']}")
    failed = counted(failures["total"], "failure")
    click.echo(f"{counted(keys['total'], 'key')}, {keys['unreadable']} unreadable, {failed}")
    results = [{"server": each["server"]} | each["results"] for each in said["servers"]]
    words = sorted({word for each in results for word in each} - {"server"})
    if results:
        print_records(results, ["server", *words], "table")
    shown = failures["listed"][:MOST_SHOWN]
    if shown:
        print_records(shown, ["server", "result", "reason", "key_id"], "table")
    if failures["total"] > len(shown):
        click.echo(f"and {counted(failures['total'] - len(shown), 'failure')} more")
