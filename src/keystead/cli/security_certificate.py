"""``keystead security certificate ...``: install, create, sign, show and delete. Source: the ONTAP CLI's verbs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keystead.cli.commands import Group
from keystead.cli.completing import names_from
from keystead.cli.files import PRIVATE, PUBLIC, new_file
from keystead.cli.output import print_records
from keystead.cli.rest import (
    FILE,
    api,
    api_command,
    certificates,
    check_svm,
    confirm,
    in_svm,
    named,
    names,
    of_svm,
    one_svm,
    owner,
    owner_in_words,
    pem,
    progress,
    scope_of,
    svm_name,
    yes,
)

if TYPE_CHECKING:
    from keystead.cli.client import Api

TYPES = ["client", "server", "client_ca", "server_ca", "root_ca"]
HASHES = ["sha256", "sha384", "sha512"]
COLUMNS = ["name", "type", "common_name", "expiry_time", "uuid"]

_new_file = click.Path(path_type=Path, dir_okay=False)


@click.group(cls=Group)
def certificate() -> None:
    """Manage certificates."""


@certificate.command("install")
@api_command
@owner
@click.option(
    "--type",
    "type_",
    type=click.Choice(TYPES),
    required=True,
    help="Type of the certificate. A root_ca is made by `create`, and refused here (3735622).",
)
@click.option("--cert", type=FILE, required=True, help="File of the certificate, PEM.")
@click.option("--key", type=FILE, help="File of the private key, PEM, not encrypted; for types client and server.")
@click.option(
    "--intermediate",
    type=FILE,
    multiple=True,
    help="File of an intermediate certificate, PEM, the issuer first; with a key. Repeatable.",
)
@click.option("--name", help="Name of the certificate, unique per SVM; generated if absent.")
def install(
    vserver: str | None,
    type_: str,
    cert: Path,
    key: Path | None,
    intermediate: tuple[Path, ...],
    name: str | None,
    **flags: Any,
) -> None:
    """Install a client certificate with its key, or a CA certificate of key servers.

    Example: keystead security certificate install --vserver vs0 --type client --cert client.pem --key client.key
    """
    body = {
        "type": type_,
        "public_certificate": pem(cert),
        **({"private_key": pem(key)} if key else {}),
        **({"intermediate_certificates": [pem(path) for path in intermediate]} if intermediate else {}),
        **({"name": name} if name else {}),
        **in_svm(vserver),
    }
    _create(body, flags)


@certificate.command("create")
@api_command
@owner
@click.option("--type", "type_", type=click.Choice(TYPES), required=True)
@click.option("--common-name", required=True, help="The subject's common name.")
@click.option("--name", help="Name of the certificate, unique per SVM; generated if absent.")
@click.option("--size", type=int, help="Bits of the RSA key; 2048 if absent.")
@click.option("--hash-function", type=click.Choice(HASHES), help="Hash function of the signature; sha256 if absent.")
@click.option("--expire-days", type=click.IntRange(1, 3652), help="Number of days of validity; 365 if absent.")
def create(vserver: str | None, type_: str, expire_days: int | None, **flags: Any) -> None:
    """Create a self-signed certificate with a new key. A certificate of type root_ca can sign others.

    Example: keystead security certificate create --vserver vs0 --type root_ca --common-name "vs0 CA" --name vs0-ca
    """
    body = {"type": type_, "common_name": flags["common_name"], **in_svm(vserver)}
    body |= {"expiry_time": f"P{expire_days}D"} if expire_days else {}
    body |= {"key_size": flags["size"]} if flags["size"] else {}
    body |= {name: flags[name] for name in ("name", "hash_function") if flags[name]}
    _create(body, flags)


def _create(body: dict[str, Any], flags: dict[str, Any]) -> None:
    with api(flags) as service, progress("creating the certificate"):
        made = service.create("/security/certificates", body)[0]
        record = service.call("GET", f"/security/certificates/{made['uuid']}")
    print_records([record], COLUMNS, flags["output"])


@certificate.command("generate-csr")
@api_command
@click.option("--common-name", help="The subject's common name.")
@click.option("--subject", help='The whole subject instead of --common-name, "C=US,O=Example,CN=client".')
@click.option("--algorithm", type=click.Choice(["rsa", "ec"]), help="Algorithm of the new key; rsa if absent.")
@click.option("--hash-function", type=click.Choice(HASHES), help="Hash function of the signature; sha256 if absent.")
@click.option("--dns-name", callback=names, metavar="NAME,...", help="Subject alternative names.")
@click.option("--ipaddr", callback=names, metavar="ADDRESS,...", help="Subject alternative addresses.")
@click.option("--csr-file", type=_new_file, required=True, help="Write the request to this new file.")
@click.option("--key-file", type=_new_file, required=True, help="Write the private key to this new file, mode 0600.")
def generate_csr(
    common_name: str | None,
    subject: str | None,
    dns_name: tuple[str, ...],
    ipaddr: tuple[str, ...],
    csr_file: Path,
    key_file: Path,
    **flags: Any,
) -> None:
    """Create a private key and a certificate signing request.

    Example: keystead security certificate generate-csr --common-name client --csr-file c.csr --key-file c.key
    """
    if not (common_name or subject):
        raise click.UsageError("give --common-name or --subject")
    alternatives = {name: list(values) for name, values in (("dns", dns_name), ("ip", ipaddr)) if values}
    body: dict[str, Any] = {"subject_name": subject or f"CN={common_name}"}
    body |= {name: flags[name] for name in ("algorithm", "hash_function") if flags[name]}
    body |= {"subject_alternatives": alternatives} if alternatives else {}
    with api(flags) as service, new_file(key_file, PRIVATE) as key, new_file(csr_file, PUBLIC) as csr:
        answer = service.call("POST", "/security/certificate-signing-request", body)
        for file, content in ((key, answer["generated_private_key"]), (csr, answer["csr"])):
            file.write(content.encode())
            file.flush()  # a failure here removes both files
    print_records([{"csr_file": str(csr_file), "key_file": str(key_file)}], ["csr_file", "key_file"], flags["output"])


@certificate.command("sign")
@api_command
@owner
@click.option(
    "--ca-name",
    required=True,
    metavar="NAME",
    help="Name of an installed root_ca certificate.",
    shell_complete=names_from(certificates("root_ca")),
)
@click.option("--csr-file", type=FILE, required=True, help="File of the request, PEM.")
@click.option("--expire-days", type=click.IntRange(1, 3652), help="Number of days of validity; 365 if absent.")
@click.option("--cert-file", type=_new_file, required=True, help="Write the certificate to this new file.")
def sign(
    vserver: str | None, ca_name: str, csr_file: Path, expire_days: int | None, cert_file: Path, **flags: Any
) -> None:
    """Sign a request with a root_ca certificate.

    Example: keystead security certificate sign --vserver vs0 --ca-name vs0-ca --csr-file c.csr --cert-file c.pem
    """
    body = {"signing_request": pem(csr_file)} | ({"expiry_time": f"P{expire_days}D"} if expire_days else {})
    with api(flags) as service:
        uuid = _named(service, vserver, ca_name, wanted="root_ca")
        with new_file(cert_file, PUBLIC) as file:
            signed = service.call("POST", f"/security/certificates/{uuid}/sign", body)
            file.write(signed["public_certificate"].encode())
    print_records([{"cert_file": str(cert_file)}], ["cert_file"], flags["output"])


@certificate.command("show")
@api_command
@one_svm
@click.option("--type", "type_", type=click.Choice(TYPES), help="Show only certificates of this type.")
def show(vserver: str | None, type_: str | None, **flags: Any) -> None:
    """List certificates.

    The column "used_by" of the table lists the owners of the key managers that use the certificate.

    Example: keystead security certificate show --vserver vs0 --type client
    """
    query = {"fields": "*"} | of_svm(vserver) | ({"type": type_} if type_ else {})
    with api(flags) as service:
        records = service.records("/security/certificates", **query)
        if flags["output"] == "table":
            users = _users(service)
            records = [
                record | {"vserver": svm_name(record), "used_by": users.get(record.get("uuid", ""))}
                for record in records
            ]
    columns = ["vserver", "name", "type", "expiry_time", "used_by", "common_name", "ca", "uuid"]
    print_records(records, columns, flags["output"])


def _users(service: Api) -> dict[str, list[str]]:
    """Return the owners of the key managers that use each certificate, by the certificate's uuid."""
    users: dict[str, list[str]] = {}
    fields = "svm.name,external.client_certificate.uuid,external.server_ca_certificates.uuid"
    for manager in service.records("/security/key-managers", fields=fields):
        external = manager.get("external", {})
        for certificate in (external.get("client_certificate", {}), *external.get("server_ca_certificates", ())):
            users.setdefault(certificate.get("uuid", ""), []).append(svm_name(manager))
    return users


@certificate.command("delete")
@api_command
@owner
@click.option("--name", required=True, help="Name of the certificate.", shell_complete=names_from(certificates()))
@yes
def delete(vserver: str | None, name: str, yes: bool, **flags: Any) -> None:  # noqa: FBT001
    """Delete a certificate that nothing uses.

    Example: keystead security certificate delete --vserver vs0 --name kmip-ca-2024
    """
    confirm(f"Delete certificate {name} of {owner_in_words(vserver)}", yes=yes)
    with api(flags) as service:
        service.call("DELETE", f"/security/certificates/{_named(service, vserver, name)}")
    click.echo(f"deleted certificate {name}", err=True)


def _named(service: Api, vserver: str | None, name: str, wanted: str | None = None) -> str:
    """Return the uuid of a certificate.

    Raise click.ClickException if the certificate does not exist or is not of the ``wanted`` type.
    """
    record = named(service, "/security/certificates", name, fields="name,type", **scope_of(vserver))
    if record is None:
        check_svm(service, vserver)
        raise click.ClickException(f"{owner_in_words(vserver)} has no certificate {name}")
    if wanted not in {None, record["type"]}:
        raise click.ClickException(f"certificate {name} is of type {record['type']}, not {wanted}")
    return str(record["uuid"])
