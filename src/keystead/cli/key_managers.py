"""The parts that commands about keys share: the choice of the key manager, and waiting for jobs."""

from __future__ import annotations

import time
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

import click

from keystead.cli.main import INTERRUPTED
from keystead.cli.rest import check_svm, scope_of, svm_option

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keystead.cli.client import Api

NO_CLUSTER_KEY_MANAGER = "the cluster has no key manager; for an SVM's give --vserver"
POLL_S = 0.5
RUNNING = {"queued", "running", "paused"}
KEY_MANAGERS = "/security/key-managers"


def _flags(whose: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator for the options that choose a key manager: by uuid, or by an SVM as ``whose`` explains."""
    manager = click.option(
        "--key-manager",
        "manager",
        metavar="UUID",
        help="Use this key manager. An account of an SVM needs it if the cluster's key manager keeps the SVM's keys."
        " It does not see that key manager: a cluster administrator finds the UUID with `external show`.",
    )
    vserver = svm_option(whose)
    return lambda command: vserver(manager(command))


key_manager = _flags(
    "Use the key manager that keeps this SVM's keys: its own, or the cluster's. Without it: the cluster's."
)
of_new_key = _flags("Create the key for this SVM; without it, for the cluster.")
of_keys = _flags("Use only keys of this SVM; without it, all keys in the cluster's key manager.")


def own_key_manager_path(service: Api, vserver: str | None) -> str:
    """Return the path of the key manager of an SVM, or of the cluster. Raise click.ClickException if it has none."""
    records = service.records(KEY_MANAGERS, **scope_of(vserver))
    if not records:
        raise no_key_manager(service, vserver)
    return f"{KEY_MANAGERS}/{records[0]['uuid']}"


def no_key_manager(service: Api, vserver: str | None) -> click.ClickException:
    """Return the error for an SVM or cluster without a key manager. Raise another one if there is no such SVM."""
    check_svm(service, vserver)
    return click.ClickException(f"SVM {vserver} has no key manager" if vserver else NO_CLUSTER_KEY_MANAGER)


def key_manager_path(service: Api, vserver: str | None, manager: str | None) -> str:
    """Return the path of the key manager that keeps an SVM's keys: the SVM's own, else the cluster's."""
    return _found(service, vserver, manager)[0]


def keys_path(service: Api, vserver: str | None, manager: str | None, collection: str) -> str:
    """Return the path of a collection of keys.

    Confine the service to the SVM if the key manager may also keep other keys.
    """
    path, own = _found(service, vserver, manager)
    if vserver and not own:
        service.confine(vserver)
    return f"{path}/{collection}"


def _found(service: Api, vserver: str | None, manager: str | None) -> tuple[str, bool]:
    """Return the path of a key manager, and True if it is certainly the SVM's own."""
    if manager is not None:
        return f"{KEY_MANAGERS}/{quote(manager, safe='')}", False
    for own, scope in ((True, scope_of(vserver)), (False, scope_of(None))):
        records = service.records(KEY_MANAGERS, **scope)
        if records:
            return f"{KEY_MANAGERS}/{records[0]['uuid']}", own
        if own:
            check_svm(service, vserver)
    if vserver:
        text = (
            f"neither SVM {vserver} nor the cluster has a key manager that this account sees: --key-manager names one"
        )
    else:
        text = "the cluster has no key manager that this account sees: give --vserver for an SVM's, or --key-manager"
    raise click.ClickException(text)


def key_servers(service: Api, parameters: Mapping[str, Any], _: str) -> list[str]:
    """Return the primary key servers of the key manager that options choose, for completion."""
    uuid = parameters.get("manager")
    wanted = {"uuid": uuid} if uuid else scope_of(parameters.get("vserver"))
    managers = service.records(KEY_MANAGERS, fields="external.servers.server", **wanted)
    return [server["server"] for manager in managers for server in manager["external"]["servers"]]


class JobStillRunning(click.ClickException):
    """The outcome when Ctrl-C stops waiting for a job. The job continues, so the message is not printed as an error."""

    exit_code = INTERRUPTED

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message."""
        click.echo(self.message, file=file, err=True)


def run_job(service: Api, path: str, body: dict[str, Any], say: Callable[[str], object]) -> dict[str, Any]:
    """Begin a job, wait for its end and return the job. Raises as :func:`follow_job`."""
    return follow_job(service, service.call("POST", path, body), say)


def follow_job(service: Api, answer: dict[str, Any], say: Callable[[str], object]) -> dict[str, Any]:
    """Wait for the end of the job that an answer names, and return the job. Raise Refused if the job fails.

    An answer without a job is returned as it is. ``say`` is called with the job's message while it runs: how many of
    how many are done. Raise JobStillRunning if Ctrl-C stops waiting.
    """
    if "job" not in answer:
        return answer
    uuid = answer["job"]["uuid"]
    try:
        while (job := service.call("GET", f"/cluster/jobs/{uuid}"))["state"] in RUNNING:
            say(job.get("message", ""))
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        raise JobStillRunning(f"job {uuid} goes on: `keystead job show` tells how it ends") from None
    if job["state"] != "success":
        raise service.refusal(job["error"])
    return job
