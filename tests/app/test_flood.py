"""One account's flood of slow adds against a real process: others are served, the flood waits or is refused."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.model import Account, Role
from keystead.core.secret import Secret
from keystead.sealing import Argon2Hasher
from keystead.settings import Settings
from keystead.store import open_store
from tests.peers.asgi import assert_error
from tests.peers.fault_servers import black_hole
from tests.peers.keystead import create_key_manager, install_certificates

if TYPE_CHECKING:
    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Installation

AT_ONCE, WAITING = 4, 32
SLOW_DNS = """
import socket, time
def lookup(host, *arguments, real=socket.getaddrinfo, **options):
    return time.sleep(600) if host.endswith(".slow.example") else real(host, *arguments, **options)
socket.getaddrinfo = lookup
from keystead.cli.main import main
main()
"""
SECOND = ("second", "the second account's password")


async def make_account(installation: Installation, name: str, password: str) -> None:
    """Store an account of the role admin."""
    store, hasher = open_store(Settings(data=installation.data).database_url), Argon2Hasher()
    try:
        hashed = await hasher.hash(Secret(password))
        await store.write(lambda tx: tx.put_account(Account(name, Role.ADMIN, hashed)))
    finally:
        hasher.close()
        await store.close()


def test_a_flood_of_one_account_does_not_starve_another(
    installation: Installation, pki: Pki, sound_ports: list[int]
) -> None:
    """36 calls run or wait; the 37th gets 429 at once; another account's add is served as if nothing were."""
    asyncio.run(make_account(installation, *SECOND))
    with contextlib.ExitStack() as held:
        service = held.enter_context(installation.serving())
        call, other = held.enter_context(service.client()), held.enter_context(service.client(*SECOND))
        certificates = install_certificates(call, pki.client, pki.server_ca)
        path = create_key_manager(call, certificates, f"127.0.0.1:{sound_ports[0]}")
        own = create_key_manager(other, certificates, f"127.0.0.1:{sound_ports[0]}")
        holes = [held.enter_context(black_hole()) for _ in range(3)]
        slow = [{"server": f"127.0.0.1:{hole}", "timeout": 60} for hole in holes]
        flood = [held.enter_context(service.client()) for _ in range(AT_ONCE + WAITING)]
        for caller in flood:
            caller.send("POST", path, {"records": slow})
        time.sleep(0.5)
        started = time.monotonic()
        refused = call("POST", path, {"server": f"127.0.0.1:{sound_ports[1]}"})
        assert_error(refused, errors.TOO_MANY_REQUESTS)
        assert int(refused.headers["retry-after"]) > 0
        assert call("GET", path).status == 200
        servers = [{"server": f"127.0.0.1:{port}"} for port in sound_ports[1:4]]
        assert other("POST", own, {"records": servers}).status == 201
        assert time.monotonic() - started < 50
        service.signal(signal.SIGTERM)
        for caller in flood:  # not one of them had been answered
            assert_error(caller.receive(), errors.SHUTTING_DOWN)
        assert service.wait(60) == 0


def test_adds_beyond_the_bound_wait_their_turn(installation: Installation, pki: Pki, sound_ports: list[int]) -> None:
    """Ten slow adds of one account all get their answer, four at a time; none is refused for being many."""
    with contextlib.ExitStack() as held:
        service = held.enter_context(installation.serving())
        call = held.enter_context(service.client())
        certificates = install_certificates(call, pki.client, pki.server_ca)
        path = create_key_manager(call, certificates, f"127.0.0.1:{sound_ports[0]}")
        hole = held.enter_context(black_hole())
        callers = [held.enter_context(service.client()) for _ in range(10)]
        started = time.monotonic()
        for caller in callers:
            caller.send("POST", path, {"server": f"127.0.0.1:{hole}", "timeout": 1})
        for caller in callers:
            assert_error(caller.receive(), errors.NETWORK, target="server")
        assert time.monotonic() - started > 2.9


def test_lookups_that_hang_do_not_starve_another_account(
    installation: Installation, pki: Pki, sound_ports: list[int]
) -> None:
    """Calls that are over leave lookups behind that nothing can end; another account's names are resolved at once."""
    asyncio.run(make_account(installation, *SECOND))
    program = [sys.executable, "-c", SLOW_DNS, *installation.command("serve", "--listen", "127.0.0.1:0")[3:]]
    with contextlib.ExitStack() as held:
        service = held.enter_context(installation.serving(program))
        call, other = held.enter_context(service.client()), held.enter_context(service.client(*SECOND))
        certificates = install_certificates(call, pki.client, pki.server_ca)
        path = create_key_manager(call, certificates, f"127.0.0.1:{sound_ports[0]}")
        own = create_key_manager(other, certificates, f"127.0.0.1:{sound_ports[0]}")
        callers = [held.enter_context(service.client()) for _ in range(AT_ONCE)]
        for number, caller in enumerate(callers):
            records = [
                {
                    "server": f"{name}-{number}.slow.example",
                    "secondary_key_servers": [f"{name}-{number}-{second}.slow.example" for second in "xyz"],
                    "timeout": 1,
                }
                for name in "abc"
            ]
            caller.send("POST", path, {"records": records})
        for caller in callers:
            assert_error(caller.receive(), errors.NETWORK, target="records[0].server")
        started = time.monotonic()
        assert other("POST", own, {"server": f"localhost:{sound_ports[1]}"}).status == 201
        assert time.monotonic() - started < 50
        assert_error(
            call("POST", path, {"server": f"localhost:{sound_ports[1]}", "timeout": 1}), errors.NETWORK, "server"
        )
