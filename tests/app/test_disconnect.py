"""A client that goes away while its servers are proved takes its call with it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.peers import keystead
from tests.peers.fault_servers import black_hole

if TYPE_CHECKING:
    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Service

PER_ACCOUNT = 4  # the default of probes_per_account
SLOW_S = 20


def test_a_client_that_goes_away_gives_its_place_back(
    shared_service: Service, pki: Pki, sound_ports: list[int]
) -> None:
    """Calls whose clients are gone hold no turn to probe: the account's next add is answered at once."""
    with shared_service.client() as call, black_hole() as hole:
        certificates = keystead.install_certificates(call, pki.client, pki.server_ca)
        path = keystead.create_key_manager(call, certificates, f"127.0.0.1:{sound_ports[0]}")
        for _ in range(PER_ACCOUNT + 2):
            with shared_service.client() as leaving:
                leaving.send("POST", path, {"server": f"127.0.0.1:{hole}", "timeout": SLOW_S})
                time.sleep(0.1)
        started = time.monotonic()
        answer = call("POST", path, {"server": f"127.0.0.1:{sound_ports[1]}"})
        assert answer.status == 201, answer.content
        assert time.monotonic() - started < SLOW_S / 2
        servers = [record["server"] for record in call.get(path)["records"]]
        assert servers == [f"127.0.0.1:{port}" for port in sound_ports[:2]]
