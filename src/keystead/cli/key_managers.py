"""What commands about keys share: which key manager they mean, and jobs that they wait for."""

from __future__ import annotations

import time
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

import click

from keystead.cli.main import INTERRUPTED
from keystead.cli.rest import check_svm, scope_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.cli.client import Api

NO_CLUSTER_KEY_MANAGER = "the cluster has no key manager; for an SVM's give --vserver"
POLL_S = 0.5
RUNNING = {"queued", "running", "paused"}
_PATH = "/security/key-managers"


def _flags(whose: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The flags that say which key manager is meant, by its uuid or by an SVM; what that means is said in words."""
    manager = click.option(
        "--key-manager",
        "manager",
        metavar="UUID",
        help="The key manager, for accounts of SVMs whose keys the cluster's keeps: they do not see it.",
    )
    vserver = click.option("--vserver", metavar="SVM", help=whose)
    return lambda command: vserver(manager(command))


key_manager = _flags("The SVM whose keys it keeps, as its own or the cluster's; without it, the cluster's.")
of_new_key = _flags("The SVM whose key it will be; without it, the cluster's.")
of_keys = _flags("The SVM whose keys are meant, and nobody else's; without it, any in the cluster's key manager.")


def key_manager_path(service: Api, vserver: str | None, manager: str | None) -> str:
    """The path of the key manager that keeps an SVM's keys: its own, else the cluster's."""
    return _found(service, vserver, manager)[0]


def keys_path(service: Api, vserver: str | None, manager: str | None, collection: str) -> str:
    """The path of a collection of keys; with an SVM, the service is confined to it where others' keys are kept, too."""
    path, own = _found(service, vserver, manager)
    if vserver and not own:
        service.confine(vserver)
    return f"{path}/{collection}"


def _found(service: Api, vserver: str | None, manager: str | None) -> tuple[str, bool]:
    """The path of a key manager, and whether it is certain that it is the SVM's own."""
    if manager is not None:
        return f"{_PATH}/{quote(manager, safe='')}", False
    for own, scope in ((True, scope_of(vserver)), (False, scope_of(None))):
        records = service.records(_PATH, **scope)
        if records:
            return f"{_PATH}/{records[0]['uuid']}", own
        if own:
            check_svm(service, vserver)
    if vserver:
        text = (
            f"neither SVM {vserver} nor the cluster has a key manager that this account sees: --key-manager names one"
        )
    else:
        text = "the cluster has no key manager that this account sees: give --vserver for an SVM's, or --key-manager"
    raise click.ClickException(text)


class GoesOn(click.ClickException):
    """A job was left running by Ctrl-C: what is printed is no error."""

    exit_code = INTERRUPTED

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it."""
        click.echo(self.message, file=file, err=True)


def run_job(service: Api, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Begin a job, wait for its end, and return it; raises Refused for one that fails.

    Raises GoesOn for one that is not waited for.
    """
    uuid = service.call("POST", path, body)["job"]["uuid"]
    try:
        while (job := service.call("GET", f"/cluster/jobs/{uuid}"))["state"] in RUNNING:
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        raise GoesOn(f"job {uuid} goes on: `keystead job show` tells how it ends") from None
    if job["state"] != "success":
        raise service.refusal(job["error"])
    return job
