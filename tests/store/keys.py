"""Keys and what belongs to them for tests of the store; texts all differ, so that columns cannot be mixed up unseen."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from keystead.core.keys.model import (
    Attempt,
    AttemptState,
    Copy,
    Key,
    KeyForm,
    KeyState,
    KeyType,
    Presence,
    Purpose,
    Receipt,
    ServerProfile,
)
from tests.store.samples import NOON, SVM


def key(uuid: str = "key-1", **changes: Any) -> Key:
    """Return a pending key of the first SVM."""
    values: dict[str, Any] = {
        "key_id": f"id of {uuid}",
        "key_manager": "km-1",
        "svm": SVM,
        "name": f"name of {uuid}",
        "key_tag": "tag",
        "key_type": KeyType.VEK,
        "state": KeyState.PENDING,
        "length": 64,
        "created": NOON,
        "digest": b"\x00digest\xff",
    }
    return Key(uuid=uuid, **(values | changes))


def attempt(key_uuid: str = "key-1", number: int = 1, **changes: Any) -> Attempt:
    """Return a pending attempt that lasts a minute."""
    values: dict[str, Any] = {
        "purpose": Purpose.CREATE,
        "incarnation": "inc-1",
        "token": f"token of {key_uuid} {number}",
        "node": "node-1",
        "state": AttemptState.PENDING,
        "began": NOON,
        "expires": NOON + timedelta(minutes=1),
    }
    return Attempt(key_uuid, number, **(values | changes))


def copy(key_uuid: str = "key-1", server: str = "server-1", **changes: Any) -> Copy:
    """Return a copy that was sent in the first attempt."""
    values: dict[str, Any] = {"attempt": 1, "presence": Presence.SENT}
    return Copy(key=key_uuid, key_server=server, **(values | changes))


def receipt(key_uuid: str = "key-1", action: str = "destroyed", **changes: Any) -> Receipt:
    """Return a receipt of an object's end."""
    values: dict[str, Any] = {
        "attempt": 1,
        "key_server": "server-1",
        "host": "host",
        "unique_identifier": "uid",
        "time": NOON,
        "incarnation": "inc-1",
        "node": "node-1",
    }
    return Receipt(key=key_uuid, action=action, **(values | changes))


def profile(server: str = "server-1", **changes: Any) -> ServerProfile:
    """Return a profile of which no two fields are alike."""
    values: dict[str, Any] = {
        "form": KeyForm.SYMMETRIC_KEY_PAIR,
        "canary_name": "canary",
        "canary": ("b", "a"),
        "canary_digest": b"\x00\xff",
        "learned": NOON,
        "sees": ("other", "another"),
        "operations": (3, 1),
        "object_types": (7,),
        "version": "1.4",
        "vendor": "ACME",
        "application_information": False,
        "locate_offset": True,
        "activates": False,
    }
    return ServerProfile(key_server=server, **(values | changes))
