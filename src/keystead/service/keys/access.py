"""Who may work with the keys of a key manager: those who see it, and the accounts of SVMs whose keys it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_managers import serving

if TYPE_CHECKING:
    from keystead.core.model import KeyManager, Svm
    from keystead.service.context import Call
    from keystead.service.ports.store import Transaction


def serving_key_manager(tx: Transaction, svm: Svm) -> KeyManager | None:
    """The key manager that keeps an SVM's keys: its own enabled one, else the cluster's."""
    return serving([svm.uuid], tx.enabled_key_managers([svm.uuid])).get(svm.uuid)


def require_manager_of_keys(tx: Transaction, call: Call, uuid: str, *, lock: bool = False) -> KeyManager:
    """Return the key manager for a call about its keys, or raise 4 (404).

    An account of an SVM without a key manager of its own works with its keys in the cluster's, which it does not see
    otherwise: whose a key is must be checked beside this.
    """
    if call.scope is None:
        found = tx.key_manager(uuid, lock=lock)
    elif (found := _manager_for_svm(tx, call.scope, uuid)) is not None and lock:  # nobody locks what he may not see
        found = tx.key_manager(uuid, lock=True)
    if found is None:
        raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")
    return found


def _manager_for_svm(tx: Transaction, svm: Svm, uuid: str) -> KeyManager | None:
    """The key manager if it is the SVM's own, enabled or not, or the one that keeps its keys."""
    found = tx.key_manager(uuid)
    if found is None or (found.svm is not None and found.svm.uuid == svm.uuid):
        return found
    serves = serving_key_manager(tx, svm)
    return found if serves is not None and serves.uuid == uuid else None
