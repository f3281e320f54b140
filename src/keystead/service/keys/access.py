"""The check of access to the keys of a key manager, for accounts that see it and for accounts of SVMs that use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_managers import serving

if TYPE_CHECKING:
    from keystead.core.model import KeyManager, Svm
    from keystead.service.context import Call
    from keystead.service.ports.configuration import KeyManagerRows


def serving_key_manager(tx: KeyManagerRows, svm: Svm) -> KeyManager | None:
    """Return the key manager for an SVM's keys: its own if enabled, else the cluster's if enabled, else None.

    Called when the access of an SVM's call is checked, and when a key for an SVM is created or adopted.
    """
    return serving([svm.uuid], tx.enabled_key_managers([svm.uuid])).get(svm.uuid)


def require_manager_of_keys(tx: KeyManagerRows, call: Call, uuid: str, *, lock: bool = False) -> KeyManager:
    """Return the key manager (uuid) of a call about keys. Raises 4 (404) if the call may not use it.

    A call within an SVM may use the SVM's own key manager, also a disabled one. It may use the cluster's key manager
    only while that one serves the SVM. Any other call may use any key manager. ``lock``: lock the row of the key
    manager.

    Called by the use cases that create, list, restore, retire and recover keys. They must also check to which SVM a key
    belongs.
    """
    if call.scope is None:
        found = tx.key_manager(uuid, lock=lock)
    elif (found := _manager_for_svm(tx, call.scope, uuid)) is not None and lock:  # no lock outside of its scope
        found = tx.key_manager(uuid, lock=True)
    if found is None:
        raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")
    return found


def _manager_for_svm(tx: KeyManagerRows, svm: Svm, uuid: str) -> KeyManager | None:
    """Return the key manager (uuid) if a call within the SVM may use it, else None, also if there is none.

    It may use the SVM's own key manager, enabled or not, and the one that keeps the SVM's keys now.
    """
    found = tx.key_manager(uuid)
    if found is None or (found.svm is not None and found.svm.uuid == svm.uuid):
        return found
    serves = serving_key_manager(tx, svm)
    return found if serves is not None and serves.uuid == uuid else None
