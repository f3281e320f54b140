"""``/security/key-managers/{uuid}/key-servers``: the primary key servers of a key manager.

Source: ONTAP 9.6 page of ``POST /security/key-managers/{uuid}/key-servers`` and later releases. ``dry_run`` is not
ONTAP's.
"""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.accepted import job_reply
from keystead.api.checking import RECORDS
from keystead.api.codes import CREDENTIAL, MULTITENANT, NEW_SERVERS, PROBING, SECONDARIES
from keystead.api.collections import Collection
from keystead.api.declared import Form, Operation
from keystead.api.hal import Reply, segment
from keystead.api.operations import created, patching
from keystead.api.query import read_write
from keystead.api.resource import OURS, Field, Resource
from keystead.api.resources.connectivity import connectivity_fields
from keystead.api.resources.key_server_probes import DRY_RUNS, findings
from keystead.api.resources.server_cost import cost_fields
from keystead.api.values import (
    BOOLEAN,
    SECRET,
    SERVER,
    UUID,
    Parameter,
    Type,
    integer,
    text,
)
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_servers import (
    DOMAIN_LIMIT,
    PORTS,
    SECONDARY_LIMIT,
    TIMEOUTS_S,
    USERNAME_LIMIT,
    AddRequest,
    ModifyRequest,
    NewKeyServer,
)
from keystead.core.query.query import Read
from keystead.core.server_address import ServerAddress, server_name
from keystead.service.cluster.svms import about_svm
from keystead.service.configuration.key_server_removal import AT_ONCE_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.core.key_servers import ServersState
    from keystead.core.model import KeyServer, Svm
    from keystead.core.query.query import Wanted
    from keystead.service.ports.page import Page

COLLECTION = "/api/security/key-managers/{uuid}/key-servers"
SECONDS = integer(TIMEOUTS_S[0], TIMEOUTS_S[-1])
SERVER_NAME = Type("<host name or IP address>", server_name)
_DRY_RUN = {"dry_run": Parameter(BOOLEAN, "Not ONTAP's: probes the servers, stores nothing and returns the findings.")}
_FORCE = {
    "force": Parameter(
        BOOLEAN,
        "Remove it even if `quorum_required` is on and a node is down. A server with the only proven copy of a key is"
        " never removed.",
    )
}


def key_server_link(server: KeyServer) -> str:
    """Return the path of a key server: its address, percent-encoded."""
    return f"/api/security/key-managers/{server.key_manager}/key-servers/{segment(str(server.address))}"


def _address_after(address: ServerAddress, values: Mapping[str, Any]) -> ServerAddress:
    """Return the address of a key server after a PATCH."""
    return replace(address, port=values.get("port", address.port))


KEY_SERVERS = Resource(
    name="key_server",
    ontap="KeyServer",
    help="A primary key server of an external key manager: at most four, each with up to three secondaries."
    " ``?dry_run=true`` (not ONTAP's) on POST and PATCH probes the servers and stores nothing. The answer is 200. It"
    " tells for each server whether it is accepted, or the code and reason, the stages of the probe and its findings.",
    declared=(
        Field(
            name="uuid",
            type=UUID,
            help="The key manager's identifier.",
            get=attrgetter("key_manager"),
        ),
        Field(
            name="server",
            type=SERVER,
            help="Host name, IPv4 address or ``[IPv6 address]``, and port; the default port is 5696.",
            get=lambda server: str(server.address),
            read=Read.KEY,
            post=True,
            required=True,
            column="address",
        ),
        Field(
            name="port",
            type=integer(PORTS[0], PORTS[-1]),
            help="A new port for the server and its secondaries; shown as part of ``server``.",
            read=Read.NEVER,
            patch=True,
            since="9.18",
            restore=attrgetter("address.port"),
        ),
        Field(
            name="timeout",
            type=SECONDS,
            help="Seconds to wait for an answer (25); -1 waits for ever, 0 fails at once.",
            get=attrgetter("timeout"),
            post=True,
            patch=True,
            column="timeout",
        ),
        Field(
            name="username",
            type=text(USERNAME_LIMIT),
            help="KMIP user name, empty for none. It must change together with the password. An empty name in PATCH"
            " clears both.",
            get=attrgetter("username"),
            post=True,
            patch=True,
            column="username",
        ),
        Field(
            name="password",
            type=SECRET,
            help="KMIP password; never shown.",
            read=Read.NEVER,
            post=True,
            patch=True,
            secret=True,
            restore=lambda server: "" if server.sealed_password is None else None,
        ),
        Field(
            name="secondary_key_servers",
            type=text(SECONDARY_LIMIT),
            help="The secondaries' hosts, on the primary's port, in the order of access; left out if there are none.",
            get=lambda server: list(server.secondary_key_servers) or None,
            post=True,
            patch=True,
            many=True,
            since="9.8",
        ),
        Field(
            name="create_remove_timeout",
            type=SECONDS,
            help="Seconds to wait when keys are created or removed (10).",
            get=attrgetter("create_remove_timeout"),
            post=True,
            patch=True,
            since="9.14",
            column="create_remove_timeout",
        ),
        Field(
            name="tls_server_name",
            type=SERVER_NAME,
            help="Not ONTAP's: the name that the server's certificate must hold, sent as SNI instead of the host. It"
            " also applies to the secondaries. Left out if there is none. An empty name clears it.",
            get=lambda server: server.tls_server_name or None,
            restore=attrgetter("tls_server_name"),
            post=True,
            patch=True,
            since=OURS,
        ),
        Field(
            name="replication_domain",
            type=text(DOMAIN_LIMIT),
            help="Not ONTAP's: the declared replication domain, for servers that replicate or that can fail together,"
            " for example in one data centre. Servers with the same text are one domain, so copies of a key on them"
            " count once. Left out if there is none; then the domain is found by observation. An empty text clears it."
            " It is stored without a probe.",
            get=lambda server: server.replication_domain or None,
            restore=attrgetter("replication_domain"),
            post=True,
            patch=True,
            since=OURS,
        ),
        *connectivity_fields(),
        *cost_fields(),
    ),
    link=key_server_link,
    key="server",
    order=("position", integer(0, 2**31 - 1), attrgetter("position")),
    bulk=True,
    empty_patch=errors.NOTHING_TO_MODIFY,
    moved=_address_after,
)


def new_key_server(values: Mapping[str, Any]) -> NewKeyServer:
    """Return the server that the caller asks for, from checked values. An empty password means none."""
    return NewKeyServer(**{name: value for name, value in values.items() if name != "password" or value})


async def _add(request: Request) -> Reply:
    query = read_write(KEY_SERVERS, request.parameters(), "POST", _DRY_RUN)
    state = await _state(request)
    with about_svm(state.key_manager.svm):
        return await _add_to(request, state, query)


async def _add_to(request: Request, state: ServersState, query: WriteQuery) -> Reply:
    values = await request.values(KEY_SERVERS)
    records = values.get(RECORDS)
    servers = tuple(map(new_key_server, [values] if records is None else records))
    wanted = AddRequest(servers, prefix="" if records is None else RECORDS + "[{index}].")
    if query.own.get("dry_run"):
        trying = request.services.key_servers.dry_run(request.call, state, wanted)
        return findings(await request.while_connected(trying))
    added = await request.while_connected(request.services.key_servers.add(request.call, state, wanted))
    request.warnings += await request.services.attention.certificate_warnings(request.call, state.key_manager.uuid)
    return created(KEY_SERVERS, request, query, added)


async def _patch(request: Request, address: ServerAddress, values: dict[str, Any], query: WriteQuery) -> Reply | None:
    key_servers = request.services.key_servers
    wanted = ModifyRequest(address, **values)
    state = await _state(request)
    with about_svm(state.key_manager.svm):
        if query.own.get("dry_run"):
            return findings(await request.while_connected(key_servers.dry_run(request.call, state, wanted)))
        await request.while_connected(key_servers.modify(request.call, state, wanted))
        request.warnings += await request.services.attention.certificate_warnings(request.call, state.key_manager.uuid)
    return None


async def _delete(request: Request, address: ServerAddress, query: WriteQuery) -> Reply | None:
    """Remove a key server. With ``return_timeout``, what takes longer goes on as a job."""
    call, key_servers, jobs = request.call, request.services.key_servers, request.services.jobs
    state, force = await _state(request), bool(query.own.get("force"))
    with about_svm(state.key_manager.svm):
        if query.return_timeout is None:
            await request.while_connected(key_servers.remove(call, state, address, force=force))
            return None
        job = await key_servers.removals.job(state, address, force=force)
        within_s = max(query.return_timeout, AT_ONCE_S)

        async def at_once() -> None:
            removing = key_servers.remove(call, state, address, force=force, within_s=within_s)
            await request.while_connected(removing)

        ran = await jobs.run_at_once_or_in_steps(call, job, at_once, return_timeout=query.return_timeout)
    return job_reply(ran) if ran else None


async def _state(request: Request) -> ServersState:
    return await request.services.key_servers.state(request.call, request.path_uuid())


async def _owner(request: Request) -> Svm | None:
    return (await _state(request)).key_manager.svm


async def _page(request: Request, page: Page) -> tuple[KeyServer, ...]:
    return await request.services.key_servers.page(request.call, request.path_uuid(), page)


async def _show(request: Request, wanted: Wanted) -> KeyServer:
    uuid = request.path_uuid()
    return await request.services.key_servers.get(request.call, uuid, await path_address(request), wanted)


async def path_address(request: Request) -> ServerAddress:
    """Return the address in the path. Raises 4 (404) if it is none, or if there is no such key manager."""
    try:
        return ServerAddress.parse(request.path_text("server"))
    except ValueError:
        await _state(request)
        raise OntapError(errors.ENTRY_NOT_FOUND, target="server") from None


_CODES = {
    "GET": (errors.KEY_SERVERS_UNREADABLE,),
    "POST": (errors.NOT_ENABLED, errors.OUT_OF_QUORUM, *NEW_SERVERS),
    "PATCH": (
        *(errors.NOT_ENABLED, errors.KEY_SERVER_NOT_CONFIGURED, errors.PORT_RELEASE, errors.KEY_SERVER_EXISTS),
        *(errors.CERTIFICATE_NOT_INSTALLED, errors.SOLE_COPY, errors.KEYS_UNPROVEN, errors.KEY_SERVERS_UNREADABLE),
        *(errors.OUT_OF_QUORUM, *MULTITENANT, *SECONDARIES, *CREDENTIAL, *PROBING),
    ),
    "DELETE": (
        *(errors.NOT_ENABLED, errors.KEY_SERVER_NOT_CONFIGURED, errors.SOLE_COPY, errors.KEYS_UNPROVEN),
        *(errors.KEY_SERVERS_UNREADABLE, errors.OUT_OF_QUORUM, errors.TOO_BUSY, *MULTITENANT),
    ),
}
_WRITES = Collection(
    resource=KEY_SERVERS,
    page=_page,
    show=_show,
    patch=_patch,
    delete=_delete,
    owner=_owner,
    own={"DELETE": _FORCE},
    codes=_CODES,
)
_ONE = f"{COLLECTION}/{{server}}"

PATHS = _WRITES.paths(COLLECTION)
PATHS[COLLECTION]["POST"] = Operation(
    run=_add, form=Form.CREATE, resource=KEY_SERVERS, own=_DRY_RUN, codes=_CODES["POST"], tried=DRY_RUNS
)
# Only PATCH of one object has a dry run, because a PATCH of several could not answer the findings.
PATHS[_ONE]["PATCH"] = replace(patching(KEY_SERVERS, _patch, _DRY_RUN, _CODES["PATCH"]), tried=DRY_RUNS)
PATHS[_ONE]["DELETE"] = replace(PATHS[_ONE]["DELETE"], job=True)
