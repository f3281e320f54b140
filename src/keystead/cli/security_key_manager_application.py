"""``keystead security key-manager application ...``: applications that keep their keys over KMIP."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import click

from keystead.cli.client import exactly
from keystead.cli.commands import Group
from keystead.cli.files import PRIVATE, PUBLIC, new_file
from keystead.cli.output import print_records
from keystead.cli.rest import api, api_command, confirm, progress, svm_option, yes

if TYPE_CHECKING:
    from keystead.cli.client import Api

ACCOUNTS: Final = "/security/accounts"
CERTIFICATES: Final = "/security/certificates"
ROLE: Final = "kmip-client"
KMIP_PORT: Final = 5696
METHODS: Final = [{"application": "kmip", "authentication_methods": ["certificate"]}]
CA_VALID_FOR: Final = "P3652D"

PYKMIP: Final = """[client]
host={host}
port={port}
certfile={folder}/client.pem
keyfile={folder}/client.key
ca_certs={folder}/ca.pem
cert_reqs=CERT_REQUIRED
ssl_version=PROTOCOL_TLSv1_2
do_handshake_on_connect=True
suppress_ragged_eofs=True
username=
password=
"""
"""The configuration of PyKMIP's client."""

MONGOD: Final = """security:
  enableEncryption: true
  kmip:
    serverName: {host}
    port: {port}
    clientCertificateFile: {folder}/client-and-key.pem
    serverCAFile: {folder}/ca.pem
"""
"""The part of a configuration of mongod."""

_of_svm = svm_option("SVM whose key servers keep the application's keys.", required=True)
_name = click.option("--name", required=True, metavar="NAME", help="Name of the application, and of its account.")


@click.group(cls=Group)
def application() -> None:
    """Manage applications, which keep their keys over KMIP."""


@application.command()
@api_command
@_of_svm
@_name
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="New folder for the application's files. Default: the name.",
)
@click.option("--kmip-port", type=int, default=KMIP_PORT, show_default=True, help="Port of the KMIP listener.")
def enable(vserver: str, name: str, folder: Path | None, kmip_port: int, **flags: Any) -> None:
    """Make an application: an account, a certificate of the SVM's own CA, and a folder that is ready to use.

    Example: keystead security key-manager application enable --vserver vs0 --name ceph1 --folder /etc/ceph/kmip
    """
    folder = (folder or Path(name)).absolute()
    with api(flags) as service, progress("making the application"):
        _make_folder(folder)
        try:
            _fill(service, vserver, name, folder, kmip_port)
        except BaseException:
            _remove_folder(folder)
            raise
    print_records([{"name": name, "folder": str(folder)}], ["name", "folder"], flags["output"])


@application.command()
@api_command
@svm_option("Show only applications of this SVM.")
def show(vserver: str | None, **flags: Any) -> None:
    """List the accounts of applications.

    Example: keystead security key-manager application show --vserver vs0
    """
    query = {"fields": "*", "role.name": ROLE} | ({"owner.name": exactly(vserver)} if vserver else {})
    with api(flags) as service:
        records = service.records(ACCOUNTS, **query)
    shown = [record | {"vserver": record.get("owner", {}).get("name", "")} for record in records]
    print_records(shown, ["vserver", "name", "locked", "comment"], flags["output"])


@application.command()
@api_command
@_of_svm
@_name
@yes
def disable(vserver: str, name: str, yes: bool, **flags: Any) -> None:  # noqa: FBT001
    """Delete an application's account, so that it cannot connect any more. Its objects stay.

    An account with the same name gets them again.

    Example: keystead security key-manager application disable --vserver vs0 --name ceph1
    """
    confirm(f"Delete the account of application {name} of SVM {vserver}", yes=yes)
    with api(flags) as service:
        found = service.records(ACCOUNTS, **{"name": exactly(name), "owner.name": exactly(vserver), "role.name": ROLE})
        if not found:
            raise click.ClickException(f"SVM {vserver} has no application {name}")
        service.call("DELETE", f"{ACCOUNTS}/{found[0]['owner']['uuid']}/{quote(name, safe='')}")
    click.echo(f"disabled application {name}", err=True)


def _fill(service: Api, vserver: str, name: str, folder: Path, port: int) -> None:
    """Make the account and its certificate, and write the files."""
    host, rest_port = service.address
    server_ca = ssl.get_server_certificate((host, rest_port))
    ca = _certificate_authority(service, vserver)
    asked = service.call("POST", "/security/certificate-signing-request", {"subject_name": f"CN={name}"})
    signed = service.call("POST", f"{CERTIFICATES}/{ca}/sign", {"signing_request": asked["csr"]})
    certificate, key = signed["public_certificate"], asked["generated_private_key"]
    values = {"host": host, "port": port, "folder": folder}
    files = (
        ("client.pem", PUBLIC, certificate),
        ("client.key", PRIVATE, key),
        ("client-and-key.pem", PRIVATE, f"{certificate.rstrip()}\n{key}"),
        ("ca.pem", PUBLIC, service.trusted() or server_ca),
        ("pykmip.conf", PUBLIC, PYKMIP.format_map(values)),
        ("mongod.conf", PUBLIC, MONGOD.format_map(values)),
    )
    for file, mode, content in files:
        with new_file(folder / file, mode) as opened:
            opened.write(content.encode())
    body = {"name": name, "owner": {"name": vserver}, "role": {"name": ROLE}, "applications": METHODS}
    service.call("POST", ACCOUNTS, body)


def _certificate_authority(service: Api, vserver: str) -> str:
    """Return the root_ca (uuid) of the SVM's applications. Make it, and trust it for logins, if there is none."""
    name, trusted = f"{vserver}-applications", f"{vserver}-applications-login"
    own = {"svm.name": exactly(vserver)}
    found = service.records(CERTIFICATES, name=exactly(name), type="root_ca", fields="public_certificate", **own)
    if not found:
        body = {"type": "root_ca", "name": name, "common_name": f"Applications of {vserver}"}
        made = service.create(CERTIFICATES, body | {"expiry_time": CA_VALID_FOR, "svm": {"name": vserver}})
        found = [service.call("GET", f"{CERTIFICATES}/{made[0]['uuid']}")]
    if not service.records(CERTIFICATES, name=exactly(trusted), type="client_ca", **own):
        body = {"type": "client_ca", "name": trusted, "public_certificate": found[0]["public_certificate"]}
        service.create(CERTIFICATES, body | {"svm": {"name": vserver}})
    uuid: str = found[0]["uuid"]
    return uuid


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        raise click.UsageError(f"{folder} exists: it is not overwritten") from None
    except OSError as error:
        raise click.UsageError(f"{folder}: {error.strerror}") from None


def _remove_folder(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
