"""Three ``keystead serve`` processes on one PostgreSQL: each loss of a key server is one event, not three."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from keystead.app.initialise import initialise
from keystead.settings import Settings
from tests.peers.certificates import server_context
from tests.peers.fault_servers import FaultServer, tls
from tests.peers.keystead import PASSWORD, Installation, create_key_manager, install_certificates
from tests.peers.kmip_answers import answering
from tests.peers.proxy import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Client
    from tests.peers.postgres import PostgresServer

HOSTS = [f"127.0.1.{number}" for number in range(1, 41)]
"""The hosts of the key servers. All of them have the same port, and so break at once."""
AT_MOST = 4
"""Key servers of one key manager."""
KNOWN_WITHIN_S = 10
SETTLED_S = 60
EVERYWHERE = "0.0.0.0"  # noqa: S104 - all of the hosts
LOST, BACK = "km.keyserver.notavailable", "km.keyserver.available"


@pytest.fixture
def nodes(postgres: PostgresServer, tmp_path: Path) -> Iterator[list[Installation]]:
    """Yield three nodes of one cluster, which nobody serves yet."""
    with postgres.database() as url:
        made: list[Installation] = []
        for name in ("one", "two", "three"):
            data = tmp_path / name
            data.mkdir()
            if made:
                shutil.copy(made[0].data / "root.key", data)
            initialise(Settings(data=data, database=url), None if made else PASSWORD.encode(), terminal=False)
            made.append(Installation(data, url))
        yield made


class Breakable:
    """Forty key servers that break and heal at once."""

    def __init__(self, pki: Pki, running: contextlib.ExitStack) -> None:
        contexts = (
            server_context(authority.issue(HOSTS), pki.client_ca) for authority in (pki.server_ca, pki.client_ca)
        )
        self._sound, self._wrong = (
            running.enter_context(FaultServer(tls(context, answering()))).port for context in contexts
        )
        self._network = Network(self._sound)
        self._front = FaultServer(self._network.script, EVERYWHERE).__enter__()
        running.callback(self.stop)
        self.port = self._front.port

    def stop(self) -> None:
        """Refuse connections, and end those that are open."""
        self._front.__exit__(None, None, None)

    def hang(self) -> None:
        """Answer nothing any more."""
        self._network.fail("drop")

    def reset(self) -> None:
        """Reset all connections, also new ones."""
        self._network.fail("reset")

    def be_others(self) -> None:
        """Have certificates of an authority that nobody trusts, and end the connections that are open."""
        self._network.lead_to(self._wrong)
        self._network.fail("cut")
        self._network.heal()

    def heal(self) -> None:
        """Be sound again. No connection is ended, because a look at that moment would see a new reason."""
        self._network.lead_to(self._sound)
        self._network.heal()

    def start(self) -> None:
        """Accept connections again."""
        self._front = FaultServer(self._network.script, EVERYWHERE, self.port).__enter__()


def announced(call: Client, name: str) -> Counter[str]:
    """Return how often each address was announced so."""
    records = call.get(f"/support/ems/events?message.name={name}&fields=parameters&max_records=10000")["records"]
    return Counter(pair["value"] for each in records for pair in each["parameters"] if pair["name"] == "address")


def all_say(call: Client, state: str) -> bool:
    """Return True if each of the three nodes says so of each key server."""
    found: Counter[str] = Counter()
    for manager in call.get("/security/key-managers")["records"]:
        servers = call.get(f"/security/key-managers/{manager['uuid']}/key-servers?fields=connectivity")["records"]
        found.update(said["state"] for each in servers for said in each["connectivity"]["node_states"])
    return found == {state: 3 * len(HOSTS)}


def until(holds: Callable[[], bool], within_s: float) -> None:
    """Wait until something holds."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.long
def test_forty_servers_that_break_at_once(nodes: list[Installation], pki: Pki) -> None:
    """Within ten seconds there are forty events, whatever broke, and no more come while each node finds out.

    The same holds for their return.
    """
    with contextlib.ExitStack() as running:
        servers = Breakable(pki, running)
        services = [running.enter_context(node.serving()) for node in nodes]
        call = running.enter_context(services[0].client())
        certificates = install_certificates(call, pki.client, pki.server_ca)
        addresses = [f"{host}:{servers.port}" for host in HOSTS]
        for first in range(0, len(addresses), AT_MOST):
            create_key_manager(call, certificates, *addresses[first : first + AT_MOST])
        until(lambda: all_say(call, "available"), SETTLED_S)
        breaks = [(servers.hang, servers.heal), (servers.reset, servers.heal), (servers.be_others, servers.heal)]
        for count, (break_all, heal_all) in enumerate([*breaks, (servers.stop, servers.start)], 1):
            for change, name, state in ((break_all, LOST, "not_responding"), (heal_all, BACK, "available")):
                expected = dict.fromkeys(addresses, count)
                change()
                until(lambda name=name, expected=expected: announced(call, name) == expected, KNOWN_WITHIN_S)  # type: ignore[misc]
                until(lambda state=state: all_say(call, state), SETTLED_S)  # type: ignore[misc]
                assert announced(call, name) == expected
