"""The rules of key stores: a key manager's configuration seen as a key store, which can be enabled or discarded.

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
    """Return an inactive key manager as it will be when its servers are proved; the first rule broken is raised.

    ``enabled`` is what the caller asks for.
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
    """Raise unless a key store may be deleted: only one that is not enabled."""
    nodes = tuple(nodes)
    check_release(nodes, KEY_STORES_SINCE, errors.KEY_STORES_RELEASE)
    if key_manager.enabled:
        raise OntapError(errors.KEY_STORE_ENABLED)
    check_release(nodes, INACTIVE_SINCE, errors.KEY_STORE_RELEASE)
