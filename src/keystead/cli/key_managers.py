"""What commands about keys share: which key manager they mean, and jobs that they wait for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from keystead.cli.rest import scope_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.cli.client import Api

NO_CLUSTER_KEY_MANAGER = "the cluster has no key manager; for an SVM's give --vserver"
POLL_S = 0.5
RUNNING = {"queued", "running", "paused"}
_PATH = "/security/key-managers"


def key_manager(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags that say whose key is meant, and where it is kept."""
    command = click.option(
        "--key-manager",
        "manager",
        metavar="UUID",
        help="The key manager, for accounts of SVMs whose keys the cluster's keeps: they do not see it.",
    )(command)
    return click.option("--vserver", metavar="SVM", help="The SVM whose key it is; without it, the cluster's.")(command)


def key_manager_path(service: Api, vserver: str | None, manager: str | None) -> str:
    """The path of the key manager that keeps an SVM's keys: its own, else the cluster's."""
    if manager is not None:
        return f"{_PATH}/{manager}"
    for scope in (scope_of(vserver), scope_of(None)):
        records = service.records(_PATH, **scope)
        if records:
            return f"{_PATH}/{records[0]['uuid']}"
    if vserver:
        text = (
            f"neither SVM {vserver} nor the cluster has a key manager that this account sees: --key-manager names one"
        )
    else:
        text = "the cluster has no key manager that this account sees: give --vserver for an SVM's, or --key-manager"
    raise click.ClickException(text)


def run_job(service: Api, path: str, body: dict[str, Any]) -> str:
    """Begin a job, wait for its end, and return what it says; one that fails ends the command with exit status 1."""
    uuid = service.call("POST", path, body)["job"]["uuid"]
    while (job := service.call("GET", f"/cluster/jobs/{uuid}"))["state"] in RUNNING:
        time.sleep(POLL_S)
    if job["state"] != "success":
        raise click.ClickException(f"{job['code']}: {job['message']}")
    return str(job["message"])
