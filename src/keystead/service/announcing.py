"""Announce events: store them with the cluster's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.core import events
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.model import Event
    from keystead.service.ports.store import Transaction


def add_events(tx: Transaction, found: Sequence[Event]) -> None:
    """Store events, with the next indexes of their node: last, for it locks the node's row."""
    if found:
        tx.add_events(found, events.KEPT)


def cluster_name(tx: Transaction) -> str:
    """The name that events have for the SVM of what belongs to the cluster."""
    cluster = tx.cluster()
    if cluster is None:
        raise StoreError("the database holds no cluster: run keystead init")
    return cluster.name
