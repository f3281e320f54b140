"""``kill -9`` of a real ``serve`` under load: what was answered is stored, and nothing is stored by half."""

from __future__ import annotations

import asyncio
import http.client
import random
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from keystead.app.audit import verify_audit
from keystead.core.model import KeyManager, Svm
from keystead.settings import Settings
from keystead.store import open_store
from tests.peers.keystead import Certificates, Client, Installation, Service, install_certificates

if TYPE_CHECKING:
    from pathlib import Path

    from keystead.service.ports.store import Transaction
    from tests.peers.fixtures import Pki

CALLERS, CALLS = 3, 12
MOST_ANSWERS = 20


@dataclass
class Round:
    """What one life of the service was asked: a key manager for each call, and the calls that got a 201."""

    key_managers: list[list[str]]
    answered: set[str] = field(default_factory=set)

    @classmethod
    def prepared(cls, settings: Settings, certificates: Certificates) -> Round:
        """Make the key managers through the store."""
        certificate, cas = certificates.client, (certificates.server_ca,)
        svms = [Svm(str(uuid4()), uuid4().hex) for _ in range(CALLERS * CALLS)]
        managers = [
            KeyManager(str(uuid4()), svm, enabled=True, client_certificate=certificate, server_ca_certificates=cas)
            for svm in svms
        ]

        def work(tx: Transaction) -> None:
            for svm, manager in zip(svms, managers, strict=True):
                tx.add_svm(svm)
                tx.add_key_manager(manager)

        async def write() -> None:
            store = open_store(settings.database_url)
            await store.write(work)
            await store.close()

        asyncio.run(write())
        uuids = [manager.uuid for manager in managers]
        return cls([uuids[start::CALLERS] for start in range(CALLERS)])

    def live(self, service: Service, body: Any, chance: random.Random) -> None:
        """Put the service under load, and kill it in the middle: after some answers and a moment more."""
        callers = [service.client() for _ in range(CALLERS)]
        threads = [
            threading.Thread(target=self._add, args=(caller, uuids, body))
            for caller, uuids in zip(callers, self.key_managers, strict=True)
        ]
        with ExitStack() as stack:
            for caller in callers:
                stack.enter_context(caller)
                assert caller("GET", "/cluster").status == 200
            for thread in threads:
                thread.start()
            answers = chance.randrange(MOST_ANSWERS)
            while len(self.answered) < answers and any(thread.is_alive() for thread in threads):
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.03))
            service.kill()
            for thread in threads:
                thread.join()

    def _add(self, call: Client, uuids: list[str], body: Any) -> None:
        for uuid in uuids:
            try:
                answer = call("POST", f"/security/key-managers/{uuid}/key-servers", body)
            except (OSError, http.client.HTTPException):  # killed
                return
            assert answer.status == 201, answer.content
            self.answered.add(uuid)

    def check(self, settings: Settings, body: Any) -> int:
        """Assert all or none, records, and that answers were kept; return how many calls left something."""

        async def read() -> tuple[dict[str, int], Counter[str]]:
            store = open_store(settings.database_url)
            uuids = [uuid for of_one in self.key_managers for uuid in of_one]
            servers = {uuid: len(await store.read(lambda tx, uuid=uuid: tx.key_servers(uuid))) for uuid in uuids}  # type: ignore[misc]
            (node,) = await store.read(lambda tx: tx.nodes())
            records = await store.read(lambda tx: tx.audit_records(node.uuid, 1, 100_000))
            await store.close()
            return servers, Counter(record.path.split("/")[-2] for record in records if record.state == "success")

        servers, records = asyncio.run(read())
        stored = {uuid for uuid, count in servers.items() if count}
        assert {servers[uuid] for uuid in stored} <= {len(body["records"])}
        assert self.answered <= stored
        assert {uuid: records[uuid] for uuid in servers} == {uuid: int(uuid in stored) for uuid in servers}
        return len(stored)


def check_rounds(installation: Installation, pki: Pki, ports: list[int], rounds: int) -> None:
    """Serve, load, kill, check; the next round serves what the last one left."""
    settings = Settings(data=installation.data, database=installation.database)
    body = {
        "records": [
            {"server": f"127.0.0.1:{ports[0]}", "username": "keystead", "password": "a password of a key server"},
            {"server": f"127.0.0.1:{ports[1]}", "secondary_key_servers": ["127.0.0.2"]},
        ]
    }
    chance, stored = random.Random(), 0  # noqa: S311 - when it is killed is not to be guessed, only to vary
    with installation.serving() as service, service.client() as call:
        certificates = install_certificates(call, pki.client, pki.server_ca)
    for _ in range(rounds):
        load = Round.prepared(settings, certificates)
        with installation.serving() as service:
            load.live(service, body, chance)
        stored += load.check(settings, body)
        (line,), intact = verify_audit(settings)
        assert intact, line
    assert 0 < stored < rounds * CALLERS * CALLS


def test_a_service_killed_under_load(installation: Installation, pki: Pki, sound_ports: list[int]) -> None:
    """Each call's servers are all there with one record, or none; a 201 was never in vain; the chain holds."""
    check_rounds(installation, pki, sound_ports, 3)


@pytest.mark.long
@pytest.mark.parametrize(("engine", "rounds"), [("sqlite", 100), ("postgresql", 40)])
def test_a_service_killed_under_load_a_hundred_times(
    request: pytest.FixtureRequest, tmp_path: Path, pki: Pki, sound_ports: list[int], engine: str, rounds: int
) -> None:
    """The same, on both engines."""
    with ExitStack() as stack:
        postgresql = engine == "postgresql"
        url = stack.enter_context(request.getfixturevalue("postgres").database()) if postgresql else ""
        check_rounds(Installation(tmp_path / "data", url).init(), pki, sound_ports, rounds)
