"""Use cases of roles: read. They are built in: three of the cluster, and three of every SVM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.access import CLUSTER_ROLES, PRIVILEGES, SVM_ROLES
from keystead.core.errors import OntapError
from keystead.core.model import Cluster, Role, Svm
from keystead.service.loading import require_cluster
from keystead.service.ports.store import Page

if TYPE_CHECKING:
    from keystead.core.access import Privilege
    from keystead.service.context import Call
    from keystead.service.ports.store import Store, Transaction


@dataclass(frozen=True, slots=True)
class RoleView:
    """A role as its owner has it."""

    owner: Svm | Cluster
    role: Role

    @property
    def place(self) -> str:
        """Where it stands in the list: the cluster's come first, then SVM by SVM."""
        return f"{self.owner.uuid if isinstance(self.owner, Svm) else ''}/{self.role}"

    @property
    def privileges(self) -> tuple[Privilege, ...]:
        """What it may do, by path."""
        return PRIVILEGES[self.role]


class Roles:
    """The built-in roles."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def page(self, call: Call, page: Page) -> tuple[RoleView, ...]:
        """Return a slice of the roles, by :attr:`RoleView.place`."""
        (after,) = page.after or ("",)
        owner, _, _ = after.partition("/")

        def read(tx: Transaction) -> tuple[RoleView, ...]:
            svms = tx.page(Svm, call.within(Page(after=(owner,) if owner else None, limit=page.limit), "uuid"))
            begun = tx.svm(owner, within=call.within_svm) if owner else None  # the SVM at which the page before ended
            views = [] if call.scope else _of(require_cluster(tx))
            views += [view for svm in (begun, *svms) if svm is not None for view in _of(svm)]
            return tuple(view for view in views if view.place > after)[page.offset : page.offset + page.limit]

        return await self._store.read(read)

    async def get(self, call: Call, owner: str, name: str) -> RoleView:
        """Return one role of an owner, or raise 4 (404)."""

        def find(tx: Transaction) -> RoleView | None:
            cluster, svm = require_cluster(tx), tx.svm(owner, within=call.within_svm)
            found = _of(cluster) if owner == cluster.uuid and call.scope is None else []
            found += _of(svm) if svm is not None else []
            return next((view for view in found if view.role == name), None)

        view = await self._store.glance(find)
        if view is None:
            raise OntapError(errors.ENTRY_NOT_FOUND, target="name")
        return view


def _of(owner: Svm | Cluster) -> list[RoleView]:
    return [RoleView(owner, role) for role in sorted(SVM_ROLES if isinstance(owner, Svm) else CLUSTER_ROLES)]
