"""A service on a real PostgreSQL that fails over while the service is stopped."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.peers.keystead import Installation
from tests.peers.postgres_cluster import pair

if TYPE_CHECKING:
    from pathlib import Path

END_S = 60


@pytest.mark.long
@pytest.mark.parametrize("way", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_service_vouches_and_a_killed_one_does_not(tmp_path: Path, way: signal.Signals) -> None:
    """The first goes on in its incarnation. In the other case nobody knows what was acknowledged."""
    with pair() as (primary, standby):
        one = Installation(tmp_path / "data", primary.url).init()
        with one.serving() as service, service.client() as call:
            assert call("POST", "/svm/svms", {"name": "vs0"}).status == 201
            service.signal(way)
            service.wait(END_S)
        ((end,),) = primary.execute("SELECT pg_current_wal_lsn()")
        while not standby.execute(f"SELECT 1 WHERE pg_last_wal_replay_lsn() >= '{end}'"):
            time.sleep(0.02)
        primary.stop("immediate")
        standby.promote()
        with replace(one, database=standby.url).serving() as service, service.client() as call:
            found = call.get("/security/key-manager-incarnation")
        goes_on = way is signal.SIGTERM
        assert (found["number"], found["destroys"]) == ((1, True) if goes_on else (2, False))
