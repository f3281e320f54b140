"""``/support/attention``: what needs somebody, and who is told what."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
import pytest

from keystead.app.conditions import BACKUP_FILE, NODE_FILE, last_backup, note_backup
from keystead.cli.main import cli
from keystead.core.keys.model import Orphan
from keystead.core.model import PeerCertificate, Role, State
from tests.api.keys import PLAIN, serve_keys
from tests.peers.certificates import client as certificate_of_client
from tests.peers.certificates import server_context
from tests.peers.documented import DocumentedClient
from tests.peers.fault_servers import FaultServer, tls
from tests.peers.keystead import PASSWORD
from tests.peers.kmip_answers import answering

if TYPE_CHECKING:
    from pathlib import Path

    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api
    from tests.api.keys import Served
    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group

PATH = "/api/support/attention"
TRIALS = ("warning", "setting", "egress_allow")
"""What the tests' own settings cause: key servers on loopback are allowed."""


@pytest.fixture
async def served(api: Api, pki: Pki, pykmip_group: Group) -> Served:
    """Two primaries of the cluster's key manager, with a key on both."""
    served = await serve_keys(api, pki, pykmip_group)
    await served.create("vol1")
    return served


async def items(client: DocumentedClient) -> list[dict[str, Any]]:
    """Return the items as they are shown."""
    answer = await client.get(f"{PATH}?fields=*", headers=PLAIN)
    assert answer.status == 200, answer.content
    found: list[dict[str, Any]] = answer.body["records"]
    return found


def in_short(found: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Return severity, subject and name of each."""
    return [(item["severity"], item["subject"], item["name"]) for item in found]


async def break_things(served: Served) -> None:
    """Have the first server be lost, the second hide its keys, an orphan be found, and destruction be held."""

    def work(tx: Transaction) -> None:
        first, second = tx.key_servers(served.manager)
        seen = {each.key_server: each for each in tx.observations([first.uuid, second.uuid])}
        lost = replace(seen[first.uuid], state=State.NOT_RESPONDING, stage="connect", reason="connection_refused")
        tx.put_observations([lost, replace(seen[second.uuid], keys_visible=False)], new=False)
        tx.put_orphans([Orphan(served.manager, first.uuid, "7", "keystead-x", datetime(2026, 1, 1, tzinfo=UTC))])
        incarnation = tx.incarnation()
        assert incarnation is not None
        tx.put_incarnation(replace(incarnation, destroys=False))

    await served.api.store.write(work)


async def test_nothing_but_the_settings(served: Served) -> None:
    """All is well: only the settings for trials are listed, for accounts of the cluster."""
    assert in_short(await items(served.api.admin)) == [TRIALS]
    assert in_short(await items(served.api.readonly)) == [TRIALS]
    assert await items(await served.vsadmin("vs1")) == []


async def test_what_is_wrong(served: Served, pykmip_group: Group) -> None:
    """The worst first, each with a sentence, advice, a command and a link to what it is about."""
    first, second = (server.address for server in pykmip_group.primaries[:2])
    await break_things(served)
    found = await items(served.api.admin)
    assert in_short(found) == [
        ("critical", "keys", "vol1"),
        ("critical", "key_server", first),
        ("critical", "key_server", second),
        ("warning", "destruction", "incarnation 1"),
        ("warning", "unclaimed_objects", "1 object"),
        TRIALS,
    ]
    assert found[1]["reason"] == "It is not available: stage connect, reason connection_refused."
    assert found[1]["advice"].startswith("The host answers but nothing listens on the port")
    assert found[1]["key_manager"] == {"uuid": served.manager}
    for item in found:
        linked = (await served.api.admin.get(f"{PATH}?name={item['name'].replace(' ', '%20')}")).body["records"][0]
        assert (await served.api.admin.get(linked["_links"]["self"]["href"])).status == 200


async def test_health_of_the_cluster(served: Served) -> None:
    """A warning does not count, and nothing is said unless it is asked for."""
    path = "/api/cluster?fields=health"
    assert (await served.api.admin.get(path, headers=PLAIN)).body == {"health": "ok"}
    await break_things(served)
    assert (await served.api.admin.get(path, headers=PLAIN)).body == {"health": "degraded"}
    assert "health" not in (await served.api.admin.get("/api/cluster")).body


@pytest.mark.parametrize("query", ["severity=warning", "max_records=3"])
async def test_filters_and_pages(served: Served, query: str) -> None:
    """The list is filtered and paged as others are, and keeps its order."""
    await break_things(served)
    every = in_short(await items(served.api.admin))
    answer = (await served.api.admin.get(f"{PATH}?{query}", headers=PLAIN)).body
    found = in_short(answer["records"])
    while link := answer.get("_links", {}).get("next"):
        answer = (await served.api.admin.get(link["href"])).body
        found += in_short(answer["records"])
    assert found == [item for item in every if "max" in query or item[0] == "warning"]


async def test_an_svm_sees_its_own(api: Api, pki: Pki, pykmip_group: Group) -> None:
    """Its lost server without the reason, and nothing of the cluster or of other SVMs."""
    svm = (await api.admin.post("/api/svm/svms?return_records=true", {"name": "vs1"})).body["records"][0]
    uuid = await api.key_manager(pki, [pykmip_group.primaries[0].address], svm={"uuid": svm["uuid"]})

    def lose(tx: Transaction) -> None:
        (server,) = tx.key_servers(uuid)
        (seen,) = tx.observations([server.uuid])
        tx.put_observations(
            [replace(seen, state=State.NOT_RESPONDING, stage="connect", reason="connection_refused")], new=False
        )
        admin = tx.account("admin")
        found = tx.svm_named("vs1")
        assert admin is not None
        assert found is not None
        tx.put_account(replace(admin, name="vs1-admin", role=Role.VSADMIN, svm=found))

    await api.store.write(lose)
    (item,) = await items(DocumentedClient(api.admin.app, "vs1-admin", PASSWORD))
    assert item["svm"]["name"] == "vs1"
    assert item["reason"] == "It is not available: stage connect."
    assert "advice" not in item
    (tunnelled,) = (await api.admin.get(f"{PATH}?fields=*", headers=PLAIN | {"x-dot-svm-name": "vs1"})).body["records"]
    assert tunnelled["reason"] == "It is not available: stage connect, reason connection_refused."


@pytest.mark.parametrize(
    ("reason", "told"), [("server_certificate_issuer_not_found", False), ("server_certificate_expired", True)]
)
async def test_an_svm_hears_of_certificates_that_its_cas_proved(
    api: Api, pki: Pki, pykmip_group: Group, reason: str, told: bool
) -> None:
    """In the list and in warnings. Its name may lead to another host of our network by then, which shows others."""
    svm = (await api.admin.post("/api/svm/svms?return_records=true", {"name": "vs1"})).body["records"][0]
    uuid = await api.key_manager(pki, [pykmip_group.primaries[0].address], svm={"uuid": svm["uuid"]})
    shown = PeerCertificate("internal host", "Internal CA", "1F", datetime.now(UTC) - timedelta(hours=1))

    def lose(tx: Transaction) -> None:
        (server,) = tx.key_servers(uuid)
        (seen,) = tx.observations([server.uuid])
        lost = replace(seen, state=State.NOT_RESPONDING, stage="tls", reason=reason, certificates=(shown,))
        tx.put_observations([lost], new=False)
        admin, found = tx.account("admin"), tx.svm_named("vs1")
        assert admin is not None
        tx.put_account(replace(admin, name="vs1-admin", role=Role.VSADMIN, svm=found))

    await api.store.write(lose)
    tenant = DocumentedClient(api.admin.app, "vs1-admin", PASSWORD)
    for client, expected in ((tenant, told), (api.admin, True)):
        assert any("internal host" in item["name"] + item["reason"] for item in await items(client)) is expected
        changed = await client.patch(f"/api/security/key-managers/{uuid}", {"policy": "p"})
        assert changed.status == 200, changed.content
        assert any("internal host" in each for each in changed.body.get("warnings", ())) is expected
        assert (b"Internal CA" in changed.content) is expected


async def test_each_command_is_one(served: Served) -> None:
    """Every command that an item names exists, with its options."""
    await break_things(served)
    for item in await items(served.api.admin):
        words = item["command"].split()[1:]
        command: click.Command = cli
        context = click.Context(cli)
        while isinstance(command, click.Group):
            found = command.get_command(context, words[0])
            assert found is not None, item["command"]
            command, words = found, words[1:]
        if "--help" not in words:
            command.make_context(command.name, words)


async def test_backups(served: Served, home: Path) -> None:
    """A data directory of a week without a backup is listed, until one is made; a backup is noted by its time."""
    old = (datetime.now(UTC) - timedelta(days=8)).timestamp()
    assert last_backup(home) is None
    os.utime(home / NODE_FILE, (old, old))
    (item,) = [item for item in await items(served.api.admin) if item["subject"] == "backup"]
    assert item["reason"] == "This node has made no backup."
    note_backup(home)
    assert [item for item in await items(served.api.admin) if item["subject"] == "backup"] == []
    os.utime(home / BACKUP_FILE, (old, old))
    (item,) = [item for item in await items(served.api.admin) if item["subject"] == "backup"]
    assert item["reason"].startswith("The last backup is of ")


async def test_a_certificate_that_ends_soon_is_accepted_with_a_warning(api: Api, pki: Pki) -> None:
    """Ours when it is installed and used, and the server's when the server is added; none for others."""
    ends: dict[str, Any] = {"starts": timedelta(days=-30), "ends": timedelta(days=2)}
    own = certificate_of_client(pki.client_ca, **ends)
    context = server_context(pki.server_ca.issue(**ends), pki.client_ca)
    body = {"type": "client", "public_certificate": own.certificate_pem, "private_key": own.key_pem, "name": "soon"}
    installed = await api.admin.post("/api/security/certificates", body)
    (warning,) = installed.body["warnings"]
    assert "It is installed here" in warning
    client = installed.headers["location"].rpartition("/")[2]
    server_ca = await api.certificate("server_ca", pki.server_ca.pem)
    with FaultServer(tls(context, answering())) as first, FaultServer(tls(context, answering())) as second:
        external = {
            "client_certificate": {"uuid": client},
            "server_ca_certificates": [{"uuid": server_ca}],
            "servers": [{"server": f"127.0.0.1:{first.port}"}],
        }
        made = await api.admin.post("/api/security/key-managers", {"external": external})
        assert (made.status, len(made.body["warnings"])) == (201, 2)
        path = made.headers["location"]
        added = await api.admin.post(f"{path}/key-servers", {"server": f"127.0.0.1:{second.port}"})
        assert (added.status, len(added.body["warnings"])) == (201, 3)
        assert any(f"The key server 127.0.0.1:{second.port} shows it" in each for each in added.body["warnings"])
        changed = await api.admin.patch(f"{path}/key-servers/127.0.0.1:{second.port}", {"timeout": 20})
        assert len(changed.body["warnings"]) == 3
    sound = await api.admin.post(
        "/api/security/certificates", {"type": "server_ca", "public_certificate": pki.client_ca.pem}
    )
    assert "warnings" not in sound.body
