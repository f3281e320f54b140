"""The rules of enabling and discarding a key store."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from keystead.core.errors import ErrorKind, OntapError
from keystead.core.key_stores import check_discard, plan_enable
from keystead.core.model import Node, Release
from tests.core.factories import NODE, key_manager, server, state

if TYPE_CHECKING:
    from keystead.core.key_servers import ServersState

INACTIVE = state(server("a"), manager=key_manager(None, enabled=False))
ENABLED = state(server("a"), manager=key_manager(None))


def among(given: ServersState, *release: int) -> ServersState:
    """Return the same state with a node of this release."""
    return replace(given, nodes=(NODE, Node("old", "old", Release(*release))))


@pytest.mark.parametrize(
    ("given", "enabled", "kind"),
    [
        (INACTIVE, False, errors.NO_DISABLING),
        (ENABLED, True, errors.ALREADY_ENABLED),
        (among(ENABLED, 9, 13, 1), True, errors.KEY_STORES_RELEASE),
        (among(INACTIVE, 9, 16, 0), True, errors.ENABLE_RELEASE),
        (replace(INACTIVE, certificates={}), True, errors.CERTIFICATE_NOT_INSTALLED),
    ],
)
def test_not_enabled(given: ServersState, enabled: bool, kind: ErrorKind) -> None:
    """Each rule broken gives its code."""
    with pytest.raises(OntapError) as raised:
        plan_enable(given, enabled=enabled)
    assert raised.value.kind is kind


def test_enabled() -> None:
    """Enabling a configuration changes nothing else."""
    assert plan_enable(INACTIVE, enabled=True) == key_manager(None)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (ENABLED, errors.KEY_STORE_ENABLED),
        (among(INACTIVE, 9, 13, 1), errors.KEY_STORES_RELEASE),
        (among(INACTIVE, 9, 16, 0), errors.KEY_STORE_RELEASE),
    ],
)
def test_not_discarded(given: ServersState, kind: ErrorKind) -> None:
    """Each rule broken gives its code."""
    with pytest.raises(OntapError) as raised:
        check_discard(given.key_manager, given.nodes)
    assert raised.value.kind is kind


def test_discarded() -> None:
    """A configuration that is not enabled may be discarded."""
    check_discard(INACTIVE.key_manager, INACTIVE.nodes)
