"""``keystead node invite``: gives the root key and the database's URL to one new node, which joins the cluster.

The command opens a listener of its own, which lives as long as the command, 15 minutes at most. So the REST API never
gives the root key: only who has a node's data directory can. The operator alone knows the token, this process its hash.
Three wrong tokens end the invitation. Before the root key leaves, the operator compares the new node's fingerprint, and
the audit log has it.

This module must not print: its caller shows the invitation and asks the operator.
"""

from __future__ import annotations

import asyncio
import queue
import socket
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from keystead.app import tls
from keystead.app.clock import SystemClock
from keystead.app.join_listener import Door, Listener
from keystead.app.join_messages import LIVES_S, Answer, Grant, Invited, Refusal
from keystead.app.listener import is_self_made, parse_listen
from keystead.app.opening import CannotStart, node_uuid, opened
from keystead.core import events
from keystead.core.secret import Secret
from keystead.sealing import Keyring, read_root_key
from keystead.sealing.joining import Side, fingerprint, hash_of, new_token, proof, seal
from keystead.service.announcing import add_events, cluster_name
from keystead.service.audit.log import AuditLog
from keystead.service.cluster.membership import REMOVED
from keystead.service.ports.sealing import SealError
from keystead.service.ports.store import StoreError
from keystead.store.opening import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from keystead.app.join_listener import Arrival
    from keystead.service.ports.store import Transaction
    from keystead.settings import Settings
    from keystead.store import SqlStore

    Accept = Callable[["NewNode", float], bool | None]

PORT: Final = 8444
"""The port of an invitation, unless the operator names one."""

ANYWHERE: Final = {"0.0.0.0", "::"}  # noqa: S104 - no address that a new node could ask
LONELY: Final = (
    "the database is SQLite's, which no other node can use: move it to PostgreSQL first, with `keystead db copy`"
)


class Outcome(Enum):
    """What becomes of an invitation: the words of its audit record, and whether an event tells of it."""

    MADE = "was made: for 15 minutes, who has its token can ask for the root key", True
    GIVEN = "was used: the root key was given to the new node", True
    WRONG_TOKENS = "has ended after three wrong tokens", True
    EXPIRED = "has expired", False
    UNANSWERED = "has expired before the operator accepted the new node", False
    REFUSED = "has ended: the operator refused the new node", False
    GONE = "has ended: the connection broke to the new node", False
    STOPPED = "has ended: its command was stopped", False


_REFUSALS: Final = {
    Outcome.UNANSWERED: Refusal.EXPIRED,
    Outcome.REFUSED: Refusal.BY_OPERATOR,
    Outcome.GONE: Refusal.FAILED,
}
"""What a new node is answered that does not get the root key."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation, for the operator."""

    cluster: str
    url: str
    token: Secret


@dataclass(frozen=True, slots=True)
class NewNode:
    """A new node that knows the token, for the operator: its address, and the fingerprint of its key."""

    address: str
    fingerprint: str

    def __str__(self) -> str:
        return f"at {self.address}, whose key has the fingerprint {self.fingerprint}"


def invite(
    settings: Settings,
    listen: str | None,
    show: Callable[[Invitation], None],
    accept: Accept,
    lives_s: float = LIVES_S,
) -> str:
    """Invite one new node, and wait until it has the root key. Return the line to show.

    ``listen`` is where the new node asks. ``accept`` asks the operator whether it is the right one, for so many seconds
    at most; None is no answer. Raises CannotStart if no root key was given. Raises SettingsError.
    """
    host, port = parse_listen(listen) if listen else (parse_listen(settings.listen)[0], PORT)
    try:
        with _member(settings) as member:
            certificate, token = sha256(_shown(settings).public_bytes(Encoding.DER)).digest(), new_token()
            door = Door(hash_of(token), certificate)
            with Listener((host, port), tls.server_context(settings.data, ()), door) as listener, listener.serving():
                until = time.monotonic() + lives_s
                member.note(Outcome.MADE)
                invited = Invited(_reachable(host), listener.server_address[1], certificate)
                show(Invitation(member.cluster, str(invited), token))
                del token  # its hash is enough
                with member.noting_a_stop():
                    return _attend(door, member, accept, until)
    except (SealError, StoreError, tls.UnusableFilesError) as error:
        raise CannotStart(str(error)) from None
    except OSError as error:
        raise CannotStart(f"{error.filename or f'{host}:{port}'}: {error.strerror}") from None


def _shown(settings: Settings) -> x509.Certificate:
    """Return the certificate of this node's listener, which the invitation's shows, too."""
    return x509.load_pem_x509_certificate((settings.data / tls.CERTIFICATE_FILE).read_bytes())


def _reachable(host: str) -> str:
    """Return the host for the URL."""
    return socket.gethostname() if host in ANYWHERE else host


def _attend(door: Door, member: _Member, accept: Accept, until: float) -> str:
    """Wait for a new node and answer it. Return the line to show. Raises CannotStart if no root key was given."""
    arrival = _first(door, member, until)
    new_node = NewNode(arrival.address, fingerprint(arrival.parties.new_node))
    answer = Answer(refusal=Refusal.FAILED)
    try:
        outcome = _decided(accept(new_node, max(until - time.monotonic(), 0)), arrival)
        refusal = _REFUSALS.get(outcome)
        decided = Answer(refusal=refusal) if refusal else _granted(door, member, arrival)
        member.note(outcome, f" {new_node}")
        answer = decided  # only now, so that no root key leaves without a record
    finally:
        arrival.reply(answer)
    said = f"the invitation {outcome.value[0]} {new_node}"
    if outcome is not Outcome.GIVEN:
        raise CannotStart(said)
    return f"{said}. `keystead node show` lists it once it has joined."


def _first(door: Door, member: _Member, until: float) -> Arrival:
    """Wait for the new node that knows the token. Raises CannotStart if none comes."""
    try:
        arrival, outcome = door.arrivals.get(timeout=max(until - time.monotonic(), 0)), Outcome.WRONG_TOKENS
    except queue.Empty:
        arrival, outcome = None, Outcome.EXPIRED
    if arrival is None:
        member.note(outcome)
        raise CannotStart(f"the invitation {outcome.value[0]}")
    return arrival


def _decided(is_right: bool | None, arrival: Arrival) -> Outcome:  # noqa: FBT001 - the operator's answer
    if not is_right:
        return Outcome.UNANSWERED if is_right is None else Outcome.REFUSED
    return Outcome.GONE if arrival.is_gone() else Outcome.GIVEN


def _granted(door: Door, member: _Member, arrival: Arrival) -> Answer:
    sealed = seal(member.grant().encoded(), arrival.parties)
    return Answer(sealed, proof(door.token_hash, Side.INVITER, arrival.parties, sealed))


class _Member:
    """This node, which is a member of the cluster. It gives what a new node needs, and notes what happens."""

    def __init__(self, settings: Settings, store: SqlStore, root_key: Secret) -> None:
        """Raise StoreError or SealError; CannotStart for a node that was removed."""
        uuid, clock = node_uuid(settings.data), SystemClock()
        keyring = Keyring.open(root_key, asyncio.run(store.read(lambda tx: tx.data_keys())))
        names = {node.uuid: node.name for node in asyncio.run(store.read(lambda tx: tx.nodes()))}
        if uuid not in names:
            raise CannotStart(REMOVED)
        self.cluster = asyncio.run(store.read(cluster_name))
        self._settings, self._store, self._root_key = settings, store, root_key
        self._uuid, self._name, self._clock = uuid, names[uuid], clock
        self._audit = AuditLog(store, keyring, clock, uuid)

    def note(self, outcome: Outcome, more: str = "") -> None:
        """Write the audit record of an outcome, and its event. Raises StoreError."""
        words, is_announced = outcome.value
        values = {"node": self._name, "outcome": words + more}
        event = events.INVITATION.happened(self._uuid, self._clock.now(), None, values)

        def work(tx: Transaction) -> None:
            self._audit.act(tx, f"invitation to join the cluster {words}{more}")
            add_events(tx, [event] if is_announced else [])

        asyncio.run(self._store.write(work))

    @contextmanager
    def noting_a_stop(self) -> Iterator[None]:
        """Note that the operator stops the command in the block."""
        try:
            yield
        except KeyboardInterrupt:
            with suppress(StoreError):
                self.note(Outcome.STOPPED)
            raise

    def grant(self) -> Grant:
        """Return what a new node needs. The listener's certificate is part of it unless `init` made it. Raises OSError.

        All nodes show a certificate that somebody else issued, because clients reach them all by the same names.
        """
        certificate, key = "", Secret(b"")
        if not is_self_made(_shown(self._settings)):
            certificate = (self._settings.data / tls.CERTIFICATE_FILE).read_text()
            key = Secret((self._settings.data / tls.KEY_FILE).read_bytes())
        return Grant(self._root_key, self._settings.database, certificate, key)


@contextmanager
def _member(settings: Settings) -> Iterator[_Member]:
    """Open this node's data directory and database until the block ends. Raises CannotStart, StoreError, SealError."""
    if parse(settings.database_url).get_backend_name() == "sqlite":
        raise CannotStart(LONELY)
    root_key, store = read_root_key(settings.root_key_file), opened(settings)
    try:
        yield _Member(settings, store, root_key)
    finally:
        asyncio.run(store.close())
