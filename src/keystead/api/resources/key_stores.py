"""``/security/key-stores``: the configurations of key managers, enabled or not. Source: ONTAP REST API reference."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.codes import NEW_SERVERS
from keystead.api.collections import Collection
from keystead.api.hal import segment
from keystead.api.resource import Field, Group, Resource, always, itself
from keystead.api.resources.owner import owner_fields
from keystead.api.values import BOOLEAN, UUID, one_of, text
from keystead.core import errors
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.core.model import KeyManager
    from keystead.core.query.query import Wanted
    from keystead.service.ports.page import Page

COLLECTION = "/api/security/key-stores"
TYPES = ("okm", "kmip", "akv", "gcp", "aws", "ikp", "barbican")
STATES = ("active", "mixed", "svm_kek_rekey", "blocked", "switching", "initializing", "disabling")


def key_store_link(uuid: str) -> str:
    """Return the path of a key store."""
    return f"{COLLECTION}/{segment(uuid)}"


KEY_STORES = Resource(
    name="key_store",
    ontap="SecurityKeystore",
    help="A key manager's configuration as a key store. An owner has at most one enabled configuration.",
    declared=(
        Field(
            name="uuid",
            type=UUID,
            help="The key manager's identifier, and the configuration's.",
            get=attrgetter("uuid"),
            read=Read.KEY,
            column="uuid",
        ),
        Field(name="type", type=one_of(*TYPES), help="Always ``kmip``.", get=lambda _: "kmip"),
        Field(
            name="location", type=one_of("onboard", "external"), help="Always ``external``.", get=lambda _: "external"
        ),
        Field(
            name="enabled",
            type=BOOLEAN,
            help="Whether the configuration is in use; PATCH accepts only ``true``.",
            get=attrgetter("enabled"),
            patch=True,
            since="9.14",
            column="enabled",
        ),
        Field(
            name="state",
            type=one_of(*STATES),
            help="``active``; left out if the configuration is not enabled.",
            get=lambda key_manager: "active" if key_manager.enabled else None,
            since="9.16",
        ),
        Field(
            name="is_svm_kek",
            type=BOOLEAN,
            help="Always false: no SVM's key encryption key is kept here.",
            get=always(value=False),
            since="9.16",
        ),
        *owner_fields(attrgetter("svm")),
        Group(name="configuration", help="The same key store as a configuration.", get=itself),
        Field(
            name="configuration.name",
            type=text(255),
            help="The configuration's name.",
            get=attrgetter("configuration_name"),
            since="9.14",
            column="configuration_name",
        ),
        Field(
            name="configuration.uuid",
            type=UUID,
            help="The same as ``uuid``.",
            get=attrgetter("uuid"),
            since="9.14",
            column="uuid",
        ),
    ),
    link=lambda key_manager: key_store_link(key_manager.uuid),
    empty_patch=errors.ENABLED_MISSING,
)


async def _patch(request: Request, uuid: str, values: dict[str, Any], _: WriteQuery) -> None:
    await request.while_connected(request.services.key_stores.enable(request.call, uuid, enabled=values["enabled"]))


async def _delete(request: Request, uuid: str, _: WriteQuery) -> None:
    await request.services.key_stores.discard(request.call, uuid)


async def _page(request: Request, page: Page) -> tuple[KeyManager, ...]:
    return await request.services.key_stores.page(request.call, page)


async def _show(request: Request, _: Wanted) -> KeyManager:
    return await request.services.key_stores.get(request.call, request.path_uuid())


_CODES = {
    "PATCH": (
        *(errors.KEY_STORE_UNKNOWN, errors.KEY_STORES_RELEASE, errors.ENABLE_RELEASE, errors.ALREADY_ENABLED),
        *(errors.NO_DISABLING, errors.EXTERNAL_INCOMPLETE, errors.SERVERS_UNAVAILABLE),
        *NEW_SERVERS,
    ),
    "DELETE": (
        *(errors.KEY_STORE_UNKNOWN, errors.KEY_STORES_RELEASE, errors.KEY_STORE_RELEASE, errors.KEY_STORE_ENABLED),
    ),
}

PATHS = Collection(resource=KEY_STORES, page=_page, show=_show, patch=_patch, delete=_delete, codes=_CODES).paths(
    COLLECTION
)
