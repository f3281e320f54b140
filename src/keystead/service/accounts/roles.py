"""Use cases of roles: read them, and write custom ones. Each owner has three built-in roles, and custom ones.

Who may call these is in the table of core/access.py. No role of an SVM writes roles, so those of an SVM are made by
accounts of the cluster. A change counts with the next request of each account with the role, on every node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from keystead.core import errors
from keystead.core.access import CLUSTER_ROLES, PRIVILEGES, SVM_ROLES
from keystead.core.errors import OntapError
from keystead.core.model import Cluster, CustomRole, Role, Svm
from keystead.core.roles import Maker, plan_add, plan_change, plan_create, plan_remove
from keystead.service.accounts.accounts import named_owner
from keystead.service.cluster.svms import about_svm
from keystead.service.loading import locked_cluster, require_cluster
from keystead.service.ports.cluster import AuditRows, ClusterRows, RoleRows
from keystead.service.ports.configuration import ListRows, SvmRows
from keystead.service.ports.page import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from keystead.core.model import Privilege
    from keystead.core.roles import NewRole
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.ports.store import Store


class Rows(SvmRows, ListRows, ClusterRows, RoleRows, AuditRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class RoleView:
    """A role of one owner."""

    owner: Svm | Cluster
    role: Role | CustomRole

    @property
    def place(self) -> str:
        """The role's place in the list: first the cluster's roles, then those of each SVM."""
        return f"{self.owner.uuid if isinstance(self.owner, Svm) else ''}/{self.role}"

    @property
    def builtin(self) -> bool:
        """True for a built-in role."""
        return isinstance(self.role, Role)

    @property
    def privileges(self) -> tuple[Privilege, ...]:
        """The privileges of the role, by path."""
        return PRIVILEGES[self.role] if isinstance(self.role, Role) else self.role.privileges


class Roles:
    """The roles of the cluster and of its SVMs. ``served`` are the paths that privileges may name."""

    def __init__(self, store: Store[Rows], audit: AuditLog, served: Collection[str]) -> None:
        self._store = store
        self._audit = audit
        self._served = served

    async def page(self, call: Call, page: Page) -> tuple[RoleView, ...]:
        """Return a slice of the roles, by :attr:`RoleView.place`."""
        (after,) = page.after or ("",)
        owner, _, _ = after.partition("/")

        def read(tx: Rows) -> tuple[RoleView, ...]:
            svms = tx.page(Svm, call.within(Page(after=(owner,) if owner else None, limit=page.limit), "uuid"))
            # The page before may have ended among the roles of this SVM.
            begun = tx.svm(owner, within=call.within_svm) if owner else None
            owners: list[Svm | Cluster] = [] if call.scope else [require_cluster(tx)]
            views = _of(tx, [*owners, *(svm for svm in (begun, *svms) if svm is not None)])
            return tuple(view for view in views if view.place > after)[page.offset : page.offset + page.limit]

        return await self._store.read(read)

    async def get(self, call: Call, owner: str | None, name: str) -> RoleView:
        """Return one role of an owner, or raise 4 (404)."""
        return await self._store.read_few(lambda tx: _require(tx, call, owner, name))

    async def create(self, call: Call, new: NewRole) -> RoleView:
        """Store a new custom role. A name that the owner has already, in any letter case, is code 1 (409)."""

        def store(tx: Rows) -> RoleView:
            cluster = locked_cluster(tx)
            svm = named_owner(tx, call, cluster, new.owner_uuid, new.owner_name)
            with about_svm(svm):
                role = plan_create(new, svm, self._maker(call), tx.custom_roles([svm]))
            tx.put_role(role)
            self._audit.succeed(tx, call, f"created role {role}", svm=svm)
            return RoleView(svm or cluster, role)

        return await self._store.write(store)

    async def delete(self, call: Call, owner: str | None, name: str) -> None:
        """Delete a custom role. Raises 1263347 for a built-in role, 5636172 while an account has the role."""

        def delete(tx: Rows) -> None:
            role = _require_custom(tx, call, owner, name)
            with about_svm(role.svm):
                self._remove(tx, call, role)

        await self._store.write(delete)

    async def add_privilege(self, call: Call, owner: str, name: str, path: str, access: str) -> RoleView:
        """Add a privilege to a custom role. A path that it names already is code 1 (409), no such role 5636129."""
        try:
            return await self._change(call, owner, name, lambda role: plan_add(role, path, access, self._maker(call)))
        except OntapError as error:
            if error.kind is errors.ENTRY_NOT_FOUND:
                raise OntapError(errors.ROLE_NOT_DEFINED, target="name") from None
            raise

    async def change_privilege(self, call: Call, owner: str, name: str, path: str, access: str) -> None:
        """Change the access of a privilege, or raise 4 (404)."""
        await self._change(call, owner, name, lambda role: plan_change(role, path, access, self._maker(call)))

    async def remove_privilege(self, call: Call, owner: str, name: str, path: str) -> None:
        """Remove a privilege, or raise 4 (404). A role goes with its last privilege."""
        await self._change(call, owner, name, lambda role: plan_remove(role, path, self._maker(call)))

    def _maker(self, call: Call) -> Maker:
        return Maker(call.caller.role, self._served)

    async def _change(self, call: Call, owner: str, name: str, plan: Callable[[CustomRole], CustomRole]) -> RoleView:
        def change(tx: Rows) -> RoleView:
            role = _require_custom(tx, call, owner, name)
            with about_svm(role.svm):
                changed = plan(role)
                if changed.privileges:
                    tx.put_role(changed)
                    self._audit.succeed(tx, call, f"changed role {name}", svm=role.svm)
                else:
                    self._remove(tx, call, role)
            return RoleView(role.svm or require_cluster(tx), changed)

        return await self._store.write(change)

    def _remove(self, tx: Rows, call: Call, role: CustomRole) -> None:
        user = tx.role_user(role)
        if user is not None:
            raise OntapError(errors.ROLE_IN_USE, target="name", arguments=[("account", user)])
        tx.delete_role(role)
        self._audit.succeed(tx, call, f"deleted role {role}", svm=role.svm)


def _of(tx: RoleRows, owners: Iterable[Svm | Cluster]) -> list[RoleView]:
    """Return all roles of these owners, owner by owner, by name."""
    found = list(owners)
    custom = tx.custom_roles([owner if isinstance(owner, Svm) else None for owner in found])
    views = []
    for owner in found:
        own = owner if isinstance(owner, Svm) else None
        roles: list[Role | CustomRole] = [*(SVM_ROLES if own else CLUSTER_ROLES)]
        roles += [role for role in custom if role.svm == own]
        views += sorted((RoleView(owner, role) for role in roles), key=lambda view: view.place)
    return views


def _require(tx: Rows, call: Call, owner: str | None, name: str) -> RoleView:
    """Return a role that the caller sees, or raise 4 (404). Without an owner, one role alone must have this name."""
    cluster = require_cluster(tx)
    owners: list[Svm | Cluster] = [] if call.scope else [cluster]
    if owner is None:
        owners += tx.page(Svm, call.within(Page(), "uuid"))
    else:
        svm = tx.svm(owner, within=call.within_svm)
        owners = [each for each in owners if each.uuid == owner] + ([svm] if svm is not None else [])
    found = [view for view in _of(tx, owners) if view.role.value == name]
    if len(found) != 1:
        raise OntapError(errors.ENTRY_NOT_FOUND, target="name")
    return found[0]


def _require_custom(tx: Rows, call: Call, owner: str | None, name: str) -> CustomRole:
    """Lock roles, and return a custom role that the caller sees. Raises 4 (404), and 1263347 for a built-in role."""
    locked_cluster(tx)
    role = _require(tx, call, owner, name).role
    if isinstance(role, Role):
        raise OntapError(errors.ROLE_BUILT_IN, target="name")
    return role
