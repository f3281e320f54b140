"""The settings ``simulate_...``: what this node and its cluster count as, so that clients can be tested with it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from keystead.core.model import ONTAP_LEVEL, Release
from keystead.service.loading import require_cluster
from keystead.settings import SettingsError

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from keystead.settings import Settings
    from keystead.store import SqlStore


async def simulate(store: SqlStore, settings: Settings, uuid: str) -> None:
    """Store the release of this node, and whether the cluster is a MetroCluster, if they are others than before.

    Without the settings they are the real ones again. Raises SettingsError, StoreError.
    """
    release = _release(settings.simulate_release)

    def store_both(tx: Transaction) -> None:
        cluster = require_cluster(tx)
        if cluster.metrocluster is not settings.simulate_metrocluster:
            tx.put_cluster(replace(cluster, metrocluster=settings.simulate_metrocluster))
        for node in tx.nodes():
            if node.uuid == uuid and node.release != release:
                tx.put_node(replace(node, release=release))

    await store.write(store_both)


def _release(text: str) -> Release:
    """Return the release that a node counts as: the real one for an empty text."""
    numbers = text.split(".")
    if not text:
        return ONTAP_LEVEL
    if len(numbers) != 3 or not all(number.isascii() and number.isdigit() for number in numbers):
        raise SettingsError("setting 'simulate_release': three numbers are expected, such as 9.5.0")
    return Release(*map(int, numbers))
