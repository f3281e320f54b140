"""Which addresses are this host's: the real kernel is asked."""

from __future__ import annotations

import ipaddress

import pytest

from keystead.keyservers.egress import EgressRules
from keystead.keyservers.objects import Objects
from keystead.keyservers.own_addresses import is_own
from keystead.kmip.server.profile import PLAIN
from keystead.kmip.server.responder import Responder
from keystead.kmip.testing.server import KeyServer
from tests.keyservers.cases import CLIENT_CA, SERVER_CA
from tests.keyservers.reaching import MATERIAL, endpoint, put, read
from tests.peers.certificates import server_context
from tests.peers.own_address import OWN, needs_own

pytestmark = needs_own

LOOPBACK = {4: ipaddress.ip_address("127.0.0.1"), 6: ipaddress.ip_address("::1")}
"""Addresses that a socket can always be bound to, as all can with ``ip_nonlocal_bind``."""


def test_an_address_of_an_interface() -> None:
    """The address of an interface is this host's, also where a socket can be bound to foreign addresses."""
    assert is_own(ipaddress.ip_address(OWN))
    assert is_own(ipaddress.ip_address(OWN), LOOPBACK)


@pytest.mark.parametrize("text", ["198.51.100.7", "240.0.0.1", "2001:db8::7"])
def test_an_address_of_another_host(text: str) -> None:
    """No interface has the addresses of documentation (RFC 5737, RFC 3849) or of class E."""
    assert not is_own(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["127.0.0.1", "127.1.2.3", "::1"])
def test_loopback_has_a_rule_of_its_own(text: str) -> None:
    """So a full list may name it without an exception."""
    assert not is_own(ipaddress.ip_address(text))


@pytest.mark.allow_hosts(["255.255.255.255"])
def test_a_bound_socket_may_say_nothing() -> None:
    """A socket can be bound to the broadcast address, as to any with ``ip_nonlocal_bind``, and no way begins there."""
    assert not is_own(ipaddress.ip_address("255.255.255.255"), LOOPBACK)


async def test_keys_on_a_stored_server_of_this_host() -> None:
    """They are written and read, although a new key server may not have the address."""
    rules = EgressRules.parse(allow=["127.0.0.0/8"])
    assert rules.refusal(OWN, is_own) is not None
    context = server_context(SERVER_CA.issue((OWN,)), CLIENT_CA)
    async with KeyServer(context, Responder(profile=PLAIN), host=OWN) as running:
        made, way = Objects(rules), endpoint(running.port, host=OWN)
        assert await read(made, way, await put(made, way)) == MATERIAL
        await made.close()
