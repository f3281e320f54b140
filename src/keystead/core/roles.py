"""The rules of custom roles: their names, their paths, and how much a maker may grant. Pure.

Source: ONTAP pages of ``/security/roles``. A privilege's path is a prefix of a path that is served. Where that has an
identifier, the privilege may have one, or ``*``. ONTAP's paths of commands are not supported.

A role never grants what its maker does not have. A role of an SVM grants no more than ``vsadmin`` has. No custom role
reads key material.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.access import PRIVILEGES, access_to, granted_beyond, lesser
from keystead.core.errors import OntapError
from keystead.core.model import Access, CustomRole, Privilege, Role

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from keystead.core.model import Svm

MOST_PRIVILEGES = 256
"""Most privileges of one role. Each request compares them all."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_PATH = re.compile(r"/api(?:/(?:\*|[A-Za-z0-9_~@:-][A-Za-z0-9._~@:-]*))*", re.ASCII)
_RESERVED = frozenset(role.value for role in Role)


@dataclass(frozen=True, slots=True)
class NewRole:
    """A role as the caller asks for it, with paths and access as they were written. Without an owner: the cluster's."""

    name: str
    privileges: tuple[tuple[str, str], ...]
    owner_uuid: str | None = None
    owner_name: str | None = None


@dataclass(frozen=True, slots=True)
class Maker:
    """Who makes or changes a role: the caller's role; and the paths that are served, with names in braces."""

    role: Role | CustomRole
    served: Collection[str]


def plan_create(new: NewRole, svm: Svm | None, maker: Maker, others: Iterable[CustomRole]) -> CustomRole:
    """Return the role to store. ``others`` are the custom roles of the same owner."""
    if not _NAME.fullmatch(new.name):
        reason = "1 to 64 letters, digits and . _ - are allowed, a letter or digit first"
        raise OntapError(errors.INVALID_VALUE, target="name", field="name", reason=reason)
    folded = new.name.lower()
    if folded in _RESERVED:
        raise OntapError(errors.ROLE_NAME_RESERVED, target="name")
    if any(folded == other.name.lower() for other in others):
        raise OntapError(errors.DUPLICATE_ENTRY, target="name")
    if not new.privileges:
        raise OntapError(errors.MISSING_VALUE, target="privileges", field="privileges")
    role = CustomRole(new.name, svm, ())
    return _checked(role, [_privilege(*written) for written in new.privileges], maker, "privileges.")


def plan_add(role: CustomRole, path: str, access: str, maker: Maker) -> CustomRole:
    """Return the role with one more privilege."""
    row = _privilege(path, access)
    if any(path == each.path for each in role.privileges):
        raise OntapError(errors.DUPLICATE_ENTRY, target="path")
    return _checked(role, [*role.privileges, row], maker)


def plan_change(role: CustomRole, path: str, access: str, maker: Maker) -> CustomRole:
    """Return the role with another access to a path. Raises 4 (404) if it has no privilege for this path."""
    row = _privilege(path, access)
    others = _others(role, path)
    return _checked(role, [*others, row], maker)


def plan_remove(role: CustomRole, path: str, maker: Maker) -> CustomRole:
    """Return the role without a privilege. What remains may grant more than before, so it is checked again."""
    return _checked(role, _others(role, path), maker)


def _others(role: CustomRole, path: str) -> list[Privilege]:
    others = [each for each in role.privileges if each.path != path]
    if len(others) == len(role.privileges):
        raise OntapError(errors.ENTRY_NOT_FOUND, target="path")
    return others


def _privilege(path: str, access: str) -> Privilege:
    if access not in set(Access):
        raise OntapError(errors.ACCESS_INVALID, target="access")
    return Privilege(path, Access(access))


def _checked(role: CustomRole, rows: Sequence[Privilege], maker: Maker, within: str = "") -> CustomRole:
    """Return the role with these privileges, by path, or raise the rule that one breaks.

    ``within`` goes before the name of a field at fault.
    """
    target = f"{within}path"
    if len(rows) > MOST_PRIVILEGES:
        reason = f"a role has at most {MOST_PRIVILEGES} privileges"
        raise OntapError(errors.INVALID_VALUE, target=target, field=target, reason=reason)
    for row in rows:
        _check_path(row.path, maker.served, target)
    ordered = tuple(sorted(rows, key=lambda row: row.path))
    for row, following in pairwise(ordered):
        if row.path == following.path:
            raise OntapError(errors.VALUE_TWICE, target=target, field=target, value=row.path)
    changed = replace(role, privileges=ordered)
    for row in ordered:
        _check_limit(changed, row, within)
    _check_maker(ordered, maker.role, target)
    return changed


def _check_path(path: str, served: Collection[str], target: str) -> None:
    if not _PATH.fullmatch(path):
        raise OntapError(errors.PATH_INVALID, target=target)
    if not any(_leads_to(path.split("/"), each.split("/")) for each in served):
        raise OntapError(errors.PATH_NOT_SERVED, target=target)


def _leads_to(written: list[str], served: list[str]) -> bool:
    """Return True if a path is served here, or if it is the beginning of a served path."""
    return len(written) <= len(served) and all(
        part == wanted or wanted.startswith("{") for part, wanted in zip(written, served, strict=False)
    )


def _check_limit(role: CustomRole, row: Privilege, within: str) -> None:
    """Raise if a privilege can never count in full, because the role's limit denies it at this very path."""
    granted = access_to(Role.ADMIN if role.svm is None else Role.VSADMIN, row.path)
    if lesser(row.access, granted) is row.access:
        return
    if role.svm is None:
        reason = "only the built-in role key-reader reads key material"
        raise OntapError(errors.INVALID_VALUE, target=f"{within}path", field=f"{within}path", reason=reason)
    if granted is Access.NONE:
        raise OntapError(errors.API_NOT_OF_SVMS, target=f"{within}path")
    raise OntapError(errors.ACCESS_NOT_OF_SVMS, target=f"{within}access")


def _check_maker(rows: tuple[Privilege, ...], maker: Role | CustomRole, target: str) -> None:
    """Raise if these privileges grant what their maker does not have. ``admin`` has all that a role may grant."""
    if maker is Role.ADMIN:
        return
    path = granted_beyond(rows, PRIVILEGES[maker] if isinstance(maker, Role) else maker.privileges)
    if path:
        reason = f"it would grant more on {path} than your own role does"
        raise OntapError(errors.INVALID_VALUE, target=target, field=target, reason=reason)
