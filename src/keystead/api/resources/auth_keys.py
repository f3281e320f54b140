"""``/security/key-managers/{uuid}/auth-keys``: authentication keys of self-encrypting drives.

They belong to the cluster. Source: ONTAP REST API reference (9.12). ``DELETE`` retires such a key, as for a volume key.
``PATCH`` recovers it; that method is not ONTAP's.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.codes import NEW_KEY
from keystead.api.collections import Collection
from keystead.api.hal import segment
from keystead.api.resource import OURS, Field, Resource
from keystead.api.resources.key_fields import (
    CONFIRM_COUNT,
    KEY_ID,
    ONE_KEY_MANAGER,
    check_count,
    key_id_field,
    key_manager_fields,
    key_manager_path,
    key_tag_field,
)
from keystead.api.values import SECRET, one_of
from keystead.core import errors
from keystead.core.keys.creating import NewKey
from keystead.core.keys.model import KeyState, KeyType
from keystead.core.query.query import Read
from keystead.service.keys.catalogue import COMMITTED_ONLY, KeyView

if TYPE_CHECKING:
    from keystead.api.hal import Reply
    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.core.query.query import Wanted
    from keystead.service.ports.page import Page

COLLECTION = f"{ONE_KEY_MANAGER}/auth-keys"
_key = attrgetter("key")


def auth_key_link(view: KeyView) -> str:
    """Return the path of an authentication key."""
    return f"{key_manager_path(view.key.key_manager)}/auth-keys/{segment(view.key.key_id)}"


AUTH_KEYS = Resource(
    name="auth_key",
    ontap="KeyManagerAuthKey",
    help="An authentication key of self-encrypting drives, in the cluster's key manager: 32 random bytes, or a"
    " passphrase. There can be at most 128. ``DELETE`` retires the key: lists leave it out, and its objects are"
    ' destroyed after the recovery window. Until then ``PATCH`` of its path with ``{"state": "committed"}`` recovers'
    " it. This ``PATCH`` is not ONTAP's.",
    declared=(
        key_id_field(_key),
        key_tag_field(_key, post=True),
        *key_manager_fields(attrgetter("key.key_manager")),
        Field(
            name="passphrase",
            type=SECRET,
            help="20 to 32 visible ASCII characters or blanks, used as the key instead of random bytes; never shown.",
            read=Read.NEVER,
            post=True,
            secret=True,
            since="9.12",
        ),
        Field(
            name="state",
            type=one_of(KeyState.COMMITTED),
            help="``committed`` recovers a deleted key. Never shown, because lists hold only committed keys.",
            read=Read.NEVER,
            patch=True,
            since=OURS,
        ),
    ),
    link=auth_key_link,
    key="key_id",
    order=("key_id", KEY_ID, attrgetter("key.key_id")),
)


async def _page(request: Request, page: Page) -> tuple[KeyView, ...]:
    await _owner(request)
    return await request.services.keys.page(request.call, request.path_uuid(), page, KeyType.NSE_AK, COMMITTED_ONLY)


async def _show(request: Request, wanted: Wanted) -> KeyView:
    await _owner(request)
    uuid, key_id = request.path_uuid(), request.key(AUTH_KEYS)
    return await request.services.keys.get(request.call, uuid, key_id, KeyType.NSE_AK, wanted, COMMITTED_ONLY)


async def _create(request: Request, values: dict[str, Any], _: WriteQuery) -> KeyView:
    new = NewKey("", values.get("key_tag", ""), key_type=KeyType.NSE_AK, material=values.get("passphrase"))
    return KeyView(await request.services.key_writer.create(request.call, request.path_uuid(), new))


async def _recover(request: Request, key_id: str, _: dict[str, Any], __: WriteQuery) -> Reply | None:
    await _owner(request)
    uuid = request.path_uuid()
    await request.services.keys.get(request.call, uuid, key_id, KeyType.NSE_AK)
    await request.services.key_retirement.recover(request.call, uuid, key_id)
    return None


async def _delete(request: Request, key_id: str, _: WriteQuery) -> Reply | None:
    await _owner(request)
    uuid = request.path_uuid()
    await request.services.keys.check_authentication_key(request.call, uuid, key_id)
    await request.services.key_retirement.retire(request.call, uuid, key_id)
    return None


async def _owner(request: Request) -> None:
    """Raise an error unless the key manager is the cluster's, because authentication keys belong to no SVM."""
    await request.services.keys.check_clusters(request.call, request.path_uuid())


_ALL = (errors.NOT_ENABLED, errors.NO_CLUSTER_KEY_MANAGER, errors.NOT_CLUSTERS_KEY_MANAGER)
_CODES = {
    "GET": _ALL,
    "PATCH": _ALL,
    "DELETE": (*_ALL, errors.NOT_AN_AUTH_KEY),
    "POST": (*_ALL, *NEW_KEY, errors.AUTH_KEY_LIMIT, errors.PASSPHRASE_LENGTH),
}

PATHS = Collection(
    resource=AUTH_KEYS,
    page=_page,
    show=_show,
    create=_create,
    patch=_recover,
    delete=_delete,
    owner=_owner,
    before_delete=check_count,
    own={"DELETE": CONFIRM_COUNT},
    codes=_CODES,
).paths(COLLECTION)
