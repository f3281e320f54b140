"""Storing events, and the name that the cluster's own events carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.core import events
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.model import Event
    from keystead.service.ports.cluster import ClusterRows, EventRows


def add_events(tx: EventRows, found: Sequence[Event]) -> None:
    """Store events under the next indexes of their node.

    Call it last in a transaction, because it locks the node's row.
    """
    if found:
        tx.add_events(found, events.MAX_EVENTS)


def cluster_name(tx: ClusterRows) -> str:
    """Return the cluster's name, which events about the cluster's own objects carry instead of an SVM's name.

    Raises StoreError when the database holds no cluster.
    """
    cluster = tx.cluster()
    if cluster is None:
        raise StoreError("the database holds no cluster: run keystead init")
    return cluster.name
