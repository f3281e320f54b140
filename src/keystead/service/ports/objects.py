"""Managed Objects on key servers, as use cases reach them: endpoints, sessions, and what may fail."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from keystead.core.keys.model import (
        KeyForm,
    )
    from keystead.core.probing import ProbeTarget, TlsIdentity
    from keystead.core.secret import Secret
    from keystead.core.server_address import ServerAddress


NO_FREE_CONNECTION: Final = "no_free_connection"
"""The reason of a fault that is ours: all connections to an address are in use."""


class Fault(StrEnum):
    """Why an operation on a key server failed, as far as what to do next depends on it.

    ``unreachable``: nothing was sent; another address may be tried, and the same one again.
    ``unanswered``: it was sent and the answer did not come: it may have happened, now or later.
    All others are the server's own answers, and say that it did not happen.
    """

    UNREACHABLE = "unreachable"
    UNANSWERED = "unanswered"
    NOT_FOUND = "not_found"
    EXISTS = "exists"
    DENIED = "denied"
    NOT_SUPPORTED = "not_supported"
    WRONG_STATE = "wrong_state"
    REFUSED = "refused"

    @property
    def sent(self) -> bool:
        """True if the operation may have happened."""
        return self is Fault.UNANSWERED

    @property
    def answered(self) -> bool:
        """True if the fault is the server's own answer."""
        return self not in {Fault.UNREACHABLE, Fault.UNANSWERED}


class KeyServerFault(Exception):  # noqa: N818 - named as what happened, like a Refusal
    """An operation on a key server failed. ``reason`` is a fixed word: the probe's, or the Result Reason's name."""

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(f"{fault}: {reason}")
        self.fault = fault
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How to reach one address of a key server: the primary of ``target``, or one of its secondaries.

    ``key_server`` is the primary's uuid, ``host`` a secondary's as it was configured, empty for the primary.
    """

    key_server: str
    host: str
    server: ServerAddress
    target: ProbeTarget
    identity: TlsIdentity


@dataclass(frozen=True, slots=True)
class ObjectAttributes:
    """The answer to Get Attributes. ``state`` is the KMIP State's name, empty where the server has none."""

    names: tuple[str, ...]
    state: str
    object_type: int | None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The answers to Query and Discover Versions; numbers are KMIP's, empty where it does not say."""

    operations: tuple[int, ...]
    object_types: tuple[int, ...]
    version: str
    vendor: str


@dataclass(frozen=True, slots=True)
class Quirks:
    """The ways in which a server answers requests that servers answer differently.

    ``locate_by_name``: it looks at names, and finds by them. ``locate_offset``: Offset Items lead to the next page.
    ``batches``: it answers several items in one message.
    """

    locate_by_name: bool
    locate_offset: bool
    batches: bool


class ObjectSession(Protocol):
    """Operations on one connection to one address, one at a time. Every method raises KeyServerFault.

    ``unique_identifiers`` are what :meth:`register` returned: one, or two for a pair. After ``unanswered`` the
    connection is closed, and every further call fails as ``unreachable``.
    """

    @property
    def public_key(self) -> str:
        """The SHA-256 of the public key in the server's certificate, in hexadecimal; empty if it cannot be read."""
        ...

    async def once_per_connection(self, what: str, look: Callable[[], Awaitable[bool]]) -> bool:
        """Return True if ``look`` returned True on this very connection, now or in an earlier session.

        ``what`` names the look. A dead kept connection is replaced first. Afterwards the session keeps its connection.
        """
        ...

    async def get_capabilities(self) -> Capabilities: ...
    async def find_quirks(self, name: str, unique_identifier: str) -> Quirks:
        """Find out with an object that is there, under this name; asked last, it may cost the connection."""
        ...

    async def register(
        self, name: str, material: Secret, form: KeyForm, *, application_information: str | None
    ) -> tuple[str, ...]:
        """Bring an object to the server, Pre-Active, under a name; never repeated. A pair is two, ``-1`` and ``-2``."""
        ...

    async def register_and_get(
        self, name: str, material: Secret, form: KeyForm, *, application_information: str | None
    ) -> tuple[tuple[str, ...], Secret | None]:
        """Do as :meth:`register` does; with what the server returns of the object when that is in the same answer.

        It is for servers that find by name: without the answer nobody knows the identifier.
        """
        ...

    async def get(self, unique_identifiers: Sequence[str]) -> Secret:
        """Return the material of a key, the halves of a pair joined."""
        ...

    async def get_many(self, wanted: Sequence[Sequence[str]]) -> list[Secret | KeyServerFault]:
        """Return the material of several keys, in order, in as few messages as the server takes."""
        ...

    async def get_attributes(self, unique_identifier: str) -> ObjectAttributes: ...
    async def locate(self, name: str) -> tuple[str, ...]:
        """Return the objects with exactly this name, checked by their attributes: servers are known to return all."""
        ...

    async def locate_all(self) -> tuple[str, ...]:
        """Return all objects that this client sees, in pages where the server pages."""
        ...

    async def activate(self, unique_identifier: str) -> None: ...
    async def revoke(self, unique_identifier: str) -> None:
        """Deactivate: Cessation of Operation."""
        ...

    async def destroy(self, unique_identifier: str) -> None: ...


class KeyObjects(Protocol):
    """Objects on key servers."""

    def session(
        self, endpoint: Endpoint, *, timeout_s: float, fresh: bool = False, exclusive: bool = False, anew: bool = False
    ) -> AbstractAsyncContextManager[ObjectSession]:
        """Lend a connection, pooled unless ``fresh``; each operation on it ends within ``timeout_s`` seconds.

        Raises KeyServerFault (``unreachable``) when there is none to be had, at once while the address's circuit is
        open. With ``anew`` the address is tried all the same: success closes the circuit, failure changes nothing.
        ``exclusive``: nobody else uses the connection, and it is closed afterwards.
        """
        ...

    def circuit_open(self, endpoint: Endpoint) -> bool:
        """Return True if the address's circuit is open: the address failed lately, and is not used for a while."""
        ...

    def latency_s(self, endpoint: Endpoint) -> float | None:
        """Return the median time of recent Gets from this address, in seconds; None if there were none."""
        ...

    def p95_s(self, endpoint: Endpoint) -> float | None:
        """Return the 95th percentile of recent Gets from this address, in seconds; None if there were none."""
        ...

    async def close(self) -> None: ...
