"""``/security/key-managers``: external key managers of SVMs and of the cluster.

Source: ONTAP REST API reference. There is no Onboard Key Manager: ``onboard.enabled`` is always false. A body with
``onboard`` is refused (65536508).
"""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

from keystead.api.accepted import job_reply
from keystead.api.codes import MULTITENANT, NEW_SERVERS, ONE_OWNER, PROBING
from keystead.api.collections import Collection
from keystead.api.hal import segment
from keystead.api.resource import OURS, Field, Group, Resource, always, itself
from keystead.api.resources.certificates import certificate_link
from keystead.api.resources.connectivity import connectivity_fields
from keystead.api.resources.key_manager_bodies import key_manager_change, new_key_manager
from keystead.api.resources.key_servers import SECONDS, SERVER_NAME, key_server_link
from keystead.api.resources.key_stores import key_store_link
from keystead.api.resources.owner import owner_fields
from keystead.api.resources.server_cost import cost_fields
from keystead.api.values import BOOLEAN, SECRET, SERVER, TEXT, UUID, Parameter, integer, name, text
from keystead.core import errors
from keystead.core.key_managers import CLIENT_CERTIFICATE, LONGEST_MONITOR_INTERVAL, SERVER_CA_CERTIFICATES
from keystead.core.key_servers import DOMAIN_LIMIT, MAX_PRIMARIES
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from keystead.api.hal import Reply
    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.api.values import Type
    from keystead.core.query.query import Wanted
    from keystead.service.cluster.jobs import Progress
    from keystead.service.configuration.key_manager_views import KeyManagerView
    from keystead.service.ports.page import Page

COLLECTION = "/api/security/key-managers"
_ONE = f"{COLLECTION}/{{uuid}}"
_POLICY = (errors.POLICY_INVALID, errors.POLICY_ON_ADMIN_SVM)
STATUS = {"code": 65537200, "message": "No action needed at this time."}
"""ONTAP's status of a key manager that is configured."""

VOLUME_ENCRYPTION = {
    "supported": False,
    "code": 65536935,
    "message": "The nodes hold no volumes: volume granular encryption is not supported.",
}
_TYPES = {int: integer(0, 2**31 - 1), bool: BOOLEAN, str: TEXT}

_uuid = attrgetter("key_manager.uuid")
_servers = "external.servers"


def _onboard(field: str, type_: Type, help_: str, **options: Any) -> tuple[Field]:
    """Return a tuple with one field of the Onboard Key Manager.

    A body may hold the field, so that it is refused with ONTAP's code.
    """
    return (Field(name=f"onboard.{field}", type=type_, help=help_, read=Read.NEVER, post=True, patch=True, **options),)


def _fixed(group: str, values: Mapping[str, Any], read: Read = Read.NORMAL) -> Iterator[Field]:
    """Yield fields of a group that are the same for every key manager."""
    for field, value in values.items():
        shown = f"Always {str(value).lower() if isinstance(value, bool) else value}".rstrip(".") + "."
        type_ = _TYPES[type(value)]
        yield Field(name=f"{group}.{field}", type=type_, help=shown, get=always(value), read=read, since="9.7")


KEY_MANAGERS = Resource(
    name="key_manager",
    ontap="SecurityKeyManager",
    help="An external key manager: its certificates and primary key servers. One per SVM, one for the cluster.",
    declared=(
        Field(
            name="uuid",
            type=UUID,
            help="The key manager's identifier.",
            get=_uuid,
            read=Read.KEY,
            column="uuid",
        ),
        *owner_fields(attrgetter("key_manager.svm"), scope_post=True, patch=True),
        Group(
            name=CLIENT_CERTIFICATE,
            help="The certificate that the cluster presents to key servers.",
            get=itself,
            link=lambda view: certificate_link(view.key_manager.client_certificate),
        ),
        Field(
            name=f"{CLIENT_CERTIFICATE}.uuid",
            type=UUID,
            help="An installed ``client`` certificate.",
            get=attrgetter("key_manager.client_certificate"),
            post=True,
            patch=True,
            column="client_certificate",
        ),
        Field(
            name=f"{CLIENT_CERTIFICATE}.name",
            type=text(255),
            help="The certificate's name, in a body instead of the uuid or with it; left out if it was deleted.",
            get=attrgetter("client_certificate_name"),
            post=True,
            patch=True,
            since="9.8",
        ),
        Group(
            name=SERVER_CA_CERTIFICATES,
            help="The authorities that the cluster trusts, the same for all servers.",
            get=attrgetter("server_cas"),
            many=True,
            link=lambda ca: certificate_link(ca[0]),
        ),
        Field(
            name=f"{SERVER_CA_CERTIFICATES}.uuid",
            type=UUID,
            help="An installed ``server_ca`` certificate.",
            get=itemgetter(0),
            post=True,
            patch=True,
            column="server_ca_certificate",
        ),
        Field(
            name=f"{SERVER_CA_CERTIFICATES}.name",
            type=text(255),
            help="The certificate's name, in a body instead of the uuid or with it. No parent shows it, because Ansible"
            " compares all fields that it shows.",
            get=itemgetter(1),
            read=Read.BY_NAME,
            post=True,
            patch=True,
            since="9.8",
        ),
        Group(
            name=_servers,
            help="The primary key servers, in the order of creation.",
            get=attrgetter("servers"),
            many=True,
            link=key_server_link,
        ),
        Field(
            name=f"{_servers}.server",
            type=SERVER,
            help="Host and port; the default port is 5696.",
            get=lambda server: str(server.address),
            post=True,
            required=True,
            column="server_address",
        ),
        Field(
            name=f"{_servers}.timeout",
            type=SECONDS,
            help="The time-out in seconds.",
            get=attrgetter("timeout"),
            column="server_timeout",
        ),
        Field(
            name=f"{_servers}.tls_server_name",
            type=SERVER_NAME,
            help="Not ONTAP's: the name that the server's certificate must hold instead of the host.",
            get=lambda server: server.tls_server_name or None,
            post=True,
            since=OURS,
        ),
        Field(
            name=f"{_servers}.replication_domain",
            type=text(DOMAIN_LIMIT),
            help="Not ONTAP's: the declared replication domain of the server.",
            get=lambda server: server.replication_domain or None,
            post=True,
            since=OURS,
        ),
        Field(
            name=f"{_servers}.username",
            type=TEXT,
            help="KMIP user name.",
            get=attrgetter("username"),
            column="server_username",
        ),
        Field(
            name=f"{_servers}.secondary_key_servers",
            type=TEXT,
            help="The secondaries, separated by commas; left out if there are none.",
            get=lambda server: ", ".join(server.secondary_key_servers) or None,
            since="9.8",
        ),
        *connectivity_fields(f"{_servers}."),
        *cost_fields(f"{_servers}."),
        Field(
            name="onboard.enabled",
            type=BOOLEAN,
            help="Always false.",
            get=lambda _: False,
            refusal=errors.ONBOARD,
        ),
        *_onboard("passphrase", SECRET, "Refused, and never shown.", secret=True),
        *_onboard("existing_passphrase", SECRET, "Refused, and never shown.", secret=True),
        *_onboard("synchronize", BOOLEAN, "Refused.", since="9.7"),
        Field(
            name="is_default_data_at_rest_encryption_disabled",
            type=BOOLEAN,
            help="Always true: there are no volumes to encrypt.",
            get=lambda _: True,
            since="9.7",
        ),
        *_fixed("volume_encryption", VOLUME_ENCRYPTION),
        Field(
            name="policy",
            type=TEXT,
            help="The policy name of an SVM's key manager, stored without effect; left out if there is none.",
            get=lambda view: view.key_manager.policy or None,
            post=True,
            patch=True,
            since="9.9",
        ),
        Field(
            name="min_copies",
            type=integer(0, MAX_PRIMARIES),
            help="Not ONTAP's: the number of replication domains that must hold a proven copy before a new key is"
            " acknowledged. 0 means a majority and is not shown. A number above the existing domains is accepted, but"
            " every new key is refused until there are enough domains.",
            get=lambda shown: shown.key_manager.min_copies or None,
            post=True,
            patch=True,
            since=OURS,
        ),
        Field(
            name="monitor_interval",
            type=integer(0, LONGEST_MONITOR_INTERVAL),
            help="Not ONTAP's: the seconds between two checks of each of its key servers. It applies on every node"
            " instead of the setting ``monitor_interval``, without a restart. 0 means the setting and is not shown.",
            get=lambda shown: shown.key_manager.monitor_interval or None,
            restore=attrgetter("key_manager.monitor_interval"),
            post=True,
            patch=True,
            since=OURS,
            column="monitor_interval",
        ),
        Group(
            name="configuration",
            help="The key manager as a key store.",
            get=attrgetter("key_manager"),
            link=lambda key_manager: key_store_link(key_manager.uuid),
        ),
        Field(
            name="configuration.name",
            type=name(255),
            help="The configuration's name; ``default`` if absent.",
            get=attrgetter("configuration_name"),
            read=Read.KEY,
            post=True,
            since="9.16",
            column="configuration_name",
        ),
        Field(
            name="configuration.uuid",
            type=UUID,
            help="The key manager's identifier.",
            get=attrgetter("uuid"),
            read=Read.KEY,
            since="9.16",
            column="uuid",
        ),
        Field(
            name="enabled",
            type=BOOLEAN,
            help="Whether the configuration is active.",
            get=attrgetter("key_manager.enabled"),
            read=Read.KEY,
            since="9.16",
            column="enabled",
        ),
        *_fixed("status", STATUS, Read.EXPENSIVE),
    ),
    link=lambda view: f"{COLLECTION}/{segment(_uuid(view))}",
    order=("uuid", UUID, _uuid),
    returned=f"svm.uuid,{CLIENT_CERTIFICATE}.uuid,{SERVER_CA_CERTIFICATES}.uuid,{_servers}.server",
)


async def _create(request: Request, values: dict[str, Any], query: WriteQuery) -> KeyManagerView:
    confined = request.call.scope is not None
    new = new_key_manager(values, confined=confined, inactive=query.own.get("create_inactive", False))
    made = await request.services.key_managers.create(request.call, new)
    await _warn(request, made.key_manager.uuid)
    return made


async def _warn(request: Request, uuid: str) -> None:
    """Warn of certificates that end soon, although they were accepted."""
    request.warnings += await request.services.attention.certificate_warnings(request.call, uuid)


async def _patch(request: Request, uuid: str, values: dict[str, Any], query: WriteQuery) -> Reply | None:
    change = key_manager_change(values)
    call, key_managers = request.call, request.services.key_managers
    if not query.own.get("validate_certificates"):
        await request.while_connected(key_managers.change(call, uuid, change))
        await _warn(request, uuid)
        return None
    svm = (await key_managers.check_change(call, uuid, change)).svm

    async def work(_: Progress) -> None:
        await key_managers.change(call, uuid, change, patient=True)

    return job_reply(await request.services.jobs.run(call, work, svm=svm, return_timeout=query.patience))


async def _delete(request: Request, uuid: str, _: WriteQuery) -> Reply | None:
    await request.services.key_managers.delete(request.call, uuid)
    return None


async def _page(request: Request, page: Page) -> tuple[KeyManagerView, ...]:
    return await request.services.key_managers.page(request.call, page)


async def _show(request: Request, wanted: Wanted) -> KeyManagerView:
    return await request.services.key_managers.get(request.call, request.path_uuid(), wanted)


_INACTIVE = Parameter(BOOLEAN, "Whether the cluster's new key manager becomes an inactive configuration.")
_VALIDATE = Parameter(BOOLEAN, "Whether the change runs as a job. The change probes every key server in any case.")
_SET_CODES = (errors.ONBOARD, errors.CERTIFICATE_NOT_INSTALLED, errors.EXTERNAL_INCOMPLETE, *_POLICY, *ONE_OWNER)
_CODES = {
    "GET": (errors.KEY_SERVERS_UNREADABLE,),
    "POST": (
        *(errors.KEY_MANAGER_EXISTS, errors.ADMIN_SVM_HAS_KEY_MANAGER, errors.ENABLE_BESIDE_INACTIVE),
        *(errors.INACTIVE_OF_SVM, errors.INACTIVE_BESIDE_ANOTHER, errors.INACTIVE_METROCLUSTER),
        *(errors.INACTIVE_RELEASE, errors.KEYS_AT_CLUSTER, *_SET_CODES, *NEW_SERVERS),
    ),
    "PATCH": (
        *(errors.INACTIVE_UNCHANGEABLE, errors.KEY_PAIR, errors.KEY_SERVERS_UNREADABLE),
        *(*MULTITENANT, *_SET_CODES, *PROBING),
    ),
    "DELETE": (errors.NOT_ENABLED, errors.KEYS_IN_USE),
}

PATHS = Collection(
    resource=KEY_MANAGERS,
    page=_page,
    show=_show,
    create=_create,
    patch=_patch,
    delete=_delete,
    own={"POST": {"create_inactive": _INACTIVE}, "PATCH": {"validate_certificates": _VALIDATE}},
    codes=_CODES,
).paths(COLLECTION)
PATHS[_ONE]["PATCH"] = replace(PATHS[_ONE]["PATCH"], job=True)
