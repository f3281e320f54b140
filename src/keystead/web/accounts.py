"""What the pages of accounts show: who may log in, how, with which role, and what each role grants. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from keystead.core.accounts import CERTIFICATE, PASSWORD, NewAccount, methods_of
from keystead.core.console_paths import ACCOUNTS
from keystead.core.model import Svm
from keystead.core.secret import Secret
from keystead.web.lists import invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from keystead.core.model import Account, Cluster
    from keystead.core.sessions import Session
    from keystead.service.accounts.accounts import AccountView
    from keystead.service.accounts.roles import RoleView

COMMENT_LIMIT: Final = 128
"""Most characters of an account's purpose."""

METHODS: Final = {PASSWORD: "password", CERTIFICATE: "client certificate"}
"""The words for the authentication methods."""


@dataclass(frozen=True, slots=True)
class AccountRow:
    """An account in the list. ``used`` is the last use of the console in a session that is open, None without one."""

    account: Account
    owner: str
    path: str
    methods: str
    used: datetime | None
    is_own: bool


def account_path(name: str) -> str:
    """Return the path of an account's page. Names hold no character that a path must quote."""
    return f"{ACCOUNTS}/{name}"


def account_rows(views: Iterable[AccountView], sessions: Iterable[Session], own: str) -> list[AccountRow]:
    """Return the rows of the list, in the order of ``views``. ``own`` is the name of the account that asks."""
    used: dict[str, datetime] = {}
    for session in sessions:
        used[session.account] = max(session.used, used.get(session.account, session.used))
    return [
        AccountRow(
            view.account,
            owner_name(view.owner),
            account_path(view.account.name),
            method_words(view.account),
            used.get(view.account.name),
            view.account.name == own,
        )
        for view in views
    ]


def owner_name(owner: Svm | Cluster) -> str:
    """Return the name of the SVM, or ``the cluster``."""
    return owner.name if isinstance(owner, Svm) else "the cluster"


def method_words(account: Account) -> str:
    """Return how an account logs in, in words."""
    return " or ".join(words for method, words in METHODS.items() if method in methods_of(account))


def role_names(views: Iterable[RoleView], svm: Svm | None) -> list[str]:
    """Return the names of the roles that an account of this SVM, or of the cluster (None), may have."""
    return [view.role.value for view in views if (view.owner if isinstance(view.owner, Svm) else None) == svm]


def all_role_names(views: Iterable[RoleView]) -> list[str]:
    """Return the names of the roles of all owners, each once, in the order of ``views``."""
    return list(dict.fromkeys(view.role.value for view in views))


def shown_roles(views: Sequence[RoleView]) -> list[tuple[str, str, RoleView]]:
    """Return each role with its name and its owners' words. A built-in role of SVMs stands once, for all of them."""
    found: dict[str, tuple[str, str, RoleView]] = {}
    for view in views:
        of_svm = isinstance(view.owner, Svm)
        owner = "every SVM" if of_svm and view.builtin else owner_name(view.owner)
        found.setdefault(f"{owner}/{view.role.value}", (view.role.value, owner, view))
    return list(found.values())


def new_account(typed: Mapping[str, str]) -> NewAccount:
    """Return the account that was typed into the form. An empty password is none.

    Raises 262185 for a method or a purpose that cannot be stored. The use case checks the rest.
    """
    methods, comment = frozenset(typed.get("method", "").split()), typed.get("comment", "").strip()
    if not methods <= METHODS.keys():
        raise invalid("method", "there is no such method")
    if len(comment) > COMMENT_LIMIT or not comment.isprintable():
        raise invalid("comment", f"at most {COMMENT_LIMIT} printable characters are allowed")
    return NewAccount(
        name=typed.get("name", "").strip(),
        methods=methods,
        owner_name=typed.get("svm", "").strip() or None,
        role=typed.get("role") or None,
        password=Secret(typed["password"]) if typed.get("password") else None,
        comment=comment,
    )
