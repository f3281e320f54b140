"""One PostgreSQL with two standbys, promoted by ``pg_promote``, as a cluster manager does it. Nobody decides by itself.

A commit waits until one standby has it. So the standby that has most of the log has everything acknowledged.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from tests.peers.postgres import USER
from tests.peers.postgres_cluster import clusters, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.postgres_cluster import Cluster

URL: Final = f"postgresql://{USER}@127.0.0.1:{{port}}/postgres"


class Standbys:
    """A primary and its two standbys."""

    def __init__(self, primary: Cluster, standbys: list[Cluster]) -> None:
        self.primary, self.standbys = primary, standbys

    def promote(self) -> Cluster:
        """Promote the standby that has most, whatever the primary does. Return the former primary, which has none."""
        self.detach()
        self.standbys.sort(key=lambda each: each.received())
        former, self.primary = self.primary, self.standbys.pop()
        self.primary.promote()
        for each in self.standbys:
            each.receive_from(self.primary)
        return former

    def detach(self) -> None:
        """Cut the standbys off from the primary."""
        for each in self.standbys:
            each.receive_from(None)

    def take_back(self, former: Cluster, *, rewind: bool) -> None:
        """Make a former primary a standby: by pg_rewind, or from nothing."""
        former.stop()
        (former.rewind if rewind else former.follow)(self.primary)
        self.standbys.append(former)

    def wait_until_whole(self) -> None:
        """Return once both standbys receive the log."""
        wait_until(lambda: all(each.receives() for each in self.standbys), "a standby does not receive the log")


@contextlib.contextmanager
def standbys() -> Iterator[Standbys]:
    """Run all three until the block ends."""
    with clusters(3) as (primary, *others):
        primary.make()
        primary.start()
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")  # which copies have, too
        for each in others:
            each.copy(primary)
            each.start()
        primary.execute("SELECT pg_reload_conf()")
        made = Standbys(primary, list(others))
        made.wait_until_whole()
        yield made
