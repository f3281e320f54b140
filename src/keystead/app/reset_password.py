"""``keystead account reset-password``: sets a password without a login. It needs the data directory and the root key.

The service may run meanwhile, on any node. This module must not print: it returns the line to show.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from keystead.app.clock import SystemClock
from keystead.app.opening import CannotStart, node_uuid, opened
from keystead.core.errors import USER_NOT_FOUND, OntapError
from keystead.sealing import Argon2Hasher, Keyring, read_root_key
from keystead.service.accounts.accounts import Accounts
from keystead.service.audit.log import AuditLog
from keystead.service.ports.sealing import SealError
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from keystead.core.secret import Secret
    from keystead.settings import Settings


def reset_password(settings: Settings, name: str, svm: str | None, password: Secret) -> str:
    """Set the password of an account of an SVM, or of the cluster (None). Return the line to show.

    Raises CannotStart, which leaves everything as it was.
    """
    owner = f"SVM {svm}" if svm else "the cluster"
    try:
        asyncio.run(_reset(settings, name, svm, password))
    except OntapError as error:
        absent = error.kind is USER_NOT_FOUND
        raise CannotStart(f"{owner} has no account {name}" if absent else error.message) from None
    except (SealError, StoreError) as error:
        raise CannotStart(str(error)) from None
    return f"reset the password of account {name} of {owner}; it is not locked"


async def _reset(settings: Settings, name: str, svm: str | None, password: Secret) -> None:
    node, clock = node_uuid(settings.data), SystemClock()
    store = opened(settings)
    hasher = Argon2Hasher()
    try:
        keyring = Keyring.open(read_root_key(settings.root_key_file), await store.read(lambda tx: tx.data_keys()))
        accounts = Accounts(store, hasher, AuditLog(store, keyring, clock, node), clock, node)
        await accounts.reset_password(name, svm, password)
    finally:
        hasher.close()
        await store.close()
