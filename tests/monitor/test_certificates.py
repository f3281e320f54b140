"""Certificates in use: they are announced once before they expire, and shown in the metrics."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from prometheus_client.parser import text_string_to_metric_families

from keystead.app import wiring
from keystead.core.certificates.certificates import NewCertificate
from keystead.core.key_managers import CertificateName, NewKeyManager
from keystead.core.key_servers import NewKeyServer
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from tests.monitor.conftest import CALL, Node, watching
from tests.peers import fault_servers as fault
from tests.peers import kmip_answers as kmip
from tests.peers.certificates import Authority, server_context
from tests.service.worlds.keys import ShiftedClock

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.peers.fixtures import Pki

YEAR = timedelta(days=365)
OFTEN: dict[str, Any] = {"monitor_probe_interval": 0.5}
"""Certificates are announced as often as servers are probed."""


async def announced(node: Node, count: int) -> list[dict[str, str]]:
    """Wait for so many events of certificates; return their parameters, with the event's name."""
    async with asyncio.timeout(60):
        while len(found := await node.events("mgmtgwd.")) < count:  # noqa: ASYNC110 - the database is polled
            await asyncio.sleep(0.05)
    return [dict(event.parameters) | {"event": event.name.rpartition(".")[2]} for event in found]


async def next_announcement(node: Node) -> None:
    """Wait until the monitor announces once more what there is to announce."""
    watching_ = node.open.monitor._watching
    announce, ended = watching_.announce_certificates, asyncio.Event()

    async def announce_and_tell(*arguments: Any) -> Any:
        result = await announce(*arguments)
        ended.set()
        return result

    with patch.object(watching_, "announce_certificates", announce_and_tell):
        async with asyncio.timeout(60):
            await ended.wait()


async def test_certificates_that_expire_soon_are_announced_once(
    node_home: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's certificate is announced once, also after a restart, and again as expired.

    Certificates that last are not.
    """
    clock = ShiftedClock()
    monkeypatch.setattr(wiring, "SystemClock", lambda: clock)
    server = pki.server_ca.issue(ends=timedelta(minutes=5))
    context = server_context(server, client_ca=pki.client_ca)
    with fault.FaultServer(fault.tls(context, kmip.answering())) as running:
        address = f"127.0.0.1:{running.port}"
        async with watching(node_home, pki, **OFTEN) as node:
            await node.key_manager(address)
            (leaf,) = await announced(node, 1)
            assert leaf == {
                "event": "expiring",
                "common_name": "key server",
                "serial_number": f"{server.certificate.serial_number:X}",
                "certificate_authority": "Key Server CA",
                "type": "server",
                "vserver": "keystead",
                "key_server": address,
                "days": "1",
            }
            await next_announcement(node)
            assert len(await node.events("mgmtgwd.")) == 1
            clock.advance(300)
            expired = (await announced(node, 2))[1]
            assert (expired["event"], expired["serial_number"]) == ("expired", leaf["serial_number"])
        async with watching(node_home, pki, **OFTEN) as node:
            await node.expect_connected()
            await next_announcement(node)
            assert len(await node.events("mgmtgwd.")) == 2


async def test_what_no_ca_proved_is_announced_to_the_cluster(node_home: Path, pki: Pki) -> None:
    """The name of a server may lead to another host by then: an SVM, who chose it, hears of its own server's only."""
    soon: dict[str, Any] = {"starts": -30 * timedelta(days=1), "ends": 2 * timedelta(days=1)}
    contexts = [server_context(pki.server_ca.issue(**soon), client_ca=pki.client_ca)]

    def serve(connection: Any) -> None:
        fault.tls(contexts[-1], kmip.answering())(connection)

    with fault.FaultServer(serve) as running:
        async with watching(node_home, pki, **OFTEN) as node:
            svm = await node.open.services.svms.create(CALL, "vs1")
            client, ca = await node.certificates()
            asked = (NewKeyServer(ServerAddress.parse(f"127.0.0.1:{running.port}")),)
            new = NewKeyManager(svm.uuid, None, CertificateName(client), (CertificateName(ca),), asked)
            await node.open.services.key_managers.create(CALL, new)
            await announced(node, 1)
            elsewhere = Authority("Elsewhere CA").issue(common_name="internal host", **soon)
            contexts.append(server_context(elsewhere, client_ca=pki.client_ca))
            names = [each["common_name"] for each in await announced(node, 2)]
            own, other = await node.events("mgmtgwd.")
    assert names == ["key server", "internal host"]
    assert (own.svm, other.svm) == (svm, None)


async def test_certificates_that_last_are_not_announced(node_home: Path, pki: Pki) -> None:
    """Certificates valid for more than thirty days are not announced; the metrics show the remaining days."""
    del pki
    server_ca, client_ca = Authority("Lasting CA", ends=YEAR), Authority("Lasting Client CA", ends=YEAR)
    own = client_ca.issue((), common_name="keystead", purpose="client", ends=100 * timedelta(days=1))
    context = server_context(server_ca.issue(ends=50 * timedelta(days=1)), client_ca=client_ca)
    with fault.FaultServer(fault.tls(context, kmip.answering())) as running:
        address = f"127.0.0.1:{running.port}"
        async with watching(node_home, None, **OFTEN) as node:  # type: ignore[arg-type]
            install = node.open.services.certificates.install
            key = Secret(own.key_pem)
            client = await install(CALL, NewCertificate("client", own.certificate_pem, name="c", private_key=key))
            ca = await install(CALL, NewCertificate("server_ca", server_ca.pem, name="ca"))
            asked = (NewKeyServer(ServerAddress.parse(address)),)
            new = NewKeyManager(None, None, CertificateName(client.uuid), (CertificateName(ca.uuid),), asked)
            await node.open.services.key_managers.create(CALL, new)
            await node.expect_connected()
            await next_announcement(node)
            assert await node.events("") == []
            text = (await node.open.services.health.telemetry.exposition())[0].decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    now = datetime.now(UTC).timestamp()
    ends = families["keystead_certificate_expiry_timestamp_seconds"].samples
    ours = {each.labels["type"]: round((each.value - now) / 86_400) for each in ends}
    assert ours == {"client": 100, "server_ca": 365}
    (shown,) = families["keystead_key_server_certificate_expiry_timestamp_seconds"].samples
    assert round((shown.value - now) / 86_400) == 50
    assert shown.labels["address"] == shown.labels["key_server"] == address
    assert shown.labels["role"] == "primary"
    (state,) = families["keystead_key_server_available"].samples
    assert (state.value, state.labels) == (1, shown.labels)
