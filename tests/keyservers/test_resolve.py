"""The resolver, with the system's lookup replaced through its argument."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from keystead.keyservers.egress import OWN, EgressRules
from keystead.keyservers.resolve import AddressNotAllowedError, NameNotResolvedError, Resolver
from keystead.kmip.transport.connect import Address


def answers(*addresses: str) -> Any:
    """Return a lookup that answers with these addresses."""

    def getaddrinfo(_host: str, port: int, **_: Any) -> list[Any]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]

    return getaddrinfo


def fails(error: Exception) -> Any:
    """Return a lookup that fails."""

    def getaddrinfo(*_: Any, **__: Any) -> Any:
        raise error

    return getaddrinfo


async def resolve(resolver: Resolver, host: str) -> tuple[Address, ...]:
    """Look a host up and check the answer, as a probe does."""
    addresses = await resolver.look_up(host, 5696)
    resolver.check(addresses)
    return addresses


async def test_all_addresses_are_returned_in_order() -> None:
    """The resolver's order is kept, and repeated answers are dropped."""
    resolver = Resolver(EgressRules(), getaddrinfo=answers("2001:db8::1", "10.0.0.1", "10.0.0.1"))
    assert await resolve(resolver, "kms.example") == (
        Address(socket.AF_INET6, ("2001:db8::1", 5696, 0, 0)),
        Address(socket.AF_INET, ("10.0.0.1", 5696)),
    )


@pytest.mark.parametrize(
    ("host", "family"),
    [("10.0.0.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6), ("2001:DB8:0::1", socket.AF_INET6)],
)
async def test_an_address_is_not_looked_up(host: str, family: int) -> None:
    """A literal address needs no DNS."""
    resolver = Resolver(EgressRules(), getaddrinfo=fails(AssertionError()))
    (address,) = await resolve(resolver, host)
    assert address.family == family


@pytest.mark.parametrize(
    "addresses",
    [
        ("127.0.0.1",),
        ("10.0.0.1", "127.0.0.1"),
        ("::ffff:169.254.169.254", "10.0.0.1"),
        ("10.0.0.1", "64:ff9b::7f00:1"),
    ],
)
async def test_one_forbidden_address_refuses_the_answer(addresses: tuple[str, ...]) -> None:
    """An answer that mixes allowed and forbidden addresses is refused as a whole."""
    with pytest.raises(AddressNotAllowedError):
        await resolve(Resolver(EgressRules(), getaddrinfo=answers(*addresses)), "kms.example")


@pytest.mark.parametrize("addresses", [("10.0.0.5",), ("10.0.0.1", "10.0.0.5")])
async def test_an_own_address_is_refused_for_a_new_server(addresses: tuple[str, ...]) -> None:
    """A new server may not have this host's address, and the error names the rule. A stored server may."""
    resolver = Resolver(EgressRules(), getaddrinfo=answers(*addresses), is_own=lambda each: str(each) == "10.0.0.5")
    found = await resolver.look_up("kms.example", 5696)
    resolver.check(found)
    with pytest.raises(AddressNotAllowedError) as caught:
        resolver.check(found, new=True)
    assert caught.value.rule is OWN


async def test_a_forbidden_literal_is_refused() -> None:
    """A forbidden address is refused as a literal, too."""
    with pytest.raises(AddressNotAllowedError):
        await resolve(Resolver(EgressRules()), "127.0.0.1")


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_NONAME, "no such host"),
        socket.gaierror(socket.EAI_AGAIN, "temporary"),
        UnicodeError("label too long"),
        OSError("no resolver"),
    ],
    ids=["no such host", "temporary", "label", "system"],
)
async def test_what_cannot_be_resolved(error: Exception) -> None:
    """Each way in which a lookup fails is one error."""
    with pytest.raises(NameNotResolvedError) as caught:
        await resolve(Resolver(EgressRules(), getaddrinfo=fails(error)), "kms.example")
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 64 + ".example", "a..b"])
async def test_the_real_lookup(host: str) -> None:
    """A name under .invalid (RFC 2606) does not exist; malformed labels are no crash."""
    with pytest.raises(NameNotResolvedError):
        await resolve(Resolver(EgressRules()), host)


async def test_an_answer_without_internet_addresses() -> None:
    """An answer without a usable address is an error."""
    with pytest.raises(NameNotResolvedError):
        await resolve(Resolver(EgressRules(), getaddrinfo=answers()), "kms.example")


async def test_the_real_lookup_of_localhost() -> None:
    """The system's own resolver is asked in the same way."""
    rules = EgressRules.parse(allow=["127.0.0.0/8", "::1"])
    assert await resolve(Resolver(rules), "localhost")


async def test_a_hanging_lookup_obeys_the_callers_deadline() -> None:
    """The caller leaves at its deadline; a late answer is dropped, and the place is free again."""
    release = threading.Event()

    def hang(*_: Any, **__: Any) -> Any:
        release.wait(60)
        return answers("10.0.0.1")("", 1)

    resolver = Resolver(EgressRules(), lookups=1, getaddrinfo=hang)
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(resolve(resolver, "slow.example"), 0.1)
    with pytest.raises(TimeoutError):  # the only place is taken: waiting for it obeys the deadline too
        await asyncio.wait_for(resolve(resolver, "other.example"), 0.1)
    assert time.monotonic() - start < 30
    release.set()
    async with asyncio.timeout(60):
        assert await resolve(resolver, "third.example")


def test_a_hanging_lookup_does_not_delay_the_end_of_the_process() -> None:
    """The process ends although the system's resolver never answers."""
    code = """
import asyncio, time
from keystead.keyservers.egress import EgressRules
from keystead.keyservers.resolve import Resolver

async def main():
    resolver = Resolver(EgressRules(), getaddrinfo=lambda *_, **__: time.sleep(300))
    try:
        await asyncio.wait_for(resolver.look_up("slow.example", 1), 0.05)
    except TimeoutError:
        print("left")

asyncio.run(main())
"""
    start = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert ended.stdout == "left\n"
    assert not ended.stderr
    assert time.monotonic() - start < 100
