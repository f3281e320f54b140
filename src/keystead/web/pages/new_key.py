"""``/keys/create``: create a key with random material. No form takes material, and no page shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.creating import NAME_LIMIT, TAG_LIMIT, NewKey
from keystead.core.keys.model import KeyType
from keystead.web.declaration import Page
from keystead.web.keys import KEYS, TYPES, key_path
from keystead.web.refusing import refusal
from keystead.web.rendering import page, redirect
from keystead.web.shell import shell
from keystead.web.ways import command, ways

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

    from keystead.core.keys.model import Key
    from keystead.web.request import PageRequest
    from keystead.web.ways import Ways

PATH: Final = f"{KEYS}/create"
FIELDS: Final = ("key_manager", "type", "name", "key_tag", "svm")

_MANAGERS: Final = "/api/security/key-managers"
_NEED: Final = ("POST", f"{_MANAGERS}/-/volume-keys")


async def form(request: PageRequest) -> Response:
    """Show the form."""
    return await _form(request, {"type": KeyType.VEK.value})


async def create(request: PageRequest) -> Response:
    """Create the key, and show it; or show the form again, with the reason."""
    try:
        made = await _create(request, _typed(request))
    except OntapError as error:
        return await _form(request, _typed(request), error)
    return redirect(key_path(made.key_manager, made.key_id))


async def _create(request: PageRequest, typed: Mapping[str, str]) -> Key:
    """Create the key that was typed in. Raises OntapError."""
    call, services = request.call, request.services
    key_manager, key_type = typed["key_manager"], _key_type(typed["type"])
    if not key_manager:
        raise OntapError(errors.MISSING_VALUE, target="key_manager", field="key_manager")
    if key_type is KeyType.NSE_AK:
        request.require("POST", f"{_MANAGERS}/{key_manager}/auth-keys")
        await services.keys.check_clusters(call, key_manager)
        return await services.key_writer.create(call, key_manager, NewKey("", typed["key_tag"], key_type=key_type))
    svm = await services.svms.named(call, None, typed["svm"]) if typed["svm"] else None
    return await services.key_writer.create(call, key_manager, NewKey(typed["name"], typed["key_tag"], svm))


def _key_type(text: str) -> KeyType:
    try:
        return KeyType(text)
    except ValueError:
        reason = "there is no such type"
        raise OntapError(errors.INVALID_VALUE, target="type", field="type", reason=reason) from None


def _typed(request: PageRequest) -> dict[str, str]:
    """Return what was typed into the form."""
    return {name: request.form.get(name, "").strip() for name in FIELDS}


async def _form(request: PageRequest, typed: Mapping[str, str], error: OntapError | None = None) -> Response:
    managers = await request.services.key_lists.key_managers(request.call)
    context = {
        "managers": managers,
        "typed": {name: typed.get(name, "") for name in FIELDS},
        "types": TYPES,
        "name_limit": NAME_LIMIT,
        "tag_limit": TAG_LIMIT,
        "has_clusters": any(each.of.svm is None for each in managers) and request.caller.svm is None,
        "ways": _ways(request, typed),
        **await refusal(request, error),
    }
    return page("new_key.html", await shell(request, KEYS) | context, error.kind.status if error else 200)


def _ways(request: PageRequest, typed: Mapping[str, str]) -> Ways:
    """Return the ways to create what was typed, or an example."""
    body = {"name": typed.get("name") or "vol1"} | {n: typed[n] for n in ("key_tag",) if typed.get(n)}
    svm = typed.get("svm", "")
    words = ("security", "key-manager", "key", "create")
    uuid = typed.get("key_manager") or "UUID"
    cli = command(*words, vserver=svm, name=body["name"], key_tag=body.get("key_tag"), key_manager=uuid)
    full = {**body, "svm": {"name": svm}} if svm else body
    return ways(request, cli, "POST", f"{_MANAGERS}/{uuid}/volume-keys", full)


PAGES: Final = (Page(PATH, form, needs=(_NEED,)), Page(PATH, create, needs=(_NEED,), method="POST"))
