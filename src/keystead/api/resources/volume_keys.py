"""``/security/key-managers/{uuid}/volume-keys``: the keys of volumes, with their copies on key servers.

The path is not ONTAP's, because ONTAP creates such keys together with a volume. A body may bring key material in. Only
retrievals.py returns material.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.codes import NEW_KEY, ONE_OWNER
from keystead.api.collections import Collection
from keystead.api.hal import segment
from keystead.api.resource import OURS, Field, Group, Resource, always
from keystead.api.resources.key_fields import (
    BASE64,
    CONFIRM_COUNT,
    KEY_ID,
    ONE_KEY_MANAGER,
    check_count,
    key_id_field,
    key_manager_fields,
    key_manager_path,
    key_tag_field,
    shown,
    time_field,
)
from keystead.api.resources.owner import owner_fields
from keystead.api.values import BOOLEAN, TEXT, TIME, integer, name, one_of
from keystead.core import errors
from keystead.core.keys.creating import NAME_LIMIT, NewKey
from keystead.core.keys.destroying import PurgeWait
from keystead.core.keys.model import KeyState, KeyType, Presence
from keystead.core.query.query import Read
from keystead.service.keys.catalogue import NOT_ABORTED, KeyView

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.api.hal import Reply
    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.api.values import Type
    from keystead.core.model import Svm
    from keystead.core.query.query import Wanted
    from keystead.service.ports.page import Page

COLLECTION = f"{ONE_KEY_MANAGER}/volume-keys"
ENCRYPTION = "XTS-AES-256"
_NUMBER = integer(0, 2**31 - 1)
_key = attrgetter("key")


def volume_key_link(view: KeyView) -> str:
    """Return the path of a volume key."""
    return f"{key_manager_path(view.key.key_manager)}/volume-keys/{segment(view.key.key_id)}"


def _costly_field(group: str, name_: str, type_: Type, help_: str, get: Callable[[Any], Any], **options: Any) -> Field:
    """Return a field of a copy or receipt, which is shown only on request."""
    return Field(name=f"{group}.{name_}", type=type_, help=help_, get=get, read=Read.EXPENSIVE, since=OURS, **options)


def _place_fields(group: str) -> tuple[Field, ...]:
    """Return the fields that say where a copy is or was."""
    return (
        _costly_field(
            group,
            "server",
            TEXT,
            "The primary; left out once the server is forgotten.",
            lambda each: each.server or None,
        ),
        _costly_field(
            group,
            "detached",
            BOOLEAN,
            "True for a removed server; left out for a configured server.",
            lambda each: each.detached or None,
        ),
        _costly_field(
            group,
            "host",
            TEXT,
            "The secondary that was used to reach the copy; left out for the primary itself.",
            lambda each: each.of.host or None,
        ),
        _costly_field(
            group, "attempt", _NUMBER, "The number of the attempt that wrote the copy.", attrgetter("of.attempt")
        ),
    )


VOLUME_KEYS = Resource(
    name="volume_key",
    help="A volume key, and its copies on the key servers. Not ONTAP's: ONTAP creates such a key together with a"
    " volume. A key is committed once enough replication domains hold proven copies. Then the role ``key-reader`` can"
    " read it. ``DELETE`` retires the key: it cannot be read any more, and it is destroyed after ``purge_time``. Until"
    ' then ``PATCH`` with ``{"state": "committed"}`` recovers it. ``warnings`` in the answer to DELETE name the nodes'
    " that did not confirm it, and until when they may serve the key without the database. An account of an SVM sees"
    " only the SVM's own keys, also in the cluster's key manager, but it sees no key servers there.",
    declared=(
        key_id_field(_key),
        Field(
            name="name",
            type=name(NAME_LIMIT),
            help="The key's name, unique among the key manager's keys that are not destroyed. Everyone who may create"
            " keys there can find out that a name is taken, even by another SVM's key. So put no secret into a name.",
            get=attrgetter("key.name"),
            post=True,
            required=True,
            column="name",
            since=OURS,
        ),
        key_tag_field(_key, post=True),
        *owner_fields(attrgetter("key.svm")),
        *key_manager_fields(attrgetter("key.key_manager")),
        Field(
            name="encryption_algorithm",
            type=one_of(ENCRYPTION),
            help="The key's algorithm. The key always consists of two AES-256 keys.",
            get=always(ENCRYPTION),
            since=OURS,
        ),
        Field(
            name="material",
            type=BASE64,
            help="The key material to store instead of random bytes: 64 bytes, the halves different. Never shown.",
            read=Read.NEVER,
            post=True,
            secret=True,
            since=OURS,
        ),
        Field(
            name="state",
            type=one_of(*NOT_ABORTED),
            help="``pending`` during the creation, ``committed`` after it, ``retired`` during the recovery window,"
            " ``purging`` while copies are destroyed, then ``purged``. For a retired key PATCH accepts ``committed``.",
            get=attrgetter("key.state.value"),
            patch=True,
            given=one_of(KeyState.COMMITTED),
            column="state",
            since=OURS,
        ),
        time_field("create_time", "The time when its creation began.", "key.created", column="created"),
        time_field("commit_time", "The time when it was acknowledged.", "key.committed", column="committed"),
        time_field("retire_time", "The time when it was retired.", "key.retired", column="retired"),
        time_field(
            "purge_time",
            "The end of the recovery window. Then the purge begins, unless ``purge_waits_for`` is shown.",
            "key.purge_after",
            column="purge_after",
        ),
        Field(
            name="purge_waits_for",
            type=one_of(*PurgeWait),
            help="What an operator must do before a retired key is destroyed. ``release``: release destruction, which"
            " is held in this incarnation. ``retirement``: retire the key again, because an earlier incarnation of the"
            " database retired it. Left out for other keys.",
            get=lambda view: view.purge_waits_for and view.purge_waits_for.value,
            since=OURS,
        ),
        Group(
            name="copies",
            help="The copies, one per key server and attempt; left out if there are none.",
            get=lambda view: view.copies or None,
            many=True,
        ),
        *_place_fields("copies"),
        _costly_field(
            "copies",
            "presence",
            one_of(*Presence),
            "``present``: read back and proven. ``missing``: not found on the server, never sent there, or refused."
            " ``sent``: no answer yet. ``unknown``: the server gave no clear answer."
            " ``different``: not the key's bytes.",
            attrgetter("of.presence.value"),
        ),
        _costly_field(
            "copies",
            "object_state",
            TEXT,
            "The object's KMIP State when last read.",
            lambda e: e.of.object_state or None,
        ),
        _costly_field(
            "copies",
            "unique_identifiers",
            TEXT,
            "The identifiers of the objects on the server: one, or two halves.",
            lambda each: list(each.of.unique_identifiers) or None,
            many=True,
        ),
        _costly_field("copies", "written", TIME, "The time of the write.", lambda each: shown(each.of.written)),
        _costly_field(
            "copies",
            "proven",
            TIME,
            "The time when the copy was last read and compared.",
            lambda each: shown(each.of.proven),
        ),
        Group(
            name="receipts",
            help="What was done to the key's objects.",
            get=lambda view: view.receipts or None,
            many=True,
        ),
        *_place_fields("receipts"),
        _costly_field("receipts", "unique_identifier", TEXT, "The object.", attrgetter("of.unique_identifier")),
        _costly_field(
            "receipts",
            "action",
            TEXT,
            "``revoked``, ``destroyed``, or ``absent`` if it was already gone. ``left`` if it was adopted and so is"
            " never destroyed. ``abandoned`` if its key server was given up. ``not_written`` if its key server refused"
            " it, or it was not sent.",
            attrgetter("of.action"),
        ),
        _costly_field("receipts", "time", TIME, "The time of the action.", lambda each: shown(each.of.time)),
    ),
    link=volume_key_link,
    key="key_id",
    order=("key_id", KEY_ID, attrgetter("key.key_id")),
)


async def _page(request: Request, page: Page) -> tuple[KeyView, ...]:
    return await request.services.keys.page(request.call, request.path_uuid(), page, KeyType.VEK)


async def _show(request: Request, wanted: Wanted) -> KeyView:
    uuid, key_id = request.path_uuid(), request.key(VOLUME_KEYS)
    return await request.services.keys.get(request.call, uuid, key_id, KeyType.VEK, wanted)


async def _owner(request: Request) -> Svm | None:
    return await request.services.keys.owner(request.call, request.path_uuid())


async def _create(request: Request, values: dict[str, Any], _: WriteQuery) -> KeyView:
    svm = values.pop("svm", None)
    if svm is not None:
        svm = await request.services.svms.named(request.call, svm.get("uuid"), svm.get("name"))
    new = NewKey(svm=svm, **values)
    return KeyView(await request.services.key_writer.create(request.call, request.path_uuid(), new))


async def _recover(request: Request, key_id: str, _: dict[str, Any], __: WriteQuery) -> Reply | None:
    uuid = request.path_uuid()
    await request.services.keys.check_volume_key(request.call, uuid, key_id)
    await request.services.key_retirement.recover(request.call, uuid, key_id)
    return None


async def _retire(request: Request, key_id: str, _: WriteQuery) -> Reply | None:
    uuid = request.path_uuid()
    await request.services.keys.check_volume_key(request.call, uuid, key_id)
    await request.services.key_retirement.retire(request.call, uuid, key_id)
    return None


_CODES = {"POST": (*NEW_KEY, errors.KEY_LENGTH, errors.DUPLICATE_ENTRY, *ONE_OWNER)}

PATHS = Collection(
    resource=VOLUME_KEYS,
    page=_page,
    show=_show,
    create=_create,
    patch=_recover,
    delete=_retire,
    owner=_owner,
    before_delete=check_count,
    own={"DELETE": CONFIRM_COUNT},
    codes=_CODES,
).paths(COLLECTION)
