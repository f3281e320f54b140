"""``/security/key-managers/{uuid}/volume-keys``: the keys of volumes, with their copies on key servers.

The path is ours: ONTAP makes such keys when it creates a volume. Material may come in here; it leaves elsewhere
(retrievals.py).
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
    KEY_ID,
    ONE_KEY_MANAGER,
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
from keystead.core.keys.model import KeyState, KeyType, Presence
from keystead.core.query.query import Read
from keystead.service.keys.catalogue import SHOWN, KeyView

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.api.hal import Reply
    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.api.values import Type
    from keystead.core.model import Svm
    from keystead.core.query.query import Wanted
    from keystead.service.ports.store import Page

COLLECTION = f"{ONE_KEY_MANAGER}/volume-keys"
ENCRYPTION = "XTS-AES-256"
_NUMBER = integer(0, 2**31 - 1)
_key = attrgetter("key")


def volume_key_link(view: KeyView) -> str:
    """The path of a volume's key."""
    return f"{key_manager_path(view.key.key_manager)}/volume-keys/{segment(view.key.key_id)}"


def _about(group: str, name_: str, type_: Type, help_: str, get: Callable[[Any], Any], **options: Any) -> Field:
    """A field of a copy or receipt, which is shown only when it is asked for."""
    return Field(name=f"{group}.{name_}", type=type_, help=help_, get=get, read=Read.EXPENSIVE, since=OURS, **options)


def _place_fields(group: str) -> tuple[Field, ...]:
    """Where a copy is, or was."""
    return (
        _about(group, "server", TEXT, "The primary; left out once it is forgotten.", lambda each: each.server or None),
        _about(
            group,
            "detached",
            BOOLEAN,
            "True for a server that was removed; left out for those that are configured.",
            lambda each: each.detached or None,
        ),
        _about(
            group,
            "host",
            TEXT,
            "The secondary through which it was reached; left out for the primary itself.",
            lambda each: each.of.host or None,
        ),
        _about(group, "attempt", _NUMBER, "The number of the attempt that wrote it.", attrgetter("of.attempt")),
    )


VOLUME_KEYS = Resource(
    name="volume_key",
    help="A volume's key, and its copies on the key servers. Not ONTAP's: there, creating a volume makes such a key. A"
    " key is there once enough replication domains hold proven copies; it is then readable by the role ``key-reader``."
    " ``DELETE`` retires it: it cannot be read any more, and is destroyed when ``purge_time`` has come; until then"
    ' ``PATCH`` with ``{"state": "committed"}`` recovers it. An account of an SVM works here with the SVM\'s own keys,'
    " in the cluster's key manager too; it sees no key servers there.",
    declared=(
        key_id_field(_key),
        Field(
            name="name",
            type=name(NAME_LIMIT),
            help="The key's name: of a key manager's keys that are not destroyed, one has it. So whoever may create"
            " keys there learns that a name is taken, by another SVM's key too: no secret belongs in one.",
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
            help="What the key is for: always two AES-256 keys.",
            get=always(ENCRYPTION),
            since=OURS,
        ),
        Field(
            name="material",
            type=BASE64,
            help="The key itself, 64 bytes whose halves differ, to be kept instead of a random one; never shown here.",
            read=Read.NEVER,
            post=True,
            secret=True,
            since=OURS,
        ),
        Field(
            name="state",
            type=one_of(*SHOWN),
            help="``pending`` while it is created, ``committed`` when it is there, ``retired`` until its undo ends,"
            " ``purging`` while its copies are destroyed, then ``purged``. A retired key takes ``committed``.",
            get=attrgetter("key.state.value"),
            patch=True,
            given=one_of(KeyState.COMMITTED),
            column="state",
            since=OURS,
        ),
        time_field("create_time", "When its creation began.", "key.created", column="created"),
        time_field("commit_time", "When it was acknowledged.", "key.committed", column="committed"),
        time_field("retire_time", "When it was deleted.", "key.retired", column="retired"),
        time_field(
            "purge_time",
            "When its end begins: until then it can be recovered. Not by itself after a restore.",
            "key.purge_after",
            column="purge_after",
        ),
        Group(
            name="copies",
            help="Its copies, one per key server and attempt; left out when there are none.",
            get=lambda view: view.copies or None,
            many=True,
        ),
        *_place_fields("copies"),
        _about(
            "copies",
            "presence",
            one_of(*Presence),
            "``present``: read back and proven; ``missing``: looked for and not there, or never sent there; ``sent``:"
            " no answer came yet; ``unknown``: the server did not say; ``different``: not the key's bytes.",
            attrgetter("of.presence.value"),
        ),
        _about(
            "copies",
            "object_state",
            TEXT,
            "The object's KMIP State, as last seen.",
            lambda e: e.of.object_state or None,
        ),
        _about(
            "copies",
            "unique_identifiers",
            TEXT,
            "The objects on the server: one, or two halves.",
            lambda each: list(each.of.unique_identifiers) or None,
            many=True,
        ),
        _about("copies", "written", TIME, "When it was written.", lambda each: shown(each.of.written)),
        _about("copies", "proven", TIME, "When it was last read and compared.", lambda each: shown(each.of.proven)),
        Group(
            name="receipts",
            help="What was done to its objects when it ended.",
            get=lambda view: view.receipts or None,
            many=True,
        ),
        *_place_fields("receipts"),
        _about("receipts", "unique_identifier", TEXT, "The object.", attrgetter("of.unique_identifier")),
        _about(
            "receipts",
            "action",
            TEXT,
            "``revoked``, ``destroyed``, or ``absent`` when it was not there any more; ``left`` when it was"
            " adopted, and so is never destroyed; ``abandoned`` when its key server was given up.",
            attrgetter("of.action"),
        ),
        _about("receipts", "time", TIME, "When.", lambda each: shown(each.of.time)),
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
    await request.services.key_ending.recover(request.call, uuid, key_id)
    return None


async def _retire(request: Request, key_id: str, _: WriteQuery) -> Reply | None:
    uuid = request.path_uuid()
    await request.services.keys.check_volume_key(request.call, uuid, key_id)
    await request.services.key_ending.retire(request.call, uuid, key_id)
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
    codes=_CODES,
).paths(COLLECTION)
