"""``keystead vserver ...``: SVMs. Source: the ONTAP CLI's verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from keystead.cli.commands import Group
from keystead.cli.output import print_records
from keystead.cli.rest import api, api_command, confirm, named, svm_option, yes

if TYPE_CHECKING:
    from keystead.cli.client import Api

_vserver = svm_option("Name of the SVM.", required=True)


@click.group(cls=Group)
def vserver() -> None:
    """Manage SVMs, the tenants of the cluster."""


@vserver.command()
@api_command
@_vserver
def create(vserver: str, **flags: Any) -> None:
    """Create an SVM.

    Example: keystead vserver create --vserver vs0
    """
    with api(flags) as service:
        records = service.create("/svm/svms", {"name": vserver})
    print_records(records, ["name", "uuid"], flags["output"])


@vserver.command()
@api_command
def show(**flags: Any) -> None:
    """List the SVMs.

    Example: keystead vserver show
    """
    with api(flags) as service:
        records = service.records("/svm/svms", fields="name", order_by="name")
    print_records(records, ["name", "uuid"], flags["output"])


@vserver.command()
@api_command
@_vserver
@click.option("--newname", required=True, help="New name of the SVM.")
def rename(vserver: str, newname: str, **flags: Any) -> None:
    """Rename an SVM.

    Example: keystead vserver rename --vserver vs0 --newname vs1
    """
    with api(flags) as service:
        service.call("PATCH", _path(service, vserver), {"name": newname})
    click.echo(f"renamed SVM {vserver} to {newname}", err=True)


@vserver.command()
@api_command
@_vserver
@yes
def delete(vserver: str, yes: bool, **flags: Any) -> None:  # noqa: FBT001
    """Delete an SVM that owns no certificates, key manager or accounts.

    Example: keystead vserver delete --vserver vs0
    """
    confirm(f"Delete SVM {vserver}", yes=yes)
    with api(flags) as service:
        service.call("DELETE", _path(service, vserver))
    click.echo(f"deleted SVM {vserver}", err=True)


def _path(service: Api, vserver: str) -> str:
    record = named(service, "/svm/svms", vserver)
    if record is None:
        raise click.ClickException(f"there is no SVM {vserver}")
    return f"/svm/svms/{record['uuid']}"
