"""Key servers that fail in every way that is asked for, and into which a test looks from outside.

Both kinds have one face: the library's own servers (:class:`Scripted`), which are quick and can do anything, and real
ones (:class:`Real`). A test asks whether a server was well since some moment: its ``faults`` count what began or ended.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from keystead.core.keys.names import parse
from keystead.keyservers.forms import material_of
from keystead.kmip.server.profile import PLAIN
from keystead.kmip.server.responder import Responder
from keystead.kmip.testing.server import KeyServer as KmipServer
from keystead.kmip.testing.server import close, delay, reset, silence, truncate
from keystead.kmip.ttlv.enums import Operation, ResultReason
from tests.peers.processes import kept_port

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping
    from random import Random

    from keystead.kmip.messages.messages import RequestMessage, ResponseMessage
    from keystead.kmip.server.profile import Profile
    from keystead.kmip.server.storage import Store
    from keystead.kmip.testing.server import Exchange, Fault
    from tests.peers.groups import Server

LATE_S: Final = 0.3
SLOW_S: Final = 0.08
ALL: Final = tuple(Operation)
SECONDARY: Final = "::1"
"""A secondary's host, as tests may connect to: its primary's port, on the other loopback address."""


@dataclass(frozen=True)
class Held:
    """An object that is there: its identifier, its names (of ours), its bytes."""

    identifier: str
    names: tuple[str, ...]
    material: bytes | None = field(repr=False)


class Watched(Responder):
    """A server that tells the names of each object that it is asked to destroy, before it does."""

    def __init__(self, witness: Callable[[str], None], profile: Profile = PLAIN, store: Store | None = None) -> None:
        super().__init__(profile=profile, store=store)
        self._witness = witness

    def respond(self, request: RequestMessage, client: str | None = None) -> ResponseMessage:
        """Answer, and tell."""
        for item in request.batch_item:
            payload: Any = item.request_payload
            if item.operation == Operation.DESTROY and payload.unique_identifier in self.objects:
                for name in _ours(self.objects[payload.unique_identifier].names):
                    self._witness(name)
        return super().respond(request, client)


class Place:
    """What both kinds have in common. ``spoiled`` are objects that were lost or went bad here."""

    kinds: ClassVar[Mapping[str, Callable[[Any], Awaitable[None]]]]
    """What it can suffer from."""

    def __init__(self) -> None:
        self.secondaries: tuple[str, ...] = ()
        self.faults = 0
        self.failing: str | None = None
        self.spoiled: set[str] = set()

    @property
    def address(self) -> str:
        """Where it is."""
        raise NotImplementedError

    def shares(self, other: Place) -> None:
        """Say that it has the same objects as another one."""
        self.spoiled = other.spoiled

    async def fail(self, kind: str) -> None:
        """Begin to fail in one of its ``kinds``; a fault before it is over."""
        await self.heal()
        self.faults += 1
        self.failing = kind
        await self.kinds[kind](self)

    async def heal(self) -> None:
        """Be well again."""
        if self.failing is not None:
            self.faults += 1
            self.failing = None
            await self._heal()

    async def _heal(self) -> None:
        raise NotImplementedError

    def held(self) -> list[Held]:
        """The objects of ours that are there."""
        raise NotImplementedError

    def spoil(self, identifier: str, *, rot: bool) -> None:
        """Lose an object, or change its bytes."""
        raise NotImplementedError


class Scripted(Place):
    """One of the library's own servers, on the test's loop."""

    def __init__(self, context: ssl.SSLContext, responder: Watched, *, secondary: bool = False) -> None:
        super().__init__()
        self._holder = kept_port()
        self.server = KmipServer(context, responder, port=self._holder.getsockname()[1])
        self.secondaries = (SECONDARY,) if secondary else ()
        self._context = context
        self._up: list[KmipServer] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    async def start(self) -> None:
        """Take connections, at the primary and at its secondary, if there is one."""
        await self.stop()
        self._up.append(await self.server.__aenter__())
        for host in self.secondaries:
            member = KmipServer(self._context, self.server.responder, host=host, port=self.server.port)
            self._up.append(await member.__aenter__())

    async def stop(self, members: int = 2) -> None:
        """Take no connections any more at so many members, the primary first; and end those that there are."""
        for member in self._up[:members]:
            await member.__aexit__(None, None, None)
        del self._up[:members]

    async def close(self) -> None:
        """Stop for good: the port is anybody's."""
        await self.stop()
        self._holder.close()

    async def _heal(self) -> None:
        await self.start()
        responder = self.server.responder
        self.server.faults.clear()
        self.server.request_faults.clear()
        responder.refusals.clear()
        responder.capacity, responder.lying = None, False

    def held(self) -> list[Held]:
        return [
            Held(id_, _ours(stored.names), material_of(stored.managed_object))
            for id_, stored in self.server.responder.objects.items()
            if not stored.destroyed and _ours(stored.names)
        ]

    def spoil(self, identifier: str, *, rot: bool) -> None:
        self.spoiled.add(identifier)
        (self.server.responder.store.rot if rot else self.server.responder.store.forget)(identifier)


def _ours(names: set[str] | list[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name in names if parse(name) is not None))


async def _late(exchange: Exchange) -> None:
    """Do what was asked for when nobody waits for it any more."""
    await asyncio.sleep(LATE_S)
    exchange.answer  # noqa: B018 - it is carried out
    exchange.reset()


def _request_fault(fault: Fault, *operations: Operation) -> Callable[[Scripted], Awaitable[None]]:
    async def begin(place: Scripted) -> None:
        place.server.request_faults.update(dict.fromkeys(operations or ALL, fault))

    return begin


def _answer_fault(fault: Fault, *operations: Operation) -> Callable[[Scripted], Awaitable[None]]:
    async def begin(place: Scripted) -> None:
        place.server.faults.update(dict.fromkeys(operations or ALL, fault))

    return begin


def _denied(*operations: Operation) -> Callable[[Scripted], Awaitable[None]]:
    async def begin(place: Scripted) -> None:
        place.server.responder.refusals.update(dict.fromkeys(operations, ResultReason.PERMISSION_DENIED))

    return begin


async def _full(place: Scripted) -> None:
    place.server.responder.capacity = 0


async def _lying(place: Scripted) -> None:
    place.server.responder.lying = True


async def _killed(place: Scripted) -> None:
    await place.stop()


async def _primary_killed(place: Scripted) -> None:
    await place.stop(1)


async def _cut(place: Scripted) -> None:
    place.server.disconnect()


_WRITES: Final = (Operation.REGISTER, Operation.ACTIVATE, Operation.REVOKE, Operation.DESTROY)

SCRIPTED: Final[Mapping[str, Callable[[Scripted], Awaitable[None]]]] = {
    "killed": _killed,
    "primary killed": _primary_killed,
    "connections cut": _cut,
    "requests reset": _request_fault(reset),
    "answers reset": _answer_fault(reset),
    "answers of register lost": _answer_fault(close, Operation.REGISTER),
    "answers truncated": _answer_fault(truncate),
    "slow": _answer_fault(delay(SLOW_S)),
    "register late": _request_fault(_late, Operation.REGISTER),
    "silent": _request_fault(silence),
    "full": _full,
    "lying": _lying,
    "denied": _denied(*(each for each in ALL if each not in {Operation.QUERY, Operation.DISCOVER_VERSIONS})),
    "read only": _denied(*_WRITES),
}
"""What is wrong with a scripted server, by its name."""

Scripted.kinds = SCRIPTED

SLOW: Final = frozenset({"silent", "paused", "drop"})
"""Faults that cost a time-out each."""


class Real(Place):
    """A PyKMIP server, behind a network that can fail."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server

    @property
    def address(self) -> str:
        return self.server.proxied

    async def _heal(self) -> None:
        self.server.heal()
        await asyncio.to_thread(self.server.wait_until_ready)

    def held(self) -> list[Held]:
        with closing(sqlite3.connect(self.server.database, timeout=30)) as connection:
            rows = connection.execute(
                "SELECT o.uid, n.name, o.value FROM managed_objects o JOIN managed_object_names n ON n.mo_uid = o.uid"
            ).fetchall()
        return [Held(str(uid), (name,), bytes(value)) for uid, name, value in rows if parse(name) is not None]

    def spoil(self, identifier: str, *, rot: bool) -> None:
        self.spoiled.add(identifier)
        (self.server.rot if rot else self.server.forget)(identifier)


async def _sigkill(place: Real) -> None:
    place.server.kill()


async def _sigstop(place: Real) -> None:
    place.server.pause()


async def _late_network(place: Real) -> None:
    place.server.network.delay = SLOW_S / 2


def _network(mode: str) -> Callable[[Real], Awaitable[None]]:
    async def begin(place: Real) -> None:
        place.server.network.fail(mode)

    return begin


REAL: Final[Mapping[str, Callable[[Real], Awaitable[None]]]] = {
    "killed": _sigkill,
    "paused": _sigstop,
    "slow": _late_network,
    "reset": _network("reset"),
    "cut": _network("cut"),
    "an answer lost": _network("lose"),
    "drop": _network("drop"),
}
"""What is wrong with a real server, or the way to it."""

Real.kinds = REAL


def some_kind(place: Place, random: Random, *, slow: bool) -> str:
    """One of the kinds of a server's faults; those that cost time-outs only when they are wanted."""
    return random.choice([kind for kind in place.kinds if slow or kind not in SLOW])
