"""``/security/key-managers/{uuid}/probe``: the stored key servers, probed as they are; and the answer of a dry run.

Neither is ONTAP's. Both probe key servers, store nothing and answer one record for each server.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from keystead.api.codes import MULTITENANT
from keystead.api.declared import Form, Paths
from keystead.api.hal import Reply
from keystead.api.operations import acting
from keystead.api.resource import OURS, Field, Group, Resource, always, itself
from keystead.api.resources.key_fields import ONE_KEY_MANAGER
from keystead.api.values import BOOLEAN, NUMBER, OBJECT, SERVER, TEXT, TIME, Type, one_of
from keystead.core import errors
from keystead.core.probing import STAGES, Whose
from keystead.core.query.query import Read
from keystead.service.cluster.svms import about_svm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.core.probing import ProbeResult

_CERTIFICATE: Final[tuple[tuple[str, Type, str], ...]] = (
    ("subject", TEXT, "The common name, or the whole name if it has none."),
    ("issuer", TEXT, "The same of its issuer."),
    ("serial_number", TEXT, "Its serial number, in hexadecimal."),
    ("start_time", TIME, "Its beginning."),
    ("expiry_time", TIME, "Its end."),
)


def _certificates(name: str, help_: str, *, many: bool = True) -> tuple[Field | Group, ...]:
    """Return the declaration of a certificate, or of a chain of them."""
    fields = (Field(name=f"{name}.{each}", type=type_, help=text, since=OURS) for each, type_, text in _CERTIFICATE)
    return (Group(name=name, help=help_, get=itself, many=many), *fields)


DRY_RUNS = Resource(
    name="key_server_dry_run",
    help="The findings of a dry run about one server. Accounts of SVMs see the failed stage, but not the reason.",
    declared=(
        Group(name="stages", help="The outcome of each stage.", get=itself, many=True),
        *(
            Field(name=name, type=type_, help=help_, since=OURS)
            for name, type_, help_ in (
                ("server", TEXT, "The primary."),
                ("accepted", BOOLEAN, "Whether the server and its secondaries passed every stage."),
                ("code", TEXT, "The error code for adding the server; left out if it is accepted."),
                ("reason", TEXT, "The reason of the failure: a word of [reasons](reasons.md)."),
                ("rule", TEXT, "The egress rule that refuses the address: a word of [egress rules](reasons.md)."),
                ("stage", one_of(*STAGES), "The failed stage, shown instead of the reason."),
                ("failed_server", TEXT, "The secondary that failed."),
                ("learned", OBJECT, "The versions, certificates and vendor that were found, by address."),
                ("stages.stage", one_of(*STAGES), "The stage."),
                ("stages.state", one_of("passed", "failed", "skipped"), "The outcome of the stage."),
                ("stages.elapsed_ms", NUMBER, "Milliseconds."),
            )
        ),
        *_certificates("certificates", "The certificates that the server showed, its own first."),
        *_certificates("client_certificates", "The certificates that we showed, the client certificate first."),
        *_certificates("at_fault", "The certificate that the reason is about, if it is about one.", many=False),
        Field(
            name="at_fault.whose",
            type=one_of(*Whose),
            help="``server``: the server showed it. ``client``: we showed it. ``server_ca``: it is installed here.",
            since=OURS,
        ),
    ),
    link=always(""),
)

PROBES = Resource(
    name="key_server_probe",
    help="Probes the stored key servers of a key manager with the stored certificates and passwords, secondaries too."
    " Nothing is stored. The answer has a record for each server, as that of a dry run.",
    declared=(
        Field(
            name="servers",
            type=SERVER,
            help="Only these primaries; left out or empty: all.",
            read=Read.NEVER,
            post=True,
            many=True,
            since=OURS,
        ),
    ),
    link=always(""),
)


def findings(results: Sequence[ProbeResult]) -> Reply:
    """Return the reply that tells what probes found."""
    records = [result.record() for result in results]
    return Reply(200, {"num_records": len(records), "records": records})


async def _probe(request: Request, values: dict[str, Any], _: WriteQuery) -> Reply:
    key_servers = request.services.key_servers
    state = await key_servers.state(request.call, request.path_uuid())
    with about_svm(state.key_manager.svm):
        probing = key_servers.probe(request.call, state, values.get("servers", ()))
        return findings(await request.while_connected(probing))


_CODES = (
    *(errors.NOT_ENABLED, errors.KEY_SERVER_NOT_CONFIGURED, errors.CERTIFICATE_NOT_INSTALLED),
    *(errors.KEY_SERVERS_UNREADABLE, errors.TOO_MANY_REQUESTS, errors.TOO_BUSY, *MULTITENANT),
)
_OPERATION = acting(PROBES, _probe, Form.TRY, "Probe the stored key servers", _CODES)

PATHS: Paths = {f"{ONE_KEY_MANAGER}/probe": {"POST": replace(_OPERATION, tried=DRY_RUNS)}}
