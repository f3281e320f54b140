"""A real PostgreSQL server that is promoted: its timeline is another one, and so is the incarnation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keystead.store.identity import place_of
from keystead.store.opening import open_database
from tests.peers.postgres_cluster import clusters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.postgres_cluster import Cluster


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """One that was never started."""
    with clusters(1) as (made,):
        made.make()
        yield made


def test_a_promoted_server_is_on_another_branch(cluster: Cluster) -> None:
    """At once: not only after the next checkpoint. Started again, it stays where it is."""

    def place() -> tuple[str, str, str]:
        database = open_database(cluster.url)
        try:
            return place_of(database)
        finally:
            database.dispose()

    cluster.start()
    engine, identity, branch = place()
    assert branch == "1"
    cluster.stop()
    cluster.start()
    assert place() == (engine, identity, "1")
    cluster.stop()
    cluster.lose_primary()
    cluster.promote()
    assert place() == (engine, identity, "2")
    assert cluster.execute("SELECT pg_is_in_recovery()") == [(False,)]
