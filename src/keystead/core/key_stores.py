"""The rules of key stores: the configurations of key managers, as key stores that can be enabled or deleted.

Pure. Source: ONTAP page of ``/security/key-stores``, 9.14 and later. Every key store here is of type ``kmip``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_managers import INACTIVE_SINCE
from keystead.core.key_servers import check_certificates, check_release
from keystead.core.model import Release

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keystead.core.key_servers import ServersState
    from keystead.core.model import KeyManager, Node

KEY_STORES_SINCE = Release(9, 14, 0)


def plan_enable(state: ServersState, *, enabled: bool) -> KeyManager:
    """Return the key manager as enabled, or raise the first rule that is broken. Its servers must still be proved.

    ``enabled`` is the value that the caller asks for.
    """
    if not enabled:
        raise OntapError(errors.NO_DISABLING, target="enabled")
    check_release(state.nodes, KEY_STORES_SINCE, errors.KEY_STORES_RELEASE)
    if state.key_manager.enabled:
        raise OntapError(errors.ALREADY_ENABLED, target="enabled")
    check_release(state.nodes, INACTIVE_SINCE, errors.ENABLE_RELEASE)
    check_certificates(state.key_manager, state.certificates)
    return replace(state.key_manager, enabled=True)


def check_discard(key_manager: KeyManager, nodes: Iterable[Node]) -> None:
    """Raise unless the key store may be deleted: it must not be enabled."""
    nodes = tuple(nodes)
    check_release(nodes, KEY_STORES_SINCE, errors.KEY_STORES_RELEASE)
    if key_manager.enabled:
        raise OntapError(errors.KEY_STORE_ENABLED)
    check_release(nodes, INACTIVE_SINCE, errors.KEY_STORE_RELEASE)
