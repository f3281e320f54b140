"""Connections for key work: which address they lead to, and how a session gets, renews and returns a connection.

A :class:`Peer` is one address under one name, identity and credential. Two peers never share a connection. Each new
connection resolves the name and checks the addresses.

A request that changes something is never sent twice. A request that changes nothing is sent once more if a kept
connection turns out to be dead. A dead kept connection does not count as a failure of the server.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakKeyDictionary

from keystead.keyservers import opening
from keystead.keyservers.circuits import Circuit, Latencies, Permission
from keystead.keyservers.conversation import Conversation, ask_lightly
from keystead.keyservers.objects_faults import NO_ANSWER, fault_of, refused_opening, timed_out, unreachable
from keystead.keyservers.opening import RefusedError
from keystead.keyservers.symptoms import Event, Symptom, kmip_symptom, tls_symptom
from keystead.kmip.client.pool import Pool
from keystead.kmip.transport.tls import TLSError
from keystead.kmip.ttlv.errors import KMIPError, LocalProtocolError, OperationFailed, TransportError
from keystead.kmip.ttlv.ttlv import DEFAULT_LIMITS
from keystead.service.ports.objects import NO_FREE_CONNECTION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keystead.core.server_address import ServerAddress
    from keystead.keyservers.contexts import ClientContext, Contexts
    from keystead.keyservers.resolve import Resolver
    from keystead.keyservers.traffic import SentOperations
    from keystead.kmip.client.client import Client
    from keystead.kmip.transport.sessions import Sessions
    from keystead.kmip.transport.tls import Stream
    from keystead.service.ports.objects import Endpoint, KeyServerFault

T = TypeVar("T")

CONNECTIONS: Final = 8
"""The most connections to one peer at a time."""

RECENTLY_S: Final = 1.0
"""If the last answer on a connection is younger, a request that changes something needs no light check first."""

SINGLY_S: Final = 600.0
"""How long a server that failed on several operations in one message gets only one operation per message."""

CLOSED: Final = "connection_closed"

_FIRST_OPERATION: Final = "DiscoverVersions"
"""The operation that opens a new connection, before the connection belongs to a session."""


@dataclass(slots=True)
class ConnectionFacts:
    """The facts about one connection: when the last answer came, and the names of looks that returned True on it.

    ``chain`` are the certificates (DER) that the server showed, its own first. ``heard`` is by the peer's clock.
    """

    chain: tuple[bytes, ...] = ()
    heard: float | None = None
    looked: set[str] = field(default_factory=set)


class Peer:
    """One address of a key server as one client sees it: connections, circuit, and facts learned about it.

    ``clock`` returns seconds of a monotonic clock.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        resolver: Resolver,
        contexts: Contexts,
        sessions: Sessions,
        sent: SentOperations,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reach = endpoint
        self._resolver = resolver
        self._contexts = contexts
        self._sessions = sessions
        self._on_request = sent.to(endpoint.server)
        self._context: ClientContext | None = None  # kept, because only the same context can resume a TLS session
        self.clock = clock
        self.used = clock()
        self.circuit = Circuit(clock)
        self.latencies = Latencies()
        self.pool = Pool(self.connect, maximum=CONNECTIONS, clock=clock)
        self._facts: WeakKeyDictionary[Client, ConnectionFacts] = WeakKeyDictionary()
        self._singly_until = clock()
        self._apart_until = clock()

    @property
    def server(self) -> ServerAddress:
        """The address."""
        return self._reach.server

    def facts(self, client: Client) -> ConnectionFacts:
        """Return the facts about a connection; they may be changed."""
        return self._facts.setdefault(client, ConnectionFacts())

    @property
    def batches(self) -> bool:
        """True if no batch of requests failed lately."""
        return self.clock() >= self._singly_until

    def ask_singly(self) -> None:
        """Note that the server failed on a batch."""
        self._singly_until = self.clock() + SINGLY_S

    @property
    def combines(self) -> bool:
        """True if no message with both Register and Get failed lately."""
        return self.clock() >= self._apart_until

    def send_apart(self) -> None:
        """Note that a message with both Register and Get failed, for any reason."""
        self._apart_until = self.clock() + SINGLY_S

    async def connect(self, note: Callable[[str], None] = lambda _: None, *, resume: bool = True) -> Client:
        """Return a connected client that has agreed on a version. Call ``note`` with each stage before it begins.

        Resume a TLS session if there is one. If resuming fails, do a full handshake on a new connection. Raises
        RefusedError.
        """
        if resume:
            try:
                return await self._connect(note, self._sessions)
            except _ResumingError:
                pass
        return await self._connect(note, None)

    async def _connect(self, note: Callable[[str], None], sessions: Sessions | None) -> Client:
        endpoint = self._reach
        note("resolve")
        addresses = await opening.look_up(self._resolver, endpoint.server)
        opening.check(self._resolver, addresses)
        self._context = self._context or opening.context_of(self._contexts, endpoint.identity)
        opening.check_dates(self._context)
        note("connect")
        sock = await opening.connect(addresses)
        note("tls")
        try:
            name = opening.name_of(endpoint.server, endpoint.target)
            stream = await opening.do_handshake(sock, self._context.ssl, name, sessions)
        except RefusedError as refused:
            if getattr(refused.__cause__, "resuming", False):
                raise _ResumingError from refused
            raise
        note("kmip")
        return await self._agreed(stream)

    async def _agreed(self, stream: Stream) -> Client:
        target = self._reach.target
        password = target.password.reveal().decode() if target.password else None
        conversation = Conversation(
            stream, target.username, password, {}, limits=DEFAULT_LIMITS, on_request=self._on_request
        )
        try:
            await conversation.settle_version()
        except KMIPError as error:
            stream.close()
            if stream.resumed and not stream.evidence.received:
                raise _ResumingError from error
            raise RefusedError(_symptom(error, conversation.operation, username=bool(target.username))) from error
        self.facts(conversation.client).chain = stream.peer_chain
        return conversation.client


class Line:
    """The connection of one session, and how the session uses it. Every method raises KeyServerFault.

    A kept connection may turn out to be dead at its first request in this session. If that request changes nothing, the
    line connects again. After an answer, or on a new connection, a broken connection is the server's failure and ends
    the session.
    """

    def __init__(self, peer: Peer, permission: Permission, timeout_s: float, *, fresh: bool) -> None:
        self._peer = peer
        self._permission = permission
        self._timeout_s = timeout_s
        self._fresh = fresh
        self._lent = contextlib.AsyncExitStack()
        self._client: Client | None = None
        self._unheard = False
        self._stage = ""

    @classmethod
    def over(cls, peer: Peer, client: Client, timeout_s: float) -> Line:
        """Return a line that uses a connection of the caller. The caller closes the connection."""
        line = cls(peer, Permission(peer.circuit, trial=False), timeout_s, fresh=False)
        line._client = client
        return line

    async def open(self) -> None:
        """Get a connection within the session's time: a kept one, or a new one if the session wants a fresh one."""
        await self._obtain(self._timeout_s, kept=not self._fresh)

    async def close(self, *, keep: bool = True) -> None:
        """Return the connection to the pool. It is kept if it is healthy and ``keep`` is true."""
        if not keep and self._client is not None:
            self._client.close()
        await self._lent.aclose()

    @property
    def version(self) -> tuple[int, int]:
        """The protocol version."""
        return self._usable().version

    @property
    def chain(self) -> tuple[bytes, ...]:
        """The certificates (DER) that the server showed on the connection in use, its own first."""
        return self._peer.facts(self._usable()).chain

    async def once(self, name: str, look: Callable[[], Awaitable[bool]]) -> bool:
        """Return True if ``look`` returned True on the connection in use, now or earlier. ``name`` names the look.

        A kept connection that died is replaced first. Afterwards the line does not replace its connection by itself.
        """
        try:
            await self._check(self._peer.clock() + self._timeout_s)
        except KMIPError as error:
            raise self._failed(error) from error
        self._unheard = False
        client = self._usable()
        facts = self._peer.facts(client)
        if name in facts.looked:
            return True
        if not await look() or self._client is not client:  # the look may have needed another connection
            return False
        facts.looked.add(name)
        return True

    async def ask(self, call: Callable[[Client, float], Awaitable[T]], *, changes: bool = False) -> T:
        """Call ``call`` with the client and the seconds that are left. With ``changes``, send the request only once."""
        deadline = self._peer.clock() + self._timeout_s
        try:
            if changes:
                await self._check(deadline)
                return await self._call(call, deadline)
            return await self._call_reconnecting(call, deadline)
        except OperationFailed as failure:
            fault = fault_of(failure)
            if fault.fault.sent:
                await self.close(keep=False)
            raise fault from failure
        except KMIPError as error:
            raise self._failed(error) from error

    async def _check(self, deadline: float) -> None:
        """Send a light check if there was no answer lately, because a request that changes something is sent once."""
        heard = self._peer.facts(self._usable()).heard
        if self._unheard and (heard is None or self._peer.clock() - heard > RECENTLY_S):
            with contextlib.suppress(OperationFailed):
                await self._call_reconnecting(ask_lightly, deadline)

    async def _call_reconnecting(self, call: Callable[[Client, float], Awaitable[T]], deadline: float) -> T:
        if self._unheard:
            try:
                return await self._call(call, deadline)
            except TransportError as error:
                if isinstance(error.__cause__, TimeoutError):  # a slow server is not a dead connection
                    raise
            await self._renew(deadline)
        return await self._call(call, deadline)

    async def _call(self, call: Callable[[Client, float], Awaitable[T]], deadline: float) -> T:
        client = self._usable()
        left_s = deadline - self._peer.clock()
        if left_s <= 0:
            raise unreachable(NO_ANSWER)
        try:
            answer = await call(client, left_s)
        except OperationFailed:
            self._note_answer(client)
            raise
        self._note_answer(client)
        return answer

    async def _renew(self, deadline: float) -> None:
        await self._lent.aclose()
        await self._obtain(max(0.0, deadline - self._peer.clock()), kept=False)

    async def renew(self) -> None:
        """Replace a connection that broke on a request that changes nothing."""
        await self._renew(self._peer.clock() + self._timeout_s)

    def _usable(self) -> Client:
        if self._client is None or not self._client.usable:
            raise unreachable(CLOSED)
        return self._client

    def _note_answer(self, client: Client) -> None:
        self._unheard = False
        self._peer.facts(client).heard = self._peer.clock()
        self._permission.succeeded()

    def _failed(self, error: KMIPError) -> KeyServerFault:
        """Return the fault of a broken exchange, and count it against the address unless we caused it."""
        slow = isinstance(error.__cause__, TimeoutError)
        fault = timed_out() if slow else fault_of(error)
        if not isinstance(error, LocalProtocolError):
            self._permission.failed(fault.reason, slow=slow)
        return fault

    async def _obtain(self, timeout_s: float, *, kept: bool) -> None:
        self._stage, self._client = "", None
        lend = self._peer.pool.client if kept else self._peer.pool.fresh
        connect = partial(self._peer.connect, self._note, resume=not self._fresh)
        try:
            self._client = await self._lent.enter_async_context(lend(timeout=timeout_s, connect=connect))
        except RefusedError as refused:
            symptom = refused.symptom
        except TransportError as error:
            if not self._stage:
                raise unreachable(NO_FREE_CONNECTION) from error
            symptom = Symptom(self._stage, Event.TIMED_OUT, operation=_FIRST_OPERATION)
        else:
            self._unheard = not self._stage
            return
        fault = refused_opening(symptom)
        self._permission.failed(fault.reason, slow=symptom.event is Event.TIMED_OUT)
        raise fault

    def _note(self, stage: str) -> None:
        """Note the stage of a new connection.

        Raise KeyServerFault instead of beginning one if other sessions opened the circuit meanwhile.
        """
        if not (self._stage or self._permission.valid):
            raise unreachable(self._peer.circuit.reason)
        self._stage = stage


class _ResumingError(Exception):
    """A TLS session was offered, and the connection failed before the server sent any other data."""


def _symptom(error: KMIPError, operation: str, *, username: bool) -> Symptom:
    """Return the symptom of a failed version agreement.

    In TLS 1.3, the server's verdict on our certificate comes only at this point.
    """
    if isinstance(error, TLSError):
        return tls_symptom(error)
    return kmip_symptom("kmip", operation, error, username=username)
