"""``/create-account``: create an account of the cluster or of an SVM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystead.core.accounts import CERTIFICATE, PASSWORD
from keystead.core.console_paths import ACCOUNTS
from keystead.core.errors import OntapError
from keystead.service.ports.page import Page as Slice
from keystead.web.accounts import METHODS, account_path, all_role_names, new_account
from keystead.web.declaration import Page
from keystead.web.refusing import refusal
from keystead.web.rendering import page, redirect
from keystead.web.shell import shell
from keystead.web.ways import command, ways

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

    from keystead.web.request import PageRequest
    from keystead.web.ways import Ways

PATH: Final = "/create-account"
EXAMPLE: Final = "operator"
"""The name in the ways to create an account, before one is typed."""

FIELDS: Final = ("name", "svm", "role", "method", "comment")
_API: Final = "/api/security/accounts"


async def form(request: PageRequest) -> Response:
    """Show the form."""
    return await _form(request, {"method": PASSWORD})


async def create(request: PageRequest) -> Response:
    """Create the account, and show it; or show the form again, with the reason."""
    try:
        made = await request.services.accounts.create(request.call, new_account(request.form))
    except OntapError as error:
        return await _form(request, request.form, error)
    return redirect(account_path(made.account.name))


async def _form(request: PageRequest, typed: Mapping[str, str], error: OntapError | None = None) -> Response:
    kept = {name: typed.get(name, "") for name in FIELDS}
    context = {
        "typed": kept,
        "methods": METHODS,
        "chosen": kept["method"].split(),
        "roles": all_role_names(await request.services.roles.page(request.call, Slice())),
        "path": PATH,
        "ways": _ways(request, kept),
        **await refusal(request, error),
    }
    return page("new_account.html", await shell(request, ACCOUNTS) | context, error.kind.status if error else 200)


def _ways(request: PageRequest, typed: Mapping[str, str]) -> Ways:
    """Return the ways to create what was typed. The command creates no account with two methods."""
    name, role, svm, comment = (typed[each].strip() for each in ("name", "role", "svm", "comment"))
    methods = [each for each in METHODS if each in typed["method"].split()]
    body: dict[str, Any] = {
        "name": name or EXAMPLE,
        "applications": [{"application": "http", "authentication_methods": methods}],
        **({"role": {"name": role}} if role else {}),
        **({"owner": {"name": svm}} if svm else {}),
        **({"password": "PASSWORD"} if PASSWORD in methods else {}),
        **({"comment": comment} if comment else {}),
    }
    cli = command(
        *("security", "login", "create"),
        user_or_group_name=name or EXAMPLE,
        vserver=svm,
        role=role,
        authentication_method="cert" if methods == [CERTIFICATE] else None,
        comment=comment,
    )
    return ways(request, cli, "POST", _API, body)[len(methods) > 1 :]


_NEEDS: Final = (("POST", _API), ("GET", "/api/security/roles"))

PAGES: Final = (Page(PATH, form, needs=_NEEDS), Page(PATH, create, needs=_NEEDS, method="POST", asks_password=True))
