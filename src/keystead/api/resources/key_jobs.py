"""``.../restore`` and ``.../replicate``: jobs that read keys into a node's memory, and write missing copies.

Source: ONTAP REST API reference (9.13) for ``restore``. ``replicate`` is not ONTAP's.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.accepted import job_reply
from keystead.api.declared import Form, Paths
from keystead.api.hal import Reply, render
from keystead.api.operations import acting
from keystead.api.resource import Field, Group, Resource
from keystead.api.resources.cluster import node_link
from keystead.api.resources.key_fields import KEY_ID, ONE_KEY_MANAGER, key_manager_path
from keystead.api.values import SERVER, TEXT, UUID
from keystead.core import errors
from keystead.core.jobs import JobOutcome
from keystead.core.query.query import Read
from keystead.service.keys.reading.restore import Filters

if TYPE_CHECKING:
    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.core.model import Node
    from keystead.service.cluster.jobs import Progress
    from keystead.service.keys.reading.restore import Restoration, Restored

DONE = 201
"""The status of a call with a job that ends in time, as for ONTAP's ``restore``."""


@dataclass(frozen=True, slots=True)
class _RestoredKey:
    """A restored key, and the node that holds it now."""

    of: Restored
    node: Node


RESTORES = Resource(
    name="key_restore",
    help="Reads keys that this node does not hold yet from their key servers into memory. Every field is a filter.",
    declared=(
        Field(
            name="key_id",
            type=KEY_ID,
            help="Only this key.",
            get=attrgetter("of.key.key_id"),
            read=Read.KEY,
            post=True,
            since="9.13",
        ),
        Field(
            name="key_server",
            type=SERVER,
            help="Only from this primary.",
            get=lambda view: str(view.of.server.address) if view.of.server else None,
            read=Read.KEY,
            post=True,
            since="9.13",
        ),
        Field(
            name="key_tag",
            type=TEXT,
            help="Only keys with this tag.",
            get=lambda view: view.of.key.key_tag or None,
            read=Read.KEY,
            post=True,
            since="9.13",
        ),
        Group(
            name="node", help="The node: only the node that serves the call.", get=attrgetter("node"), link=node_link
        ),
        Field(
            name="node.uuid",
            type=UUID,
            help="The node's identifier.",
            get=attrgetter("uuid"),
            read=Read.KEY,
            post=True,
            since="9.13",
        ),
        Field(
            name="node.name",
            type=TEXT,
            help="The node's name.",
            get=attrgetter("name"),
            read=Read.KEY,
            post=True,
            since="9.13",
        ),
    ),
    link=lambda view: key_manager_path(view.of.key.key_manager),
    key="key_id",
)
REPLICATIONS = Resource(
    name="key_replication",
    help="Writes missing copies of keys to the key servers that lack them. The node that runs the keeper also does"
    " this every half minute. Not ONTAP's.",
    declared=(),
    link=key_manager_path,
)
_SHOWN = RESTORES.catalogue.select("*", single=True)


async def _restore(request: Request, values: dict[str, Any], query: WriteQuery) -> Reply:
    call, restorer, jobs = request.call, request.services.key_restorer, request.services.jobs
    node = values.pop("node", {})
    filters = Filters(**values, node_uuid=node.get("uuid"), node_name=node.get("name"))
    plan = await restorer.plan(call, request.path_uuid(), filters)
    restored: list[Restored] = []

    async def work(progress: Progress) -> JobOutcome | None:
        done = await restorer.restore(plan, progress)
        restored.extend(done.restored)
        return JobOutcome(done.error, message=_message(done, filters))

    ran = await jobs.run(call, work, svm=plan.svm, return_timeout=query.patience)
    reply = job_reply(ran, done=DONE)
    if reply.status != DONE or not query.return_records:
        return reply
    node_of_job = await request.services.cluster.node(call, ran.job.node)
    records = [render(RESTORES, _SHOWN, _RestoredKey(each, node_of_job), hal=request.hal) for each in restored]
    return Reply(DONE, {**reply.body, "num_records": len(records), "records": records})


def _message(done: Restoration, filters: Filters) -> str:
    """Return the message of a job that has failed for no key."""
    restored, held = len(done.restored), done.held
    if not restored and not held:
        return "no key has this tag" if filters.key_tag else "there are no keys to restore"
    in_memory = f"{held} in memory already"
    return ", ".join([f"{restored} {'key' if restored == 1 else 'keys'} restored"] + [in_memory] * bool(held))


async def _replicate(request: Request, _: dict[str, Any], query: WriteQuery) -> Reply:
    call, jobs = request.call, request.services.jobs
    work, svm = await request.services.key_replicator.replicate(call, request.path_uuid())
    return job_reply(await jobs.run(call, work, svm=svm, return_timeout=query.patience), done=DONE)


_RESTORE_CODES = (
    *(errors.AUTH_KEY_NOT_RESTORED, errors.VOLUME_KEY_NOT_RESTORED, errors.KEY_SERVER_NOT_CONFIGURED),
    errors.ONLY_PRIMARIES,
)

PATHS: Paths = {
    f"{ONE_KEY_MANAGER}/restore": {
        "POST": acting(RESTORES, _restore, Form.JOB, "Restore keys into a node's memory", _RESTORE_CODES)
    },
    f"{ONE_KEY_MANAGER}/replicate": {
        "POST": acting(
            REPLICATIONS,
            _replicate,
            Form.JOB,
            "Write missing copies of keys to key servers",
            (errors.TOO_FEW_COPIES,),
        )
    },
}
