"""ONTAP's verbs over the REST API: ``security key-manager external ...`` and ``security certificate ...``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keystead.cli.client import Api
from keystead.cli.login import read_login
from keystead.cli.output import print_records

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSED = 1
CLUSTER = "(cluster)"  # where a table names the SVM and there is none

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_LOGIN = [
    click.option("--url", help="The service, https://HOST[:PORT]. [env: KEYSTEAD_URL; profile: url]"),
    click.option("--user", help="The account. [env: KEYSTEAD_USER; profile: user; default: admin]"),
    click.option("--ca", type=_FILE, help="Certificates to trust, PEM. [env: KEYSTEAD_CA; profile: ca]"),
    click.option(
        "--profile",
        type=click.Path(path_type=Path, dir_okay=False),
        help="File with url, ca, user, password, mode 0600."
        " [env: KEYSTEAD_PROFILE; default: ~/.config/keystead/profile.toml]",
    ),
    click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True),
]


def _api_command(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the login flags; the password is asked for unless KEYSTEAD_PASSWORD or the profile has it."""
    for option in reversed(_LOGIN):
        command = option(command)
    return command


def _api(flags: dict[str, Any]) -> Api:
    login = read_login(flags["url"], flags["user"], flags["ca"], flags["profile"])
    return Api(login, errors_as_json=flags["output"] == "json")


def _svm_name(record: dict[str, Any]) -> str:
    return str(record.get("svm", {}).get("name", CLUSTER))


def _servers(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    """Split ``a,b:5696, c``: blanks around a name are dropped; an empty one is a slip, not a server."""
    servers = tuple(part.strip() for part in value.split(","))
    if not all(servers):
        raise click.BadParameter("an empty name stands between the commas")
    return servers


@click.group()
def security() -> None:
    """Key managers and certificates."""


@security.group("key-manager")
def key_manager() -> None:
    """Key managers."""


@key_manager.group()
def external() -> None:
    """External key managers and their key servers."""


@external.command("add-servers")
@_api_command
@click.option("--vserver", metavar="SVM", help="The SVM; without it, the cluster.")
@click.option(
    "--key-servers",
    required=True,
    callback=_servers,
    metavar="HOST[:PORT],...",
    help="Up to four primary key servers; the port is 5696 when absent.",
)
@click.option("--dry-run", is_flag=True, help="Prove the servers and store nothing; exit status 1 when one is refused.")
def add_servers(vserver: str | None, key_servers: tuple[str, ...], dry_run: bool, **flags: Any) -> None:  # noqa: FBT001
    """Prove primary key servers and add them, all or none."""
    body = {"records": [{"server": server} for server in key_servers]}
    with _api(flags) as api:
        path = f"/security/key-managers/{_key_manager_uuid(api, vserver)}/key-servers"
        records = api.create(path, body, **({"dry_run": "true"} if dry_run else {}))
    if dry_run:
        _print_dry_run(records, flags["output"])
    else:
        print_records(records, ["server"], flags["output"])


def _print_dry_run(records: list[dict[str, Any]], form: str) -> None:
    if form == "table":
        records = [record | {"stage": _failed_stage(record)} for record in records]
    print_records(records, ["server", "accepted", "failed_server", "stage", "reason", "code"], form)
    if not all(record.get("accepted") for record in records):
        click.get_current_context().exit(REFUSED)


def _failed_stage(record: dict[str, Any]) -> str | None:
    failed = (stage["stage"] for stage in record.get("stages", ()) if stage["state"] == "failed")
    return next(failed, None)


@external.command("show")
@_api_command
@click.option("--vserver", metavar="SVM", help="One SVM's key manager only.")
def show_key_managers(vserver: str | None, **flags: Any) -> None:
    """List key managers and their key servers."""
    query = {"fields": "**"} | ({"svm.name": vserver} if vserver else {})
    with _api(flags) as api:
        records = api.records("/security/key-managers", **query)
    if flags["output"] == "table":
        records = [
            {"vserver": _svm_name(record), **server, "uuid": record["uuid"]}
            for record in records
            for server in record["external"]["servers"] or [{"server": "(none)"}]
        ]
    columns = ["vserver", "server", "timeout", "username", "secondary_key_servers", "uuid"]
    print_records(records, columns, flags["output"])


def _key_manager_uuid(api: Api, vserver: str | None) -> str:
    scope = {"svm.name": vserver} if vserver else {"scope": "cluster"}
    records = api.records("/security/key-managers", **scope)
    if not records:
        raise click.ClickException(f"{f'SVM {vserver}' if vserver else 'the cluster'} has no key manager")
    return str(records[0]["uuid"])


@security.group()
def certificate() -> None:
    """Certificates."""


@certificate.command("install")
@_api_command
@click.option("--vserver", metavar="SVM", help="The SVM; without it, the cluster.")
@click.option("--type", "type_", type=click.Choice(["client", "server_ca"]), required=True)
@click.option("--cert", type=_FILE, required=True, help="The certificate, PEM.")
@click.option("--key", type=_FILE, help="Its private key, PEM, not encrypted; for type client.")
@click.option("--intermediate", type=_FILE, multiple=True, help="PEM, the issuer first; for type client. Repeatable.")
@click.option("--name", help="Unique per SVM; made up when absent.")
def install(
    vserver: str | None,
    type_: str,
    cert: Path,
    key: Path | None,
    intermediate: tuple[Path, ...],
    name: str | None,
    **flags: Any,
) -> None:
    """Install a client certificate with its key, or a CA certificate of key servers."""
    body = {
        "type": type_,
        "public_certificate": _pem(cert),
        **({"private_key": _pem(key)} if key else {}),
        **({"intermediate_certificates": [_pem(path) for path in intermediate]} if intermediate else {}),
        **({"name": name} if name else {}),
        **({"svm": {"name": vserver}} if vserver else {}),
    }
    with _api(flags) as api:
        (made,) = api.create("/security/certificates", body)
        record = api.call("GET", f"/security/certificates/{made['uuid']}")
    print_records([record], ["name", "type", "common_name", "expiry_time", "uuid"], flags["output"])


def _pem(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{path}: not PEM text (DER? `openssl x509 -inform der` converts it)") from None


@certificate.command("show")
@_api_command
@click.option("--vserver", metavar="SVM", help="One SVM's certificates only.")
def show_certificates(vserver: str | None, **flags: Any) -> None:
    """List certificates."""
    query = {"fields": "*"} | ({"svm.name": vserver} if vserver else {})
    with _api(flags) as api:
        records = api.records("/security/certificates", **query)
    if flags["output"] == "table":
        records = [record | {"vserver": _svm_name(record)} for record in records]
    print_records(records, ["vserver", "name", "type", "common_name", "ca", "expiry_time", "uuid"], flags["output"])
