"""``/security/key-managers``: external key managers of SVMs and of the cluster.

Source: ONTAP REST API reference. There is no onboard key manager: ``onboard.enabled`` says so.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.hal import Reply, segment
from keystead.api.operations import Paths, created, listing, showing
from keystead.api.query import read_write
from keystead.api.resource import Field, Group, Resource, column, itself
from keystead.api.resources.certificates import certificate_link
from keystead.api.resources.key_servers import SECONDS, key_server_link, new_key_server
from keystead.api.resources.owner import owner_fields
from keystead.api.values import BOOLEAN, SERVER, TEXT, UUID, integer
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_managers import NewKeyManager
from keystead.core.query import Read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.api.request import Request
    from keystead.core.query import Wanted
    from keystead.service.key_managers import KeyManagerView

COLLECTION = "/api/security/key-managers"
COMPLETE = (65537200, "No action needed at this time.")  # ONTAP's status of a key manager that is set up

_uuid = attrgetter("key_manager.uuid")
_client_certificate = "external.client_certificate"
_server_cas = "external.server_ca_certificates"
_servers = "external.servers"

KEY_MANAGERS = Resource(
    name="key_manager",
    help="An external key manager: its certificates and primary key servers. One per SVM, one for the cluster.",
    declared=(
        Field(
            name="uuid",
            type=UUID,
            help="The key manager's identifier.",
            get=_uuid,
            read=Read.KEY,
            equals=column("uuid"),
        ),
        *owner_fields(attrgetter("key_manager.svm"), scope_post=True),
        Group(
            name=_client_certificate,
            help="What the cluster shows to key servers.",
            get=itself,
            link=lambda view: certificate_link(view.key_manager.client_certificate),
        ),
        Field(
            name=f"{_client_certificate}.uuid",
            type=UUID,
            help="An installed ``client`` certificate.",
            get=attrgetter("key_manager.client_certificate"),
            post=True,
            equals=column("client_certificate"),
        ),
        Field(
            name=f"{_client_certificate}.name",
            type=TEXT,
            help="Its name; left out when it is gone.",
            get=attrgetter("client_certificate_name"),
            since="9.8",
        ),
        Group(
            name=_server_cas,
            help="Whom the cluster believes: common to all servers.",
            get=attrgetter("key_manager.server_ca_certificates"),
            many=True,
            link=certificate_link,
        ),
        Field(
            name=f"{_server_cas}.uuid",
            type=UUID,
            help="An installed ``server_ca`` certificate.",
            get=itself,
            post=True,
            required=True,
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
            help="Host and port; 5696 when absent.",
            get=lambda server: str(server.address),
            post=True,
            required=True,
        ),
        Field(name=f"{_servers}.timeout", type=SECONDS, help="Seconds.", get=attrgetter("timeout")),
        Field(name=f"{_servers}.username", type=TEXT, help="KMIP user name.", get=attrgetter("username")),
        Field(
            name=f"{_servers}.secondary_key_servers",
            type=TEXT,
            help="Comma-separated; left out when there are none.",
            get=lambda server: ", ".join(server.secondary_key_servers) or None,
            since="9.8",
        ),
        Field(name="onboard.enabled", type=BOOLEAN, help="Always false.", get=lambda _: False),
        Field(
            name="enabled",
            type=BOOLEAN,
            help="Whether the configuration is active.",
            get=attrgetter("key_manager.enabled"),
            since="9.16",
            equals=column("enabled"),
        ),
        Field(
            name="status.code",
            type=integer(0, 2**31 - 1),
            help="ONTAP's code of the state.",
            get=lambda _: COMPLETE[0],
            read=Read.EXPENSIVE,
            since="9.7",
        ),
        Field(
            name="status.message",
            type=TEXT,
            help="What is still to be done to set it up.",
            get=lambda _: COMPLETE[1],
            read=Read.EXPENSIVE,
            since="9.7",
        ),
    ),
    link=lambda view: f"{COLLECTION}/{segment(_uuid(view))}",
    order=("uuid", UUID, _uuid),
    absent=frozenset(
        {
            f"{_servers}.connectivity",
            "configuration",
            "is_default_data_at_rest_encryption_disabled",
            "policy",
            "volume_encryption",
        }
    ),
)


def new_key_manager(values: Mapping[str, Any]) -> NewKeyManager:
    """A key manager as the caller asks for it, from checked values. A ``scope`` must agree with ``svm``."""
    svm: Mapping[str, Any] = values.get("svm", {})
    external: Mapping[str, Any] = values.get("external", {})
    if values.get("scope") not in {None, "svm" if svm else "cluster"}:
        raise OntapError(errors.INVALID_VALUE, target="scope", field="scope", reason="it does not agree with svm")
    return NewKeyManager(
        svm_uuid=svm.get("uuid"),
        svm_name=svm.get("name"),
        client_certificate=external.get("client_certificate", {}).get("uuid"),
        server_ca_certificates=tuple(item["uuid"] for item in external.get("server_ca_certificates", ())),
        servers=tuple(map(new_key_server, external.get("servers", ()))),
    )


async def _create(request: Request) -> Reply:
    query = read_write(KEY_MANAGERS, request.parameters(), "POST")
    new = new_key_manager(await request.values(KEY_MANAGERS))
    view = await request.while_connected(request.services.key_managers.create(request.call, new))
    return created(KEY_MANAGERS, request, query, [view])


async def _show(request: Request, _: Wanted) -> KeyManagerView:
    return await request.services.key_managers.get(request.call, request.path_uuid())


PATHS: Paths = {
    COLLECTION: {
        "GET": listing(KEY_MANAGERS, lambda request, page: request.services.key_managers.page(request.call, page)),
        "POST": _create,
    },
    f"{COLLECTION}/{{uuid}}": {"GET": showing(KEY_MANAGERS, _show)},
}
