"""What the tests of objects on key servers are made with: a scripted server, and how it is reached."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.secret import Secret
from keystead.keyservers.objects import Objects
from keystead.kmip.profiles import PLAIN
from keystead.kmip.responder import Responder
from keystead.kmip.testing import KeyServer
from keystead.service.key_ports import Fault, KeyServerFault, Reach
from tests.keyservers.cases import CLIENT_CA, LOOPBACK, SERVER, identity, target
from tests.peers.certificates import server_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from keystead.core.probing import TlsIdentity
    from keystead.kmip.profiles import Profile
    from keystead.service.key_ports import KeyObjects

TIMEOUT_S = 20.0
"""Longer than anything that is not meant to run out of time."""

SHORT_S = 0.2

MATERIAL = Secret(bytes(range(64)))


def reach(port: int, ours: TlsIdentity | None = None, host: str = "127.0.0.1", **more: Any) -> Reach:
    """The way to a server on loopback."""
    wanted = target(port, host, **more)
    return Reach("a-key-server", "", wanted.server, wanted, ours or identity())


@contextlib.asynccontextmanager
async def objects(**options: Any) -> AsyncIterator[KeyObjects]:
    """Objects that may connect to loopback; closed afterwards."""
    made = Objects(LOOPBACK, **options)
    try:
        yield made
    finally:
        await made.close()


@contextlib.asynccontextmanager
async def server(profile: Profile = PLAIN, **options: Any) -> AsyncIterator[KeyServer]:
    """A scripted server that takes our identity."""
    context = server_context(SERVER, CLIENT_CA)
    async with KeyServer(context, Responder(profile=profile, **options)) as running:
        yield running


@contextlib.contextmanager
def fails(fault: Fault, reason: str) -> Iterator[None]:
    """Within, exactly this must be raised, and its text must be made of those two words."""
    with pytest.raises(KeyServerFault) as caught:
        yield
    assert (caught.value.fault, caught.value.reason) == (fault, reason)
    assert str(caught.value) == f"{fault}: {reason}"
