"""The rules of accounts: names, passwords, roles, and the administrator that must remain. Pure.

Source: ONTAP pages of ``/security/accounts``. Two things differ. A name is unique in the whole cluster, because there
is one listener and Basic credentials name no SVM. The only application is ``http``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.access import CLUSTER_ROLES, SVM_ROLES
from keystead.core.errors import OntapError
from keystead.core.model import Account, Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keystead.core.model import CustomRole, Svm
    from keystead.core.secret import Secret

NAME_LENGTHS = range(3, 65)
PASSWORD_LENGTHS = range(8, 129)
RESERVED = frozenset({"autosupport", "diag"})
PASSWORD, CERTIFICATE = "password", "certificate"
"""The authentication methods."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*", re.ASCII)
_METHODS_FIELD = "applications.authentication_methods"


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account as the caller asks for it. Without an owner it is the cluster's; without a role it has the default."""

    name: str
    methods: frozenset[str]
    owner_uuid: str | None = None
    owner_name: str | None = None
    role: str | None = None
    password: Secret | None = None
    locked: bool = False
    comment: str = ""


@dataclass(frozen=True, slots=True)
class AccountChange:
    """Changes of an account; None leaves a value as it is."""

    methods: frozenset[str] | None = None
    role: str | None = None
    password: Secret | None = None
    locked: bool | None = None
    comment: str | None = None

    @property
    def only_password(self) -> bool:
        """True if only the password is changed. Every account may change its own password."""
        return self.password is not None and self == AccountChange(password=self.password)


def check_name(name: str) -> None:
    """Raise the rule that a new account's name breaks."""
    if not _NAME.fullmatch(name):
        raise OntapError(errors.NAME_CHARACTERS, target="name")
    if len(name) not in NAME_LENGTHS:
        raise OntapError(errors.NAME_LENGTH, target="name")
    if name.lower() in RESERVED:
        raise OntapError(errors.NAME_RESERVED, target="name")


def check_password(password: Secret, name: str) -> None:
    """Raise the rule that a new password breaks. ``name`` is that of the account."""
    text = password.reveal().decode(errors="replace")
    if len(text) < PASSWORD_LENGTHS.start:
        raise OntapError(errors.PASSWORD_TOO_SHORT, target=PASSWORD)
    if len(text) >= PASSWORD_LENGTHS.stop:
        raise OntapError(errors.PASSWORD_TOO_LONG, target=PASSWORD)
    folded = text.casefold()
    if name.casefold() in folded or name.casefold()[::-1] in folded:
        raise OntapError(errors.PASSWORD_HOLDS_NAME, target=PASSWORD)
    if not (any(map(str.isalpha, text)) and any(map(str.isdigit, text))):
        raise OntapError(errors.PASSWORD_TOO_SIMPLE, target=PASSWORD)


def role_named(name: str | None, svm: Svm | None, custom: Iterable[CustomRole]) -> Role | CustomRole:
    """Return the role with this name for an account of the SVM, or of the cluster (None). No name gives the default.

    ``custom`` are the owner's custom roles. Raises 1261215 for an unknown role, 7077906 for a built-in role of the
    other scope.
    """
    roles = CLUSTER_ROLES if svm is None else SVM_ROLES
    if name is None:
        return roles[0]
    if name not in set(Role):
        found = next((role for role in custom if role.name == name), None)
        if found is None:
            raise OntapError(errors.ROLE_NOT_FOUND, target="role.name")
        return found
    role = Role(name)
    if role not in roles:
        raise OntapError(errors.ROLE_OF_OTHER_SCOPE, target="role.name")
    return role


def plan_create(new: NewAccount, svm: Svm | None, password_hash: str, custom: Iterable[CustomRole] = ()) -> Account:
    """Return the account to store. ``password_hash`` is the hash of ``new.password``, empty without a password.

    ``custom`` are the custom roles of the account's owner.
    """
    check_name(new.name)
    account = Account(
        name=new.name,
        role=role_named(new.role, svm, custom),
        password_hash="",
        svm=svm,
        locked=new.locked,
        comment=new.comment,
    )
    return _with_methods(account, new.methods, new.password, password_hash)


def plan_change(
    account: Account,
    change: AccountChange,
    password_hash: str,
    others: Iterable[Account],
    custom: Iterable[CustomRole] = (),
) -> Account:
    """Return the changed account. ``others`` are the accounts that may remain to administer the cluster.

    ``custom`` are the custom roles of the account's owner.
    """
    changed = replace(
        account,
        role=account.role if change.role is None else role_named(change.role, account.svm, custom),
        locked=account.locked if change.locked is None else change.locked,
        comment=account.comment if change.comment is None else change.comment,
    )
    methods = methods_of(account) if change.methods is None else change.methods
    changed = _with_methods(changed, methods, change.password, password_hash)
    if not _administers(changed):
        check_can_go(account, others)
    return changed


def check_can_go(account: Account, others: Iterable[Account]) -> None:
    """Raise 5636098 if this account is the last one that administers the cluster."""
    if _administers(account) and not any(_administers(other) for other in others if other.name != account.name):
        raise OntapError(errors.LAST_ADMIN)


def key_reading_granted(before: Account | None, after: Account) -> str:
    """Return the words for changes by which somebody may read key material who could not before, else an empty text.

    ``before`` is None for a new account.
    """
    if after.role not in {Role.KEY_READER, Role.KMIP_CLIENT}:
        return ""
    if before is None:
        return "created"
    changes = {
        "role": before.role is not after.role,
        "password": bool(after.password_hash) and after.password_hash != before.password_hash,
        "login by certificate": after.certificate and not before.certificate,
        "unlocked": before.locked and not after.locked,
    }
    return ", ".join(name for name, changed in changes.items() if changed)


def methods_of(account: Account) -> frozenset[str]:
    """Return the methods by which an account may log in."""
    return frozenset(
        method
        for method, usable in ((PASSWORD, bool(account.password_hash)), (CERTIFICATE, account.certificate))
        if usable
    )


def _with_methods(account: Account, methods: frozenset[str], password: Secret | None, password_hash: str) -> Account:
    """Return the account with these methods. Raise if a password is given but not allowed, or needed but absent."""
    if not methods:
        raise OntapError(errors.MISSING_VALUE, target=_METHODS_FIELD, field=_METHODS_FIELD)
    if PASSWORD not in methods:
        if password is not None:
            raise OntapError(errors.FIELDS_EXCLUDE_EACH_OTHER, target=PASSWORD, field=PASSWORD, other=_METHODS_FIELD)
        return replace(account, password_hash="", certificate=True)
    if password is not None:
        check_password(password, account.name)
    if not (password_hash or account.password_hash):
        raise OntapError(errors.PASSWORD_MISSING, target=PASSWORD)
    return replace(account, password_hash=password_hash or account.password_hash, certificate=CERTIFICATE in methods)


def _administers(account: Account) -> bool:
    return account.role is Role.ADMIN and not account.locked and bool(account.password_hash)
