"""ONTAP's verbs over the REST API: ``security key-manager external ...`` and ``security certificate ...``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keystead.cli.client import Api, read_login
from keystead.cli.output import print_records

if TYPE_CHECKING:
    from collections.abc import Callable

_LOGIN = [
    click.option("--url", help="The service, https://HOST:PORT. [env: KEYSTEAD_URL; profile: url]"),
    click.option("--user", help="The account. [env: KEYSTEAD_USER; profile: user; default: admin]"),
    click.option(
        "--ca", type=click.Path(path_type=Path), help="Certificates to trust. [env: KEYSTEAD_CA; profile: ca]"
    ),
    click.option(
        "--profile",
        type=click.Path(path_type=Path),
        help="File with url, ca, user, password. [env: KEYSTEAD_PROFILE; default: ~/.config/keystead/profile.toml]",
    ),
    click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True),
]


def _api_command(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the login flags."""
    for option in reversed(_LOGIN):
        command = option(command)
    return command


def _login(flags: dict[str, Any]) -> Api:
    return Api(read_login(flags["url"], flags["user"], flags["ca"], flags["profile"]))


def _scope(vserver: str | None) -> dict[str, str]:
    return {"svm.name": vserver} if vserver else {"scope": "cluster"}


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
@click.option("--key-servers", required=True, metavar="HOST[:PORT],...", help="Up to four primary key servers.")
@click.option("--dry-run", is_flag=True, help="Prove the servers, store nothing.")
def add_servers(vserver: str | None, key_servers: str, dry_run: bool, **flags: Any) -> None:  # noqa: FBT001
    """Prove primary key servers and add them, all or none."""
    api = _login(flags)
    path = f"/security/key-managers/{_key_manager_uuid(api, vserver)}/key-servers"
    body = {"records": [{"server": server} for server in key_servers.split(",")]}
    query = {"dry_run": "true"} if dry_run else {"return_records": "true"}
    records = api.call("POST", path, body, **query)["records"]
    columns = ["server", "accepted", "code", "reason"] if dry_run else ["server"]
    print_records(records, columns, flags["output"])


@external.command("show")
@_api_command
@click.option("--vserver", metavar="SVM", help="One SVM's key manager only.")
def show_key_managers(vserver: str | None, **flags: Any) -> None:
    """List key managers and their key servers."""
    query = {"fields": "**"} | ({"svm.name": vserver} if vserver else {})
    records = _login(flags).records("/security/key-managers", **query)
    if flags["output"] == "table":
        records = [
            {"vserver": record.get("svm", {}).get("name", "(cluster)"), "uuid": record["uuid"], **server}
            for record in records
            for server in record["external"]["servers"]
        ]
    columns = ["vserver", "server", "timeout", "username", "secondary_key_servers", "uuid"]
    print_records(records, columns, flags["output"])


def _key_manager_uuid(api: Api, vserver: str | None) -> str:
    records = api.records("/security/key-managers", **_scope(vserver))
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
@click.option("--cert", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True, help="PEM file.")
@click.option("--key", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="PEM file, type client only.")
@click.option("--intermediate", type=click.Path(path_type=Path, exists=True, dir_okay=False), multiple=True)
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
        "public_certificate": cert.read_text(),
        **({"private_key": key.read_text()} if key else {}),
        **({"intermediate_certificates": [path.read_text() for path in intermediate]} if intermediate else {}),
        **({"name": name} if name else {}),
        **({"svm": {"name": vserver}} if vserver else {}),
    }
    api = _login(flags)
    made = api.call("POST", "/security/certificates", body, return_records="true")["records"][0]
    record = api.call("GET", f"/security/certificates/{made['uuid']}")
    print_records([record], ["uuid", "name", "type", "common_name", "expiry_time"], flags["output"])


@certificate.command("show")
@_api_command
@click.option("--vserver", metavar="SVM", help="One SVM's certificates only.")
def show_certificates(vserver: str | None, **flags: Any) -> None:
    """List certificates."""
    query = {"fields": "*"} | ({"svm.name": vserver} if vserver else {})
    records = _login(flags).records("/security/certificates", **query)
    if flags["output"] == "table":
        records = [record | {"vserver": record.get("svm", {}).get("name", "(cluster)")} for record in records]
    print_records(records, ["vserver", "name", "type", "common_name", "ca", "expiry_time", "uuid"], flags["output"])
