"""Create a key: store the intent, write copies, commit, activate, answer. Also copy a key to one server that lacks it.

Nothing is sent before the intent is durable. A key is acknowledged only after a transaction under the key manager's
lock committed it by compare-and-set. Nothing is destroyed here: the keeper cleans up after aborted attempts. If the
outcome of a commit is unknown, the call fails, and the keeper settles the attempt.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.creating import LENGTH, CreateState, NewKey, halves_differ, owner_of, plan_create
from keystead.core.keys.digests import agrees, digest
from keystead.core.keys.keeping import KEPT_STATES
from keystead.core.keys.model import HOLD_NAMES, Key, KeyState, KeyType, Presence, Purpose
from keystead.core.keys.reading import NOT_NEEDED
from keystead.core.keys.writing import after_moves, domains_as_seen, domains_still_proven, is_open, missing_domain_count
from keystead.core.query.where import Condition, Op
from keystead.core.secret import Secret
from keystead.service.cluster.svms import about_svm
from keystead.service.keys import attempts as key_attempts
from keystead.service.keys.access import require_manager_of_keys, serving_key_manager
from keystead.service.keys.topology import load_topology
from keystead.service.keys.writing.attempt_runner import COPYING_S, NOT_REACHED, AttemptRunner, unusable
from keystead.service.keys.writing.copies import OVERTAKEN
from keystead.service.keys.writing.shortage import at_fault, beyond_domains
from keystead.service.ports.cluster import AuditRows
from keystead.service.ports.configuration import KeyManagerRows, ListRows
from keystead.service.ports.keys import AttemptRows, CopyRows, KeyRows, ReceiptRows, TopologyRows
from keystead.service.ports.page import Page
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from keystead.core.keys.model import Copy
    from keystead.core.model import KeyServer, Svm
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.keys.context import KeeperContext
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.keys.writing.attempt_runner import Describe
    from keystead.service.keys.writing.copies import AttemptCopies, Writing

GRACE_S = 2.0
"""Seconds to wait for slow servers after enough domains hold proven copies."""

NO_GRACE_S = 0.0


class FactRows(KeyManagerRows, ListRows, KeyRows, Protocol):
    """The rows that decide about a new or adopted key."""


class Rows(FactRows, TopologyRows, AuditRows, AttemptRows, CopyRows, ReceiptRows, Protocol):
    """The rows that this module reads and writes."""


class LearnsServers(Protocol):
    """An object that learns what a key manager's servers can do; see :mod:`keystead.service.keys.learning.learn`."""

    async def ensure(self, key_manager: str) -> ServerTopology: ...  # noqa: D102 - as above
    def unlearned(self, key_manager: str) -> Mapping[str, str]: ...  # noqa: D102 - as above


class Ending(Enum):
    """How an attempt ended. ``overtaken``: another process had ended it before."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    OVERTAKEN = "overtaken"


@dataclass(frozen=True, slots=True)
class _Request:
    """A request to create a key: the call, the new key, and the generated uuid and material.

    ``also`` is called in the transaction that stores the intent. ``until`` is the loop time at which the copying must
    end. ``learning_tried`` is True once this request has tried to
    learn the servers. From then on nothing is sent to servers that still have no profile.
    """

    call: Call
    key_manager: str
    new: NewKey
    uuid: str
    material: Secret
    until: float
    also: Callable[[Any, Key], None]
    learning_tried: bool = False


class KeyWriter:
    """The writer of keys.

    ``describe`` returns the descriptor of an attempt's copies, so that a lost catalogue can be rebuilt. ``on_aborted``
    is called with the key of each aborted creation, so that its objects are cleaned up soon. ``grace_s`` replaces
    :data:`GRACE_S`.
    """

    def __init__(
        self,
        context: KeeperContext,
        learner: LearnsServers,
        audit: AuditLog,
        *,
        describe: Describe = lambda *_: None,
        on_aborted: Callable[[Key], None] = lambda _: None,
        grace_s: float = GRACE_S,
    ) -> None:
        self._context = context
        self._learner = learner
        self._audit = audit
        self._on_aborted = on_aborted
        self._grace_s = grace_s
        self._all_learned: set[str] = set()  # key managers whose servers all had a profile when they were last read
        self._work = AttemptRunner(context, describe)

    async def create(
        self,
        call: Call,
        key_manager: str,
        new: NewKey,
        *,
        also: Callable[[Any, Key], None] = lambda *_: None,
        within_s: float = COPYING_S,
    ) -> Key:
        """Create a key and return it once it is committed; otherwise raise OntapError, and the key does not exist.

        Called when an API caller creates or imports a key. 65536076: no server stored the key. 65536987: too few
        replication domains hold it.

        The call waits for all servers. Once enough domains hold a copy, it waits only ``grace_s`` seconds more. If the
        caller is cancelled, the attempt still runs to its end: the key is committed or aborted. After a StoreError the
        key may exist or not. ``also`` stores what belongs to the pending key, in its transaction; it may raise. Copies
        that take longer than ``within_s`` do not count.
        """
        until = asyncio.get_running_loop().time() + within_s
        material = new.material or made_material(new.key_type)
        request = _Request(call, key_manager, new, str(uuid4()), material, until, also)
        while True:
            if key_manager not in self._all_learned:
                request = await self._learn_servers(request)
            key = await self._work.run(self._create(request), Purpose.CREATE, key_manager)
            if key is not None:
                return key
            self._all_learned.discard(key_manager)  # because a server has no profile now

    async def copy_to(self, key: Key, server: KeyServer, material: Secret, topology: ServerTopology) -> str:
        """Write a copy of a key to one server, as a separate attempt. Return the reason if that fails, else "".

        Called by the keeper, and by a replication job, for each missing copy. The reason is a fixed word; an empty one
        says that the copy is proven and committed. The reason is :data:`NOT_NEEDED` if the server has a copy or may get
        one. It is the same if the key is neither committed nor retired any more. It is also the same if the server has
        no profile, or cannot store a key of this length.

        ``material`` is what other copies returned. Raise ValueError if it is not the key's material. Raise what
        :class:`Endpoints` raises if the key manager's certificates cannot be used. Raise 262145 (503) if no slot is
        free.
        """
        if not agrees(self._context.endpoints.digest_key(topology), key.uuid, material, key.digest):
            raise ValueError(f"material is not that of key {key.uuid}")
        return await self._work.run(self._copy_to(key, server, material), Purpose.COPY, key.key_manager)

    def stop(self) -> None:
        """End the waiting for servers, because the node stops. The running attempts are committed or aborted now."""
        self._work.stopping.set()

    async def close(self) -> None:
        """Stop, and wait for the running attempts. They end within seconds."""
        await self._work.close()

    # --- create ---

    async def _learn_servers(self, request: _Request) -> _Request:
        """Try to learn the servers without a profile. Return the request with ``learning_tried``.

        Call it before the key is stored, unless all servers are known to be learned. If the request breaks a rule, for
        example because another key has its name, raise OntapError first and ask no server.
        """
        manager = request.key_manager
        planned, topology = await self._context.store.read_few(
            lambda tx: self._plan(tx, request.call, manager, request.new, request.uuid)
        )
        with about_svm(planned.svm):
            if not topology.learned:
                topology = await self._learner.ensure(manager)
        if topology.learned:
            self._all_learned.add(manager)
        return replace(request, learning_tried=True)

    def _plan(
        self, tx: Rows, call: Call, key_manager: str, new: NewKey, uuid: str, *, lock: bool = False
    ) -> tuple[Key, ServerTopology]:
        """Read the facts. Return the planned key and the topology, or raise the error of a rule that is broken.

        Nothing is stored. With ``lock``, the key manager is locked: no other key is created in it until the transaction
        ends.
        """
        manager = require_manager_of_keys(tx, call, key_manager, lock=lock)
        with about_svm(manager.svm or call.scope):
            topology = load_topology(tx, manager)
            state = create_state(tx, call.scope, topology, new)
            return plan_create(state, new, uuid, self._context.clock.now()), topology

    async def _create(self, request: _Request) -> Key | None:
        """Create a key. Return None if a server has no profile and learning was not tried yet.

        Nothing is stored in that case, and the caller learns the servers and tries again.
        """
        writing = await self._context.store.write(lambda tx: self._intend(tx, request))
        if writing is None:
            return None
        with about_svm(writing.key.svm):
            return await self._write(request, writing)

    async def _write(self, request: _Request, writing: Writing) -> Key:
        """Write the copies of a stored intent, and commit or abort the attempt. Raise OntapError unless it commits."""
        topology, copying = writing.topology, self._work.copying(writing)

        def enough() -> bool:
            """Return True if enough domains hold a proven copy at the addresses where they were written."""
            seen = domains_as_seen(topology.domain_of, copying.copies, copying.had)
            proven = domains_still_proven(copying.copies, topology.servers, topology.servers, seen)
            return not missing_domain_count(proven, topology.key_manager.min_copies, topology.domain_of)

        await copying.write(request.until, self._grace_s, enough, self._work.stopping)
        ending, key = await self._context.store.write(lambda tx: self._end(tx, request.call, writing, copying))
        if ending is Ending.COMMITTED:
            await self._work.finish(writing, copying)
            return key
        self._on_aborted(key)
        if ending is Ending.OVERTAKEN or self._work.stopping.is_set() or enough():
            raise self._work.unavailable()  # if enough(): the copies count no longer, after a configuration change
        reasons = self._unusable(topology, writing.key.length) | copying.reasons
        stored = any(copy.presence is Presence.PRESENT for copy in copying.copies)
        raise _shortage(request.call, topology, reasons, stored=stored)

    def _intend(self, tx: Rows, request: _Request) -> Writing | None:
        """Plan again under the key manager's lock. Store the key, its attempt and the rows of the copies.

        Return the data to write. Return None, and store nothing, if a server has no profile and learning was not tried
        yet. Raise 65536987 or 65536076 if too few domains could be written to.
        """
        key, topology = self._plan(tx, request.call, request.key_manager, request.new, request.uuid, lock=True)
        if not (topology.learned or request.learning_tried):
            return None
        targets = self._work.targets(topology, topology.servers, key.length)
        reachable = {topology.domain_of[target.server.uuid] for target in targets}
        if missing_domain_count(reachable, topology.key_manager.min_copies, topology.domain_of):
            raise _shortage(request.call, topology, self._unusable(topology, key.length), stored=bool(reachable))
        digest_key = self._context.endpoints.digest_key(topology)
        key = replace(key, digest=digest(digest_key, key.uuid, request.material))
        tx.add_key(key)
        request.also(tx, key)
        return self._work.begin(tx, key, 1, Purpose.CREATE, request.material, topology, targets)

    def _unusable(self, topology: ServerTopology, length: int) -> dict[str, str]:
        """Return the servers (uuids) that are sent nothing, with the reasons; for an error that a caller gets."""
        why = self._learner.unlearned(topology.key_manager.uuid)
        found = unusable(topology, length)
        return {uuid: why.get(uuid, reason) if reason == NOT_REACHED else reason for uuid, reason in found.items()}

    def _end(self, tx: Rows, call: Call, writing: Writing, copying: AttemptCopies) -> tuple[Ending, Key]:
        """Commit or abort the attempt by compare-and-set, under the key manager's lock. Store its copies and its key.

        Commit if enough domains hold proven copies on servers that are still configured as before. The incarnation and
        the client certificate must be the same, too. Return how the attempt ended, and the key. If another process had
        ended the attempt, the key is returned unchanged.
        """
        manager, topology, _ = key_attempts.lock_current(tx, writing.key)
        copies = copying.copies
        seen = domains_as_seen(topology.domain_of, copies, copying.had)
        proven = domains_still_proven(copies, writing.topology.servers, topology.servers, seen)
        enough = not missing_domain_count(proven, manager.min_copies, topology.domain_of)
        committed = enough and key_attempts.same_identity(writing.topology, topology)
        key = replace(writing.key, state=KeyState.ABORTED)
        if committed:
            key = replace(writing.key, state=KeyState.COMMITTED, committed=self._context.clock.now())
        copies = after_moves(copies, writing.topology.servers, topology.servers)
        if not key_attempts.end(tx, writing.attempt, copies, self._context.clock.now(), committed=committed):
            return Ending.OVERTAKEN, writing.key
        if not tx.change_key(key, KeyState.PENDING):
            raise StoreError(f"the attempt of key {key.uuid} was pending and the key was not: the database is damaged")
        if not committed:
            return Ending.ABORTED, key
        self._audit.succeed(tx, call, f"created key {key.key_id}", svm=key.svm)
        return Ending.COMMITTED, key

    # --- copy to one server ---

    async def _copy_to(self, key: Key, server: KeyServer, material: Secret) -> str:
        """Store the intent of a copy, write the copy, and commit or abort. Return what :meth:`copy_to` returns."""
        until = asyncio.get_running_loop().time() + COPYING_S
        writing = await self._context.store.write(lambda tx: self._intend_copy(tx, key, server, material))
        if writing is None:
            return NOT_NEEDED
        copying = self._work.copying(writing)
        await copying.write(until, NO_GRACE_S, _never_enough, self._work.stopping)
        committed = await self._context.store.write(lambda tx: self._end_copy(tx, writing, copying.copies))
        if not committed:  # without on_aborted, because it makes the keeper try again, and that would fail again
            return copying.reasons.get(server.uuid, OVERTAKEN)
        await self._work.finish(writing, copying)
        return ""

    def _intend_copy(self, tx: Rows, key: Key, server: KeyServer, material: Secret) -> Writing | None:
        """Store the attempt and the row of its copy. Return None if the server has a copy or may get one.

        Return None, too, if the key is neither committed nor retired any more, or if the server cannot store it.
        """
        _, topology, key = key_attempts.lock_current(tx, key)
        targets = self._work.targets(
            topology, [found for found in topology.servers if found.uuid == server.uuid], key.length
        )
        attempts = tx.attempts([key.uuid])
        if not targets or key.state not in KEPT_STATES:
            return None
        if is_open(tx.copies([key.uuid]), attempts, server.uuid):
            return None
        number = 1 + max(attempt.number for attempt in attempts)
        return self._work.begin(tx, key, number, Purpose.COPY, material, topology, targets)

    def _end_copy(self, tx: Rows, writing: Writing, copies: Sequence[Copy]) -> bool:
        """End the attempt. Return True if it was committed.

        Commit if the copy is proven, the key is still committed or retired, and the server is still configured as
        before. The incarnation and the client certificate must be the same, too.
        """
        _, topology, key = key_attempts.lock_current(tx, writing.key)
        proven = domains_still_proven(copies, writing.topology.servers, topology.servers, topology.domain_of)
        still_kept = key.state in KEPT_STATES and key_attempts.same_identity(writing.topology, topology)
        committed = bool(proven) and still_kept
        now = self._context.clock.now()
        return key_attempts.end(tx, writing.attempt, copies, now, committed=committed) and committed


def _never_enough() -> bool:
    """Return False, so that the writing waits for its only server."""
    return False


def made_material(key_type: KeyType) -> Secret:
    """Return random material for a key. Its halves differ, as XTS requires.

    Called if the request has no material.
    """
    while True:
        material = Secret(os.urandom(LENGTH[key_type]))
        if halves_differ(material):
            return material


def create_state(tx: FactRows, scope: Svm | None, topology: ServerTopology, new: NewKey) -> CreateState:
    """Read the facts that decide about a new or adopted key. ``scope`` is the SVM that the call is confined to.

    Called in the transaction that plans the key. Raise what :func:`owner_of` raises.
    """
    manager = topology.key_manager
    owner = owner_of(manager, scope, new)
    serves = serving_key_manager(tx, owner) if owner else None
    return CreateState(
        key_manager=manager,
        certificates=topology.certificates,
        servers=topology.servers,
        scope=scope,
        serving=serves.uuid if serves else None,
        named=tx.key_named(manager.uuid, new.name),
        authentication_keys=_authentication_keys(tx, manager.uuid) if new.key_type is KeyType.NSE_AK else 0,
    )


def _authentication_keys(tx: ListRows, key_manager: str) -> int:
    """Count a key manager's authentication keys that are pending, committed or retired. Their number is limited."""
    held = tuple(Condition("state", Op.EQUAL, state.value) for state in HOLD_NAMES)
    page = Page(where=(held,)).within(key_manager=key_manager, key_type=KeyType.NSE_AK.value)
    return len(tx.page(Key, page))


def _shortage(call: Call, topology: ServerTopology, reasons: Mapping[str, str], *, stored: bool) -> OntapError:
    """Return the error for a key that could not be created: 65536987 if a server ``stored`` it or could, else 65536076.

    Its arguments tell whether ``min_copies`` is too high, and which servers failed.
    """
    arguments = [*beyond_domains(call, topology), *at_fault(call, topology, reasons)]
    return OntapError(errors.TOO_FEW_COPIES if stored else errors.NOT_PUSHED, arguments=arguments)
