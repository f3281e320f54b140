"""Who may work with the keys of a key manager: those who see it, and the accounts of SVMs whose keys it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_managers import serving

if TYPE_CHECKING:
    from keystead.core.model import KeyManager, Svm
    from keystead.service.context import Call
    from keystead.service.ports import Transaction


def serving_key_manager(tx: Transaction, svm: Svm) -> KeyManager | None:
    """The key manager that keeps an SVM's keys: its own enabled one, else the cluster's."""
    return serving([svm.uuid], tx.enabled_key_managers([svm.uuid])).get(svm.uuid)


def require_manager_of_keys(tx: Transaction, call: Call, uuid: str, *, lock: bool = False) -> KeyManager:
    """Return the key manager for a call about its keys, or raise 4 (404).

    An account of an SVM without a key manager of its own works with its keys in the cluster's, which it does not see
    otherwise: whose a key is must be checked beside this.
    """
    sees_all = call.scope is None
    found = tx.key_manager(uuid, lock=lock and sees_all)  # nobody locks what he may not see
    if found is not None and call.scope is not None and not call.sees(found.svm):
        serves = serving_key_manager(tx, call.scope)
        found = found if serves is not None and serves.uuid == uuid else None
    if found is not None and lock and not sees_all:
        found = tx.key_manager(uuid, lock=True)
    if found is None:
        raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")
    return found
