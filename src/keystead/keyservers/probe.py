"""A probe of one address of a key server. Its stages: resolve, egress, connect, tls, kmip, credential.

A probe tests liveness and compatibility on its own connection. It resumes no TLS session, takes no pooled connection
and changes nothing on the server. It never exceeds its time limit, and never raises for what a peer does.
``failures.py`` says what a failure means.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Final

from keystead.core.probing import STAGES, ProbeResult, StageResult
from keystead.core.server_address import ServerAddress
from keystead.keyservers import opening
from keystead.keyservers.at_fault import at_fault
from keystead.keyservers.conversation import Conversation
from keystead.keyservers.failures import classify, stage_of
from keystead.keyservers.learned import certificate_facts, peer_certificates
from keystead.keyservers.opening import RefusedError
from keystead.keyservers.resolve import AddressNotAllowedError
from keystead.keyservers.symptoms import Event, Symptom, kmip_symptom, tls_symptom
from keystead.kmip.transport.connect import connect_tcp
from keystead.kmip.transport.tls import TLSError, handshake
from keystead.kmip.ttlv.errors import KMIPError, TransportError

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from keystead.core.probing import ProbeTarget, TlsIdentity
    from keystead.keyservers.contexts import Contexts
    from keystead.keyservers.resolve import Resolver
    from keystead.kmip.client.client import Client
    from keystead.kmip.transport.connect import Address
    from keystead.kmip.transport.tls import Stream

# How long a second connection must stay open to show that the server accepts our certificate: at least so many seconds,
# and so many times the duration of its handshake, because a loaded server is also slow to close.
SECOND_LOOK_S: Final = 0.25
SECOND_LOOK_HANDSHAKES: Final = 3

_log = logging.getLogger(__name__)


class Probe:
    """A probe of one address, a primary's or a secondary's. Run it once.

    With ``keep``, the connection of an accepted server stays open. It is ``kept`` afterwards, and the caller must close
    it. The caller reports refusals of such a probe, so this class logs them at debug level only. With ``new``, the
    address is not stored yet, so it may not be one of this host's. ``on_request`` gets the number of operations of each
    message on the connection.
    """

    def __init__(
        self,
        server: ServerAddress,
        target: ProbeTarget,
        identity: TlsIdentity,
        resolver: Resolver,
        contexts: Contexts,
        *,
        keep: bool = False,
        new: bool = False,
        on_request: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._server = server
        self._server_name = opening.name_of(server, target)
        self._target = target
        self._identity = identity
        self._resolver = resolver
        self._contexts = contexts
        self._stage = "resolve"
        self._elapsed_ms: dict[str, float] = {}
        self._conversation: Conversation | None = None
        self._suspicion: Symptom | None = None  # the result if the time runs out during the second look
        self._learned: dict[str, object] = {}
        self._chain: Sequence[bytes] = ()
        self._keep = keep
        self._new = new
        self._on_request = on_request
        self.kept: Client | None = None

    async def run(self, limit_s: float) -> ProbeResult:
        """Probe within ``limit_s`` seconds."""
        try:
            async with asyncio.timeout(limit_s):
                await self._run_stages()
        except TimeoutError:
            return self._refused(self._suspicion or self._timed_out())
        except RefusedError as refused:
            return self._refused(refused.symptom, refused.__cause__)
        return self._accepted()

    # --- the stages, in order ---

    async def _run_stages(self) -> None:
        with self._timing("resolve"):
            addresses = await opening.look_up(self._resolver, self._server)
        with self._timing("egress"):
            opening.check(self._resolver, addresses, new=self._new)
        self._stage = "tls"
        context = self._own_context()
        with self._timing("connect"):
            sock = await self._connect(addresses)
        with self._timing("tls"):
            stream = await self._handshake(sock, context)
        with contextlib.ExitStack() as closing:
            closing.callback(stream.close)
            self._conversation = conversation = self._conversation_on(stream)
            await self._converse(conversation, stream, addresses, context)
            if self._keep:
                self.kept = conversation.client
                closing.pop_all()

    def _own_context(self) -> ssl.SSLContext:
        """Return our TLS context. Raises RefusedError for a faulty certificate of ours, before any packet leaves."""
        context = opening.context_of(self._contexts, self._identity)
        opening.check_dates(context)
        return context.ssl

    async def _connect(self, addresses: Sequence[Address]) -> socket.socket:
        sock = await opening.connect(addresses)
        with contextlib.suppress(OSError):  # the peer may have closed the connection already
            self._learned["address"] = str(ServerAddress(*sock.getpeername()[:2]))
        return sock

    async def _handshake(self, sock: socket.socket, context: ssl.SSLContext) -> Stream:
        try:
            stream = await opening.do_handshake(sock, context, self._server_name)
        except RefusedError as refused:
            if isinstance(refused.__cause__, TLSError):
                self._learn_certificate(refused.__cause__.peer_chain)
            raise
        self._learned |= {"tls_version": stream.version, "cipher": stream.cipher}
        self._learn_certificate(stream.peer_chain)
        return stream

    def _conversation_on(self, stream: Stream) -> Conversation:
        password = self._target.password.reveal().decode() if self._target.password else None
        return Conversation(stream, self._target.username, password, self._learned, on_request=self._on_request)

    async def _converse(
        self, conversation: Conversation, stream: Stream, addresses: Sequence[Address], context: ssl.SSLContext
    ) -> None:
        with self._timing("kmip"):
            try:
                await conversation.settle_version()
            except TransportError as error:
                raise RefusedError(await self._unanswered(error, stream, addresses, context)) from error
            except KMIPError as error:
                raise self._refused_by_kmip(error) from error
            await self._ask(conversation.query())
        with self._timing("credential"):
            await self._ask(conversation.locate())

    async def _ask(self, question: Coroutine[None, None, None]) -> None:
        try:
            await question
        except KMIPError as error:
            raise self._refused_by_kmip(error) from error

    # --- no answer to our first request ---

    async def _unanswered(
        self, error: TransportError, stream: Stream, addresses: Sequence[Address], context: ssl.SSLContext
    ) -> Symptom:
        """Return the symptom of a first request without an answer.

        Distinguish a TLS 1.3 server that refuses our certificate from a server that rejects our request.
        """
        closed = self._kmip_symptom(error)
        evidence = stream.evidence
        if evidence.received:
            return closed
        if isinstance(error, TLSError) and (symptom := tls_symptom(error)).event is not Event.CLOSED:
            return symptom
        if stream.version != "TLSv1.3" or evidence.ticket_received:
            return closed
        self._suspicion = closed
        return await self._second_look(addresses, context) or closed

    async def _second_look(self, addresses: Sequence[Address], context: ssl.SSLContext) -> Symptom | None:
        """Connect again and send nothing. If the server closes this connection too, it refuses our certificate.

        Return the symptom, or None if the second connection shows no TLS failure.
        """
        try:
            stream = await handshake(await connect_tcp(addresses), context, server_name=self._server_name)
            with contextlib.closing(stream):
                async with asyncio.timeout(max(SECOND_LOOK_S, SECOND_LOOK_HANDSHAKES * stream.handshake_seconds)):
                    said = await stream.receive()
        except TLSError as error:
            symptom = tls_symptom(error)
            if symptom.event is not Event.CLOSED:
                return symptom
            refused = error.phase == "exchange" and not error.evidence.ticket_received
        except (TransportError, TimeoutError):
            return None
        else:
            refused = not said and not stream.evidence.ticket_received
        return Symptom("tls", Event.CLOSED, closes_without_request=True) if refused else None

    # --- facts and results ---

    @contextlib.contextmanager
    def _timing(self, stage: str) -> Iterator[None]:
        self._stage = stage
        start = time.perf_counter()
        try:
            yield
        finally:
            self._elapsed_ms[stage] = round((time.perf_counter() - start) * 1000, 1)

    def _learn_certificate(self, chain: Sequence[bytes]) -> None:
        self._chain = chain
        if chain:
            self._learned["certificate"] = certificate_facts(chain[0])

    def _timed_out(self) -> Symptom:
        operation = self._conversation.operation if self._conversation else None
        return Symptom(self._stage, Event.TIMED_OUT, operation=operation)

    def _kmip_symptom(self, error: KMIPError) -> Symptom:
        operation = self._conversation.operation if self._conversation else ""
        return kmip_symptom(self._stage, operation, error, username=bool(self._target.username))

    def _refused_by_kmip(self, error: KMIPError) -> RefusedError:
        return RefusedError(self._kmip_symptom(error))

    def _accepted(self) -> ProbeResult:
        stages = tuple(StageResult(stage, "passed", self._elapsed_ms[stage]) for stage in STAGES)
        return ProbeResult(self._server, None, None, None, None, stages, self._learned, peer_certificates(self._chain))

    def _refused(self, symptom: Symptom, cause: BaseException | None = None) -> ProbeResult:
        row = classify(symptom)
        stage = stage_of(row, symptom)
        level = logging.DEBUG if self._keep else logging.INFO
        _log.log(level, "key server %s refused: %s (%s); %r; %r", self._server, row.reason, stage, symptom, cause)
        return ProbeResult(
            self._server,
            row.error,
            stage,
            row.reason,
            self._server,
            self._stages_until(stage),
            self._learned,
            peer_certificates(self._chain),
            at_fault=at_fault(row.reason, self._chain, self._identity),
            rule=cause.rule.word if isinstance(cause, AddressNotAllowedError) else None,
        )

    def _stages_until(self, failed: str) -> tuple[StageResult, ...]:
        """Return a result for each stage.

        Stages before the failed one passed if they were run. Stages after the failed one are skipped, even if they were
        run.
        """
        before = STAGES[: STAGES.index(failed)]
        return tuple(self._stage_result(stage, failed=stage == failed, before=stage in before) for stage in STAGES)

    def _stage_result(self, stage: str, *, failed: bool, before: bool) -> StageResult:
        if failed or (before and stage in self._elapsed_ms):
            return StageResult(stage, "failed" if failed else "passed", self._elapsed_ms.get(stage, 0.0))
        return StageResult(stage, "skipped", 0.0)
