"""Every fault of a test's key server: what Keystead's probe says of it, over real TLS and KMIP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from keystead.core.probing import ProbeTarget, TlsIdentity
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from keystead.keyservers.egress import EgressRules
from keystead.keyservers.failures import TABLE
from keystead.keyservers.gateway import Gateway
from keystead.testing.faults import FAULTS, SLOW_S, named
from keystead.testing.key_servers import KeyServers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystead.core.probing import ProbeResult
    from keystead.testing.key_servers import KeyServer


@pytest.fixture(scope="module")
def shared() -> Iterator[KeyServers]:
    """Run two key servers for this module."""
    with KeyServers(2) as servers:
        yield servers


@pytest.fixture
def servers(shared: KeyServers) -> Iterator[KeyServers]:
    """Two sound key servers, healed afterwards."""
    yield shared
    shared.heal()


def probe(servers: KeyServers, server: KeyServer, *, timeout_s: float = 30) -> ProbeResult:
    """Probe one of them as Keystead does when it is added."""
    identity = TlsIdentity(servers.client.certificate_pem, Secret(servers.client.key_pem.encode()), (), servers.cas)
    target = ProbeTarget(ServerAddress.parse(server.address), timeout_s)
    (result,) = asyncio.run(Gateway(EgressRules.parse(["127.0.0.0/8"])).probe_all([target], identity, timeout_s))
    return result


@pytest.mark.parametrize("word", [word for word in FAULTS if word != "slow"])
def test_each_fault_has_its_reason_and_ends(word: str, servers: KeyServers) -> None:
    """The server is refused for the reason that the table names; the other one is sound; healed, so is this one."""
    server, other = servers
    server.break_(word)
    broken = probe(servers, server, timeout_s=1 if word == "silent" else 30)
    assert (broken.accepted, broken.reason) == (FAULTS[word].reason is None, FAULTS[word].reason)
    assert probe(servers, other).accepted
    server.heal()
    assert probe(servers, server).accepted


def test_a_fault_replaces_the_one_before(servers: KeyServers) -> None:
    """Two faults are never mixed. The slow server is accepted, late."""
    server, other = servers
    server.break_("expired")
    server.kill()
    server.break_("slow")
    slow = probe(servers, server)
    assert slow.accepted
    assert sum(stage.elapsed_ms for stage in slow.stages if stage.elapsed_ms) >= SLOW_S * 1000
    assert probe(servers, other).accepted
    server.heal()
    assert probe(servers, server, timeout_s=SLOW_S).accepted


def test_reasons_are_words_too(servers: KeyServers) -> None:
    """A fault may be asked for by what Keystead will say of it, and these are words of Keystead's own table."""
    servers[0].break_("server_certificate_expired")
    assert probe(servers, servers[0]).reason == "server_certificate_expired"
    assert {fault.reason for fault in FAULTS.values()} - {None} <= {row.reason for row in TABLE}


def test_an_unknown_fault_is_refused_and_changes_nothing(servers: KeyServers) -> None:
    servers[0].break_("expired")
    with pytest.raises(ValueError, match=r"no fault 'exploded'; there are refused, .*expired"):
        servers[0].break_("exploded")
    assert probe(servers, servers[0]).reason == "server_certificate_expired"
    with pytest.raises(ValueError, match="no key server 'ks3'; there are ks1, ks2"):
        servers.named("ks3")


def test_each_server_has_a_ca_of_its_own_or_all_have_one() -> None:
    """With one of the CAs installed, only its server is believed."""
    with KeyServers(2) as servers:
        assert len(set(servers.cas)) == 2
    with KeyServers(2, one_ca=True) as servers:
        assert len(servers.cas) == 1
        assert all(probe(servers, server).accepted for server in servers)


def test_addresses_stay() -> None:
    """Through a kill as well, and nobody else gets the port meanwhile."""
    with KeyServers(1) as servers:
        address = servers[0].address
        servers[0].kill()
        servers[0].kill()
        assert probe(servers, servers[0]).reason == "connection_refused"
        servers[0].heal()
        servers[0].heal()
        assert servers[0].address == address
        assert probe(servers, servers[0]).accepted


def test_named_finds_all_words() -> None:
    assert [named(word) for word in FAULTS] == list(FAULTS.values())
