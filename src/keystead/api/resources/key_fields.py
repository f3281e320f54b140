"""The fields that all resources of keys share: a key's id and tag, its key manager, and times.

Source: ONTAP REST API reference, ``auth-keys`` and ``key-ids``.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.hal import segment
from keystead.api.resource import OURS, Field, Group
from keystead.api.values import TEXT, TIME, UUID, Parameter, Type, integer, text
from keystead.core.keys.creating import TAG_LIMIT
from keystead.core.query.query import Read
from keystead.core.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.core.keys.model import Key

CONFIRM_COUNT = {
    "confirm_count": Parameter(
        integer(0, 2**31 - 1),
        "The number of keys to delete. Needed to delete more than ten at once while ``key_recovery_days`` is 0.",
    )
}
"""The parameter of a DELETE of several keys."""

KEY_MANAGERS = "/api/security/key-managers"
ONE_KEY_MANAGER = f"{KEY_MANAGERS}/{{uuid}}"
_KEY_ID = re.compile(r"[0-9a-f]{80}", re.IGNORECASE | re.ASCII)


def _key_id(value: Any) -> str:
    if not _KEY_ID.fullmatch(str(TEXT.parse(value))):
        raise ValueError("not a key id")
    return str(value).lower()


KEY_ID = Type(
    "<key id of 80 hexadecimal digits>",
    _key_id,
    textual=True,
    caseless=True,
    schema={"type": "string", "pattern": "^[0-9A-Fa-f]{80}$"},
)


def _base64(value: Any) -> Secret:
    """Return the bytes of a base64 text. Accept only the canonical encoding, because decoders accept more texts."""
    given = str(TEXT.parse(value))
    try:
        decoded = base64.b64decode(given, validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
    if base64.b64encode(decoded).decode() != given:
        raise ValueError("not base64 as it is written")
    return Secret(decoded)


BASE64 = Type("<secret bytes as base64>", _base64, schema={"type": "string", "contentEncoding": "base64"})
"""The type of key material in a body. An error never repeats a text that is not base64."""


KEY_TAG = replace(text(TAG_LIMIT), parse=TEXT.parse)
"""The type of a key's tag. It does not limit the length, because a long tag has an error code of its own."""


def key_manager_path(uuid: str) -> str:
    """Return the path of a key manager."""
    return f"{KEY_MANAGERS}/{segment(uuid)}"


def key_id_field(key_of: Callable[[Any], Key]) -> Field:
    """Return the field ``key_id``, which identifies a key."""
    return Field(
        name="key_id",
        type=KEY_ID,
        help="The key's id, in ONTAP's form: 80 hexadecimal digits, which say nothing about the material.",
        get=lambda view: key_of(view).key_id,
        read=Read.KEY,
        column="key_id",
        since="9.11",
    )


def key_tag_field(key_of: Callable[[Any], Key], *, post: bool = False) -> Field:
    """Return the field ``key_tag``, a word that the user gives."""
    return Field(
        name="key_tag",
        type=KEY_TAG,
        help=f"A word of at most {TAG_LIMIT} printable characters without blanks, else 65536056; left out if there is"
        " none.",
        get=lambda view: key_of(view).key_tag or None,
        post=post,
        column="key_tag",
        since="9.11",
    )


def key_manager_fields(uuid_of: Callable[[Any], str]) -> tuple[Group, Field]:
    """Return the fields of ``security_key_manager``, the key manager of a key."""
    group = "security_key_manager"
    return (
        Group(name=group, help="The key manager.", get=uuid_of, link=key_manager_path),
        Field(
            name=f"{group}.uuid",
            type=UUID,
            help="The key manager's identifier, as in the path.",
            get=str,
            read=Read.KEY,
            since="9.12",
        ),
    )


def time_field(name: str, help_: str, get: str, **options: Any) -> Field:
    """Return a field with a time of the model, which may be None. ``get`` is the attribute's dotted name."""
    read = attrgetter(get)
    return Field(name=name, type=TIME, help=help_, get=lambda view: shown(read(view)), since=OURS, **options)


def shown(time: datetime | None) -> str | None:
    """Return a time in the form of answers, or None for None."""
    return None if time is None else time.isoformat()


async def check_count(request: Request, query: WriteQuery, count: int) -> None:
    """Refuse to delete many keys at once, if they could not be recovered and the call does not say how many."""
    await request.services.key_retirement.check_count(count, query.own.get("confirm_count"))
