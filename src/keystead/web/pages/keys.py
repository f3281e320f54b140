"""``/keys``: all keys that the account sees; one key with its copies, and the forms that delete and recover it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from keystead.core.errors import OntapError
from keystead.core.keys.model import KeyState, KeyType
from keystead.web.declaration import Page
from keystead.web.keys import (
    KEYS,
    STATES,
    TYPES,
    copies,
    deletion,
    filter_values,
    key_filter,
    key_path,
    next_page,
    place,
    receipts,
    row,
    waiting_for,
)
from keystead.web.refusing import refusal
from keystead.web.rendering import page, redirect
from keystead.web.shell import shell
from keystead.web.ways import command, ways

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from keystead.core.keys.model import Key
    from keystead.service.keys.listing import ShownKey
    from keystead.web.request import PageRequest
    from keystead.web.ways import Ways

PAGE_SIZE: Final = 50

_MANAGERS: Final = "/api/security/key-managers"
_ANY_KEYS: Final = f"{_MANAGERS}/-/volume-keys"
_ANY_KEY: Final = f"{_MANAGERS}/-/volume-keys/-"
_COLLECTIONS: Final = {KeyType.VEK: "volume-keys", KeyType.NSE_AK: "auth-keys"}
_KEY_COMMANDS: Final = ("security", "key-manager", "key")


async def keys(request: PageRequest) -> Response:
    """Show a page of the keys."""
    asked = request.http.query_params
    volume_keys_only = not request.may("GET", f"{_MANAGERS}/-/auth-keys")
    wanted = replace(key_filter(asked), volume_keys_only=volume_keys_only)
    after = place(asked.get("after", ""))
    found = await request.services.key_lists.page(request.call, wanted, after, PAGE_SIZE)
    now = datetime.now(UTC)
    context = {
        "rows": [row(each, now, destroys=found.destroys) for each in found.keys],
        "next": next_page(wanted, found.keys[-1]) if found.more else "",
        "is_first": after is None,
        "wanted": filter_values(wanted),
        "managers": found.key_managers,
        "states": STATES,
        "can_create": request.may("POST", _ANY_KEYS) and any(each.of.enabled for each in found.key_managers),
    }
    return page("keys.html", await shell(request, KEYS) | context)


async def key(request: PageRequest) -> Response:
    """Show one key."""
    return await _one(request)


async def delete(request: PageRequest) -> Response:
    """Delete the key, and show until when it can be recovered."""
    return await _done(request, "DELETE")


async def recover(request: PageRequest) -> Response:
    """Recover the deleted key."""
    return await _done(request, "PATCH")


async def _done(request: PageRequest, method: str) -> Response:
    """Retire or recover the key, then show it, with what other nodes did not confirm; or show why not."""
    services, call = request.services, request.call
    shown = await _shown(request)
    of = shown.listed.key
    request.require(method, _path(of))
    try:
        if of.key_type is KeyType.NSE_AK:
            await services.keys.check_clusters(call, of.key_manager)
        act = services.key_retirement.retire if method == "DELETE" else services.key_retirement.recover
        await act(call, of.key_manager, of.key_id)
    except OntapError as error:
        return await _one(request, error)
    if call.warnings:
        return await _one(request, warnings=call.warnings)
    return redirect(key_path(of.key_manager, of.key_id))


async def _shown(request: PageRequest) -> ShownKey:
    return await request.services.key_lists.get(request.call, request.value("uuid"), request.value("key_id"))


async def _one(request: PageRequest, error: OntapError | None = None, warnings: Sequence[str] = ()) -> Response:
    """Show one key. ``error`` says why a form was refused, ``warnings`` what came of it."""
    shown, now = await _shown(request), datetime.now(UTC)
    of = shown.listed.key
    request.require("GET", _path(of))
    has_waiting = shown.seen and request.may("GET", f"{_MANAGERS}/{of.key_manager}/waiting")
    waiting = await request.services.waiting_work.list(request.call, of.key_manager) if has_waiting else ()
    can_delete = of.state is KeyState.COMMITTED and request.may("DELETE", _path(of))
    can_recover = shown.listed.recoverable and request.may("PATCH", _path(of))
    context = {
        "row": row(shown.listed, now, destroys=shown.destroys),
        "key": of,
        "type": TYPES[of.key_type],
        "seen": shown.seen,
        "copies": copies(shown.view, shown.listed),
        "receipts": receipts(shown.view),
        "waiting": waiting_for(waiting, of.key_id),
        "deletion": deletion(shown.recovery_days, now + timedelta(days=shown.recovery_days), destroys=shown.destroys),
        "delete_ways": _ways(request, of, "DELETE") if can_delete else [],
        "recover_ways": _ways(request, of, "PATCH") if can_recover else [],
        "warnings": warnings,
        **await refusal(request, error),
    }
    return page("key.html", await shell(request, KEYS) | context, error.kind.status if error else 200)


def _path(of: Key) -> str:
    """Return the path of the key in the API."""
    return f"{_MANAGERS}/{of.key_manager}/{_COLLECTIONS[of.key_type]}/{of.key_id}"


def _ways(request: PageRequest, of: Key, method: str) -> Ways:
    """Return the ways to delete or to recover the key."""
    deletes = method == "DELETE"
    if of.key_type is KeyType.NSE_AK:
        cli = command(*_KEY_COMMANDS, "auth", "delete" if deletes else "recover", key_id=of.key_id)
    else:
        words = (*_KEY_COMMANDS, "retire" if deletes else "recover")
        cli = command(*words, key_manager=of.key_manager, key_id=of.key_id)
    return ways(request, cli, method, _path(of), None if deletes else {"state": KeyState.COMMITTED.value})


PAGES: Final = (
    Page(KEYS, keys, needs=(("GET", _ANY_KEYS),)),
    Page(f"{KEYS}/{{uuid}}/{{key_id}}", key, needs=(("GET", _ANY_KEY),)),
    Page(
        f"{KEYS}/{{uuid}}/{{key_id}}/delete", delete, needs=(("DELETE", _ANY_KEY),), method="POST", asks_password=True
    ),
    Page(f"{KEYS}/{{uuid}}/{{key_id}}/recover", recover, needs=(("PATCH", _ANY_KEY),), method="POST"),
)
