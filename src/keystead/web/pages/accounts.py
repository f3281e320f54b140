"""``/accounts``: who may log in and what each role grants; one account: its role, password, lock and deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystead.core import errors
from keystead.core.accounts import PASSWORD, AccountChange, methods_of
from keystead.core.console_paths import ACCOUNTS
from keystead.core.errors import OntapError
from keystead.core.model import Role
from keystead.core.secret import Secret
from keystead.service.ports.page import Page as Slice
from keystead.web.accounts import (
    account_path,
    account_rows,
    method_words,
    owner_name,
    role_names,
    shown_roles,
)
from keystead.web.declaration import Page
from keystead.web.lists import AFTER, text_of
from keystead.web.refusing import refusal
from keystead.web.rendering import page, redirect
from keystead.web.shell import shell
from keystead.web.ways import command, ways

if TYPE_CHECKING:
    from starlette.responses import Response

    from keystead.service.accounts.accounts import AccountView
    from keystead.web.request import PageRequest
    from keystead.web.ways import Ways

API: Final = "/api/security/accounts"
ONE: Final = f"{API}/-/-"
ROLES: Final = "/api/security/roles"
ROWS: Final = 200
"""How many accounts a page shows."""


async def accounts(request: PageRequest) -> Response:
    """Show the accounts that the caller sees, by name, and the roles."""
    after = text_of(request.http.query_params, AFTER)
    wanted = Slice(after=(after,) if after else None, limit=ROWS + 1)
    views = await request.services.accounts.page(request.call, wanted)
    sessions = await request.services.sessions.list(request.call)
    sees_roles = request.may("GET", ROLES)
    context = {
        "rows": account_rows(views[:ROWS], sessions, request.caller.account),
        "next": views[ROWS - 1].account.name if len(views) > ROWS else "",
        "is_first": not after,
        "roles": shown_roles(await request.services.roles.page(request.call, Slice())) if sees_roles else [],
        "is_admin": request.caller.role is Role.ADMIN,
    }
    return page("accounts.html", await shell(request, ACCOUNTS) | context)


async def account(request: PageRequest) -> Response:
    """Show one account, and what may be done to it."""
    return await _account(request)


async def change_role(request: PageRequest) -> Response:
    """Give the account another role."""
    return await _change(request, AccountChange(role=request.form.get("role", "")))


async def change_password(request: PageRequest) -> Response:
    """Set the account's password. What was typed twice must be the same."""
    password, again = (Secret(request.form.get(name, "")) for name in ("password", "password_again"))
    if password != again:
        reason = "the two passwords differ"
        differ = OntapError(errors.INVALID_VALUE, target="password", field="password", reason=reason)
        return await _account(request, differ)
    return await _change(request, AccountChange(password=password))


async def lock(request: PageRequest) -> Response:
    """Lock the account, so that it cannot log in."""
    return await _change(request, AccountChange(locked=True))


async def unlock(request: PageRequest) -> Response:
    """Unlock the account."""
    return await _change(request, AccountChange(locked=False))


async def delete(request: PageRequest) -> Response:
    """Delete the account, and show the others."""
    try:
        await request.services.accounts.delete(request.call, None, request.value("name"))
    except OntapError as error:
        return await _account(request, error)
    return redirect(ACCOUNTS)


async def _change(request: PageRequest, change: AccountChange) -> Response:
    """Change the account; or show its page again, with the reason why not."""
    name = request.value("name")
    try:
        await request.services.accounts.change(request.call, None, name, change)
    except OntapError as error:
        return await _account(request, error)
    return redirect(account_path(name))


async def _account(request: PageRequest, error: OntapError | None = None) -> Response:
    """Show one account. Raises 4 (404) unless the caller sees it."""
    view = await request.services.accounts.get(request.call, None, request.value("name"))
    of, is_admin = view.account, request.caller.role is Role.ADMIN
    is_own = of.name == request.caller.account
    context = {
        "of": of,
        "owner": owner_name(view.owner),
        "methods": method_words(of),
        "is_own": is_own,
        "is_admin": is_admin,
        "sets_password": is_admin or (is_own and request.may("PATCH", ONE)),
        "has_password": PASSWORD in methods_of(of),
        "roles": role_names(await request.services.roles.page(request.call, Slice()), of.svm) if is_admin else [],
        "path": account_path(of.name),
        "ways": _ways(request, view),
        **await refusal(request, error),
    }
    return page("account.html", await shell(request, ACCOUNTS) | context, error.kind.status if error else 200)


def _ways(request: PageRequest, view: AccountView) -> dict[str, Ways]:
    """Return the ways to do what each form of the page does, by the last part of its path."""
    name, path = view.account.name, f"{API}/{view.owner.uuid}/{view.account.name}"
    calls: dict[str, tuple[str, str, dict[str, Any] | None]] = {
        "role": (_cli("modify", user_or_group_name=name, role="ROLE"), "PATCH", {"role": {"name": "ROLE"}}),
        "password": (_cli("password", user_or_group_name=name), "PATCH", {"password": "PASSWORD"}),
        "lock": (_cli("lock", username=name), "PATCH", {"locked": True}),
        "unlock": (_cli("unlock", username=name), "PATCH", {"locked": False}),
        "delete": (_cli("delete", user_or_group_name=name), "DELETE", None),
    }
    return {each: ways(request, cli, method, path, body) for each, (cli, method, body) in calls.items()}


def _cli(verb: str, **options: str) -> str:
    return command("security", "login", verb, **options)


_ONE: Final = f"{ACCOUNTS}/{{name}}"

PAGES: Final = (
    Page(ACCOUNTS, accounts, needs=(("GET", API),)),
    Page(_ONE, account, needs=(("GET", ONE),)),
    Page(f"{_ONE}/role", change_role, needs=(("PATCH", ONE),), method="POST", asks_password=True),
    Page(f"{_ONE}/password", change_password, needs=(("PATCH", ONE),), method="POST", asks_password=True),
    Page(f"{_ONE}/lock", lock, needs=(("PATCH", ONE),), method="POST", asks_password=True),
    Page(f"{_ONE}/unlock", unlock, needs=(("PATCH", ONE),), method="POST"),
    Page(f"{_ONE}/delete", delete, needs=(("DELETE", ONE),), method="POST", asks_password=True),
)
