"""Key servers at an address of this host: refused where they are new, used on where they are stored."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from keystead.api.app import create_app
from keystead.app.wiring import running
from keystead.core.model import Account, Role, State, Svm
from keystead.settings import Settings
from tests.api.conftest import Api
from tests.peers.certificates import server_context
from tests.peers.documented import DocumentedClient
from tests.peers.fault_servers import FaultServer, tls
from tests.peers.keystead import PASSWORD
from tests.peers.kmip_answers import answering
from tests.peers.own_address import OWN, needs_own

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from keystead.app.wiring import Running
    from keystead.core.model import Observation
    from keystead.service.ports.store import Transaction
    from tests.peers.asgi import Response
    from tests.peers.fixtures import Pki

pytestmark = needs_own

LOOPBACK = ("127.0.0.0/8",)
REFUSED = [("stage", "egress"), ("reason", "address_not_allowed"), ("rule", "own_address")]
KNOWN_WITHIN_S = 60


@dataclass
class Upgraded:
    """A service with the default rules for this host. ``path`` has two stored servers: at OWN, and on loopback."""

    api: Api
    open: Running
    path: str
    stored: str
    on_loopback: str
    other: FaultServer

    @property
    def new(self) -> str:
        """An address of this host at which a sound key server answers that is not stored."""
        return f"{OWN}:{self.other.port}"

    async def servers(self) -> list[str]:
        """Return the stored servers."""
        records: Any = (await self.api.admin.get(self.path)).body["records"]
        return [record["server"] for record in records]


def api_of(open_: Running) -> Api:
    """Return clients of running services."""
    app = create_app(open_.services)
    admin = DocumentedClient(app, "admin", PASSWORD)
    return Api(admin, admin, open_.services, open_.store)


@pytest.fixture
def peers(pki: Pki) -> Iterator[list[FaultServer]]:
    """Yield three sound key servers, each on all addresses of this host."""
    context = server_context(pki.server_ca.issue(("127.0.0.1", OWN)), pki.client_ca)
    with (
        FaultServer(tls(context, answering()), "0.0.0.0") as first,  # noqa: S104
        FaultServer(tls(context, answering()), "0.0.0.0") as second,  # noqa: S104
        FaultServer(tls(context, answering()), "0.0.0.0") as third,  # noqa: S104
    ):
        yield [first, second, third]


@pytest.fixture
async def upgraded(home: Path, pki: Pki, peers: list[FaultServer]) -> AsyncIterator[Upgraded]:
    """Yield a service that has a key server at an own address from a time when this was allowed."""
    stored, on_loopback = f"{OWN}:{peers[0].port}", f"127.0.0.1:{peers[1].port}"
    async with running(Settings(data=home, egress_allow=(*LOOPBACK, OWN))) as open_:
        uuid = await api_of(open_).key_manager(pki, [stored, on_loopback])
    path = f"/api/security/key-managers/{uuid}/key-servers"
    async with running(Settings(data=home, egress_allow=LOOPBACK, monitor_interval=1)) as open_:
        yield Upgraded(api_of(open_), open_, path, stored, on_loopback, peers[2])


def told(answer: Response) -> list[tuple[str, str]]:
    """Return the arguments of a refusal after the server."""
    assert (answer.status, answer.body["error"]["code"]) == (400, "66060341"), answer.content
    arguments = [(each["code"], each["message"]) for each in answer.body["error"]["arguments"]]
    assert arguments[0][0] == "server"
    return arguments[1:]


async def test_a_new_server_is_refused(upgraded: Upgraded) -> None:
    """POST names the rule and stores nothing; the address is not connected to. A dry run says the same."""
    before = await upgraded.servers()
    answer = await upgraded.api.admin.post(upgraded.path, {"server": upgraded.new})
    assert told(answer) == REFUSED
    tried = await upgraded.api.admin.post(f"{upgraded.path}?dry_run=true", {"server": upgraded.new})
    (record,) = tried.body["records"]
    assert (record["accepted"], record["reason"], record["rule"]) == (False, "address_not_allowed", "own_address")
    assert upgraded.other.accepted == 0
    assert await upgraded.servers() == before


async def test_a_new_secondary_is_refused(upgraded: Upgraded) -> None:
    """In POST and in PATCH, and in a dry run of PATCH."""
    secondary = {"secondary_key_servers": [OWN]}
    new = {"server": f"127.0.0.1:{upgraded.other.port}"}
    assert told(await upgraded.api.admin.post(upgraded.path, new | secondary)) == REFUSED
    one = f"{upgraded.path}/{quote(upgraded.on_loopback, safe='')}"
    assert told(await upgraded.api.admin.patch(one, secondary)) == REFUSED
    (record,) = (await upgraded.api.admin.patch(f"{one}?dry_run=true", secondary)).body["records"]
    assert (record["failed_server"].partition(":")[0], record["rule"]) == (OWN, "own_address")


async def test_a_stored_server_does_not_move_to_another_port_of_this_host(upgraded: Upgraded) -> None:
    """Another port is another address, at which another service of this host may listen."""
    one = f"{upgraded.path}/{quote(upgraded.stored, safe='')}"
    assert told(await upgraded.api.admin.patch(one, {"port": upgraded.other.port})) == REFUSED
    assert upgraded.other.accepted == 0


async def test_a_stored_server_is_changed(upgraded: Upgraded) -> None:
    """A change that keeps the address is probed and stored, and its dry run is accepted."""
    one = f"{upgraded.path}/{quote(upgraded.stored, safe='')}"
    (record,) = (await upgraded.api.admin.patch(f"{one}?dry_run=true", {"timeout": 30})).body["records"]
    assert record["accepted"] is True
    answer = await upgraded.api.admin.patch(one, {"username": "u", "password": "a password"})
    assert answer.status == 200, answer.content


async def test_a_stored_server_is_watched(upgraded: Upgraded) -> None:
    """The monitor connects to it, and finds it available."""
    upgraded.open.monitor.start()
    async with asyncio.timeout(KNOWN_WITHIN_S):
        while upgraded.open.monitor.connected != 2:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)

    def found(tx: Transaction) -> tuple[Observation, ...]:
        (node,) = tx.nodes()
        return tx.observations_of_node(node.uuid)

    assert {each.state for each in await upgraded.open.store.read(found)} == {State.AVAILABLE}


async def test_an_account_of_an_svm_hears_of_egress_only(
    upgraded: Upgraded, pki: Pki, peers: list[FaultServer]
) -> None:
    """Neither reason nor rule, in an error and in a dry run, and nothing in the audit record."""
    svm = Svm("30000000-0000-4000-8000-000000000003", "vs1")

    def add(tx: Transaction) -> None:
        admin = tx.account("admin")
        assert admin is not None
        tx.add_svm(svm)
        tx.put_account(Account("vs1-admin", Role.VSADMIN, admin.password_hash, svm=svm))

    await upgraded.open.store.write(add)
    client = await upgraded.api.certificate(
        "client", pki.client.certificate_pem, pki.client.key_pem, svm={"name": "vs1"}
    )
    ca = await upgraded.api.certificate("server_ca", pki.server_ca.pem, svm={"name": "vs1"})
    external = {
        "client_certificate": {"uuid": client},
        "server_ca_certificates": [{"uuid": ca}],
        "servers": [{"server": f"127.0.0.1:{peers[0].port}"}],
    }
    made = await upgraded.api.admin.post("/api/security/key-managers", {"external": external, "svm": {"name": "vs1"}})
    assert made.status == 201, made.content
    path = f"/api/security/key-managers/{made.headers['location'].rpartition('/')[2]}/key-servers"
    tenant = DocumentedClient(upgraded.api.admin.app, "vs1-admin", PASSWORD)
    assert told(await tenant.post(path, {"server": upgraded.new})) == [("stage", "egress")]
    (record,) = (await tenant.post(f"{path}?dry_run=true", {"server": upgraded.new})).body["records"]
    assert record == {"server": upgraded.new, "accepted": False, "code": "66060341", "stage": "egress"}
    assert told(await upgraded.api.admin.post(path, {"server": upgraded.new})) == REFUSED
    recorded = [each for each in await upgraded.api.audit() if each.svm == "vs1"]
    assert recorded
    assert not any(
        word in f"{each.message} {each.input}" for each in recorded for word in ("own_address", "not_allowed")
    )
