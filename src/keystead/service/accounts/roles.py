"""Use cases of roles: read. All roles are built in: three of the cluster, and three of every SVM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from keystead.core import errors
from keystead.core.access import CLUSTER_ROLES, PRIVILEGES, SVM_ROLES
from keystead.core.errors import OntapError
from keystead.core.model import Cluster, Role, Svm
from keystead.service.loading import require_cluster
from keystead.service.ports.cluster import ClusterRows
from keystead.service.ports.configuration import ListRows, SvmRows
from keystead.service.ports.page import Page

if TYPE_CHECKING:
    from keystead.core.access import Privilege
    from keystead.service.context import Call
    from keystead.service.ports.store import Store


class Rows(SvmRows, ListRows, ClusterRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class RoleView:
    """A role of one owner."""

    owner: Svm | Cluster
    role: Role

    @property
    def place(self) -> str:
        """The role's place in the list: first the cluster's roles, then those of each SVM."""
        return f"{self.owner.uuid if isinstance(self.owner, Svm) else ''}/{self.role}"

    @property
    def privileges(self) -> tuple[Privilege, ...]:
        """The privileges of the role, by path."""
        return PRIVILEGES[self.role]


class Roles:
    """The built-in roles."""

    def __init__(self, store: Store[Rows]) -> None:
        self._store = store

    async def page(self, call: Call, page: Page) -> tuple[RoleView, ...]:
        """Return a slice of the roles, by :attr:`RoleView.place`."""
        (after,) = page.after or ("",)
        owner, _, _ = after.partition("/")

        def read(tx: Rows) -> tuple[RoleView, ...]:
            svms = tx.page(Svm, call.within(Page(after=(owner,) if owner else None, limit=page.limit), "uuid"))
            # The page before may have ended among the roles of this SVM.
            begun = tx.svm(owner, within=call.within_svm) if owner else None
            views = [] if call.scope else _of(require_cluster(tx))
            views += [view for svm in (begun, *svms) if svm is not None for view in _of(svm)]
            return tuple(view for view in views if view.place > after)[page.offset : page.offset + page.limit]

        return await self._store.read(read)

    async def get(self, call: Call, owner: str, name: str) -> RoleView:
        """Return one role of an owner, or raise 4 (404)."""

        def find(tx: Rows) -> RoleView | None:
            cluster, svm = require_cluster(tx), tx.svm(owner, within=call.within_svm)
            found = _of(cluster) if owner == cluster.uuid and call.scope is None else []
            found += _of(svm) if svm is not None else []
            return next((view for view in found if view.role == name), None)

        view = await self._store.read_few(find)
        if view is None:
            raise OntapError(errors.ENTRY_NOT_FOUND, target="name")
        return view


def _of(owner: Svm | Cluster) -> list[RoleView]:
    return [RoleView(owner, role) for role in sorted(SVM_ROLES if isinstance(owner, Svm) else CLUSTER_ROLES)]
