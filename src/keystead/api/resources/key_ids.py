"""``/security/key-managers/{uuid}/keys/{node_uuid}/key-ids``: the existing keys from the view of one node.

Source: ONTAP REST API reference (9.11), with its fields and their filters.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.collections import Collection
from keystead.api.hal import segment
from keystead.api.resource import Field, Group, Resource, always
from keystead.api.resources.cluster import node_link
from keystead.api.resources.key_fields import (
    KEY_ID,
    ONE_KEY_MANAGER,
    key_id_field,
    key_manager_fields,
    key_manager_path,
    key_tag_field,
)
from keystead.api.resources.key_stores import TYPES
from keystead.api.resources.owner import scope_field, svm_shown
from keystead.api.resources.volume_keys import ENCRYPTION
from keystead.api.values import BOOLEAN, SERVER, TEXT, UUID, one_of
from keystead.core import errors
from keystead.core.keys.model import KeyType
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.api.request import Request
    from keystead.api.values import Type
    from keystead.core.query.query import Wanted
    from keystead.service.keys.catalogue import NodeKeyView
    from keystead.service.ports.page import Page

COLLECTION = f"{ONE_KEY_MANAGER}/keys/{{node_uuid}}/key-ids"
KEY_TYPES = ("nse_ak", "aek", "vek", "nek", "svm_kek", "mroot_ak")
_key = attrgetter("id.key")
_svm = attrgetter("id.key.svm")


def key_id_link(view: NodeKeyView) -> str:
    """Return the path of a key id on its node."""
    path = f"{key_manager_path(view.key_manager.uuid)}/keys/{segment(view.node.uuid)}"
    return f"{path}/key-ids/{segment(view.id.key.key_id)}"


def _shown(name: str, type_: Type, help_: str, get: Callable[[Any], Any], **options: Any) -> Field:
    return Field(name=name, type=type_, help=help_, get=get, since="9.11", **options)


KEY_IDS = Resource(
    name="key_id",
    ontap="KeyManagerKeys",
    help="An existing key of any type, from the view of one node.",
    declared=(
        key_id_field(_key),
        _shown(
            "key_server",
            SERVER,
            "The first primary that holds a proven copy; left out for accounts that do not see key servers.",
            lambda view: view.id.server or None,
            read=Read.KEY,
        ),
        _shown("key_manager", TEXT, "The configuration's name.", attrgetter("key_manager.configuration_name")),
        _shown("key_store", one_of("onboard", "external"), "Always ``external``.", always("external")),
        _shown("key_store_type", one_of(*TYPES), "Always ``kmip``.", always("kmip")),
        key_tag_field(_key),
        _shown(
            "key_type",
            one_of(*KEY_TYPES),
            "``vek``: a volume key; ``nse_ak``: an authentication key.",
            attrgetter("id.key.key_type.value"),
            column="key_type",
        ),
        _shown(
            "key_user",
            TEXT,
            "The SVM's name; left out for the cluster's keys.",
            lambda view: _svm(view) and _svm(view).name,
            column="svm_name",
        ),
        _shown(
            "encryption_algorithm",
            one_of(ENCRYPTION),
            "The algorithm of a volume key.",
            lambda view: ENCRYPTION if _key(view).key_type is KeyType.VEK else None,
        ),
        _shown(
            "restored",
            BOOLEAN,
            "Whether the node can read the key: from its memory, or from a server that it reaches.",
            attrgetter("id.restored"),
        ),
        _shown(
            "policy",
            TEXT,
            "The key manager's policy; left out if there is none.",
            lambda view: view.key_manager.policy or None,
        ),
        Group(name="node", help="The node.", get=attrgetter("node"), link=node_link),
        Field(name="node.uuid", type=UUID, help="The node's identifier.", get=attrgetter("uuid"), since="9.11"),
        Field(name="node.name", type=TEXT, help="The node's name.", get=attrgetter("name"), since="9.11"),
        *key_manager_fields(attrgetter("key_manager.uuid")),
        scope_field(_svm),
        *svm_shown(_svm, "The SVM; absent for the cluster's keys."),
    ),
    link=key_id_link,
    key="key_id",
    order=("key_id", KEY_ID, attrgetter("id.key.key_id")),
)


async def _page(request: Request, page: Page) -> tuple[NodeKeyView, ...]:
    uuid, node = request.path_uuid(), request.path_uuid("node_uuid")
    return await request.services.keys.node_keys(request.call, uuid, node, page)


async def _show(request: Request, _: Wanted) -> NodeKeyView:
    uuid, node = request.path_uuid(), request.path_uuid("node_uuid")
    return await request.services.keys.node_key(request.call, uuid, node, request.key(KEY_IDS))


PATHS = Collection(resource=KEY_IDS, page=_page, show=_show, codes={"GET": (errors.NOT_A_KEY_MANAGER,)}).paths(
    COLLECTION
)
