"""Plan the creation and the change of a key manager: read the facts in a transaction, then apply the rules of core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from keystead.core.key_managers import CreateState, plan_change, plan_create
from keystead.core.keys.guarding import ACTIVE_STATES
from keystead.service.cluster.svms import about_svm, named_svm
from keystead.service.loading import load_state, require_cluster
from keystead.service.ports.cluster import ClusterRows, NodeRows
from keystead.service.ports.configuration import CertificateRows, KeyManagerRows, KeyServerRows, SvmRows
from keystead.service.ports.keys import KeyRows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keystead.core.key_managers import CertificateName, CreationPlan, Found, KeyManagerChange, NewKeyManager
    from keystead.core.key_servers import ServersState
    from keystead.core.model import Certificate, Svm
    from keystead.service.context import Call


class Rows(SvmRows, CertificateRows, KeyManagerRows, KeyServerRows, ClusterRows, NodeRows, KeyRows, Protocol):
    """The rows that this module reads and writes."""


def planned_creation(tx: Rows, call: Call, uuid: str, new: NewKeyManager, *, lock: bool = False) -> CreationPlan:
    """Plan a creation. With ``lock``, nobody else creates or enables a key manager of the cluster meanwhile."""
    svm = named_svm(tx, call, new.svm_uuid, new.svm_name)
    if lock and svm is None:
        tx.cluster(lock=True)
    elsewhere = tx.key_manager_of(None) if svm else None
    if lock and elsewhere is not None:
        tx.key_manager(elsewhere.uuid, lock=True)  # so that nobody creates a key of the SVM there meanwhile
    state = CreateState(
        svm=svm,
        existing=tx.key_manager_of(svm.uuid if svm else None),
        cluster=require_cluster(tx),
        nodes=tx.nodes(),
        found=_found(tx, call, svm, new.named),
        keys_at_cluster=tx.keys_of_svm(svm.uuid, ACTIVE_STATES) if svm else 0,
    )
    with about_svm(svm):
        return plan_create(state, new, uuid)


def planned_change(
    tx: Rows, call: Call, uuid: str, change: KeyManagerChange, *, lock: bool = False
) -> tuple[ServersState, CreationPlan]:
    """Return the state that a change begins with, and the plan of the change.

    With ``lock``, no other transaction changes servers of this key manager meanwhile. Raises 4 (404) if there is no
    such key manager, and the rule that the change breaks.
    """
    state = load_state(tx, call, uuid, lock=lock)
    svm = state.key_manager.svm
    with about_svm(svm):
        return state, plan_change(state, _found(tx, call, svm, change.named), change)


def _found(tx: CertificateRows, call: Call, svm: Svm | None, names: Iterable[CertificateName]) -> Found:
    """Return the certificates that the names may mean, of those that the call sees."""

    def candidates(name: CertificateName) -> list[Certificate | None]:
        if name.uuid is not None:
            return [tx.certificate(name.uuid, within=call.within_svm)]
        owners = [svm.uuid if svm else None]
        owners += [None] if svm is not None and call.scope is None else []
        return [tx.certificate_named(owner, name.name or "") for owner in owners]

    return {name: tuple(found for found in candidates(name) if found is not None) for name in names}
