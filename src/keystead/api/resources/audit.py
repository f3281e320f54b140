"""``/security/audit`` and ``/security/audit/messages``: the options of the audit log, and its records.

Source: ONTAP REST API reference. Each change, refusal and denial is one record. It is written when the call's outcome
is known, so there is no state ``pending``.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.codes import OF_THE_CLUSTER
from keystead.api.hal import segment
from keystead.api.operations import listing, setting, showing
from keystead.api.resource import Field, Group, Resource, itself
from keystead.api.resources.cluster import NODES_PATH
from keystead.api.values import BOOLEAN, TEXT, TIME, UUID, integer, one_of, place_in_list
from keystead.core.audit import application_of, call_of, place
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from keystead.api.declared import Paths
    from keystead.api.request import Request
    from keystead.core.model import Options
    from keystead.core.query.query import Wanted
    from keystead.service.audit.messages import AuditMessage

SETTINGS_PATH = "/api/security/audit"
MESSAGES_PATH = "/api/security/audit/messages"
_PLACE = place_in_list(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6} .+ \d{20}")
_APPLICATIONS = ("internal", "console", "rsh", "telnet", "ssh", "ontapi", "http", "system")
_STATES = ("pending", "success", "error")

SETTINGS = Resource(
    name="audit",
    ontap="SecurityAudit",
    help="The options of the audit log. Changes, key reads (``.../retrieve``), refusals and denials are always"
    " recorded; GET, HEAD and OPTIONS only with ``http``.",
    declared=tuple(
        Field(name=name, type=BOOLEAN, help=help_, get=attrgetter(f"audit_{name}"), patch=True)
        for name, help_ in (
            ("cli", "Stored without effect, for compatibility: the command line uses this API."),
            ("http", "Whether GET, HEAD and OPTIONS are recorded."),
            ("ontapi", "Stored without effect, for compatibility: there is no ONTAPI here."),
        )
    ),
    link=lambda _: SETTINGS_PATH,
)


def _node_link(view: AuditMessage) -> str:
    return f"{NODES_PATH}/{segment(view.record.node)}"


MESSAGES = Resource(
    name="audit_message",
    ontap="SecurityAuditLog",
    help="An audit record. The default order is by time.",
    declared=(
        Field(
            name="timestamp",
            type=TIME,
            help="The time when the record was written.",
            get=lambda view: view.record.timestamp.isoformat(),
            read=Read.KEY,
            column="timestamp",
        ),
        Group(name="node", help="The node that wrote the record.", get=itself, link=_node_link),
        Field(
            name="node.uuid",
            type=UUID,
            help="The node's identifier.",
            get=attrgetter("record.node"),
            read=Read.KEY,
            column="node",
        ),
        Field(
            name="node.name",
            type=TEXT,
            help="The node's name; left out if the node is gone.",
            get=attrgetter("node_name"),
            read=Read.KEY,
        ),
        Field(
            name="index",
            type=integer(0, 2**63 - 1),
            help="The record's place in its node's audit chain; only for calls that see the whole cluster.",
            get=attrgetter("index"),
            read=Read.KEY,
            column="index",
        ),
        Field(
            name="application",
            type=one_of(*_APPLICATIONS),
            help="``http`` for API calls and logins; ``internal`` for actions of the service itself.",
            get=lambda view: application_of(view.record),
            read=Read.KEY,
        ),
        Field(
            name="location",
            type=TEXT,
            help="The caller's address.",
            get=lambda view: view.record.location or None,
            column="location",
            read=Read.KEY,
        ),
        Field(
            name="user",
            type=TEXT,
            help="The account.",
            get=lambda view: view.record.account or None,
            column="account",
            read=Read.KEY,
        ),
        Field(
            name="role",
            type=TEXT,
            help="The account's role.",
            get=lambda view: view.record.role or None,
            column="role",
            read=Read.KEY,
        ),
        Field(
            name="input",
            type=TEXT,
            help="Method, path and body, with secrets masked.",
            get=lambda view: call_of(view.record) or None,
            read=Read.KEY,
        ),
        Field(
            name="state",
            type=one_of(*_STATES),
            help="The outcome of the call.",
            get=attrgetter("record.state"),
            column="state",
            read=Read.KEY,
        ),
        Field(
            name="code",
            type=TEXT,
            help="ONTAP's error code. The field is not ONTAP's.",
            get=lambda view: view.record.code or None,
            column="code",
        ),
        Field(
            name="message",
            type=TEXT,
            help="The action, or the error's text. For a key read: ``retrieval of key KEY_ID, read READ_ID``;"
            " for several, ``retrieval of key KEY_ID, 3 reads: READ_ID ...``.",
            get=lambda view: view.record.message or None,
            column="message",
        ),
        Field(
            name="scope",
            type=one_of("cluster", "svm"),
            help="``svm`` if the record concerns an object or account of an SVM, else ``cluster``.",
            get=lambda view: "svm" if view.record.svm_uuid else "cluster",
            read=Read.KEY,
        ),
        Group(
            name="svm",
            help="The SVM that the record concerns.",
            get=lambda view: view.record if view.record.svm_uuid else None,
        ),
        Field(name="svm.uuid", type=UUID, help="The SVM's identifier.", get=attrgetter("svm_uuid"), column="svm_uuid"),
        Field(name="svm.name", type=TEXT, help="The SVM's name at that time.", get=attrgetter("svm"), column="svm"),
    ),
    link=lambda _: MESSAGES_PATH,
    order=("key", _PLACE, lambda view: place(view.record)),
)


async def _settings(request: Request, _: Wanted) -> Options:
    return await request.services.audit_messages.settings(request.call)


async def _change(request: Request, values: dict[str, Any]) -> None:
    await request.services.audit_messages.change_settings(request.call, values)


PATHS: Paths = {
    SETTINGS_PATH: {
        "GET": showing(SETTINGS, _settings, OF_THE_CLUSTER),
        "PATCH": setting(SETTINGS, _change, OF_THE_CLUSTER),
    },
    MESSAGES_PATH: {
        "GET": listing(MESSAGES, lambda request, page: request.services.audit_messages.page(request.call, page)),
    },
}
