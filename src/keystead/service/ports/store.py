"""What the use cases need from the world, as Protocols. Adapters implement them; app.py wires them together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from keystead.core.query.where import equal
from keystead.service.ports.keys import KeepingRows, KeyProofRows, KeyRemovalRows, KeyRows

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
    from datetime import datetime

    from keystead.core.certificates.keys import PrivateKey
    from keystead.core.certificates.making import KeyAlgorithm
    from keystead.core.model import (
        Account,
        AuditHead,
        AuditRecord,
        Certificate,
        Cluster,
        DataKey,
        Event,
        Job,
        KeyManager,
        KeyServer,
        Node,
        Observation,
        Options,
        Svm,
    )
    from keystead.core.probing import ProbeResult, ProbeTarget, TlsIdentity
    from keystead.core.query.where import Order, Where
    from keystead.core.secret import Secret
    from keystead.core.server_address import ServerAddress

T = TypeVar("T")
Listed = TypeVar("Listed")


class StoreError(Exception):
    """The store could not do what was asked: the database is away, damaged or too busy for longer than is allowed."""


class StorageError(StoreError):
    """What the store writes to is full, or fails; ``reason`` says which. Nothing was stored."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


class SealError(Exception):
    """A sealed value cannot be opened: it was altered or moved, or its key is unknown."""


class StoreConflict(StoreError):  # noqa: N818 - a conflict between writers, named as databases name it
    """Another writer got there first, and running the transaction again did not settle it."""


@dataclass(frozen=True, slots=True)
class Page:
    """A slice of a list: rows that meet ``where``, in ``order``, after the row that ``after`` names.

    Columns are names of the model's fields, and ``svm_uuid``, ``svm_name``, ``scope`` where a model has an ``svm``.
    The kind's own key (``uuid``; ``position`` of key servers) ends every order that does not hold it. ``after`` are the
    values of all these keys in the last row seen; then ``offset`` rows are left out. ``wanted`` are the fields that
    will be looked at: what is costly to find out and not among them may be left out.
    """

    where: Where = ()
    order: tuple[Order, ...] = ()
    after: tuple[Any, ...] | None = None
    offset: int = 0
    limit: int = 10_000
    wanted: frozenset[str] = frozenset()

    def within(self, **equals: str | int | bool | None) -> Page:
        """The same slice of fewer rows: those whose columns equal these values as well; None is unset."""
        return replace(self, where=(*self.where, *equal(**equals)))


class Transaction(KeyRows, KeepingRows, KeyRemovalRows, KeyProofRows, Protocol):
    """One database transaction, used inside the function given to :meth:`Store.read` or :meth:`Store.write`.

    Every method raises StoreError when the database fails. ``lock=True`` (in a write) holds the row until the end.
    ``within``: of rows that are not this SVM's (uuid) nothing is read or locked, as if they did not exist.
    A failure that running the transaction again can settle is raised as something else: do not catch Exception here.
    """

    def cluster(self, *, lock: bool = False) -> Cluster | None: ...
    def cluster_and_nodes(self) -> tuple[Cluster | None, tuple[Node, ...]]:
        """Return both at once; None, too, for a cluster without nodes."""
        ...

    def put_cluster(self, cluster: Cluster) -> None: ...
    def nodes(self) -> tuple[Node, ...]: ...
    def put_node(self, node: Node) -> None:
        """Store a node; when it was heard of stays as it is."""
        ...

    def doubt_clock(self, node: str, *, doubted: bool) -> None:
        """Note whether a node's clock is believed."""
        ...

    def hear_node(self, uuid: str, time: datetime) -> None:
        """Note that a node's process runs."""
        ...

    def svm(self, uuid: str, *, within: str | None = None, lock: bool = False) -> Svm | None: ...
    def svm_named(self, name: str, *, within: str | None = None) -> Svm | None: ...
    def add_svm(self, svm: Svm) -> None: ...
    def rename_svm(self, uuid: str, name: str) -> None: ...
    def delete_svm(self, uuid: str) -> None:
        """Delete an SVM with its jobs and events; what :meth:`svm_contents` counts must be gone."""
        ...

    def svm_contents(self, uuid: str) -> Mapping[str, int]:
        """Count what an SVM owns: ``accounts``, ``certificates``, ``key_managers``."""
        ...

    def certificate(self, uuid: str, *, within: str | None = None, lock: bool = False) -> Certificate | None: ...
    def certificate_named(self, svm_uuid: str | None, name: str) -> Certificate | None:
        """Return the certificate with this name among an SVM's, or among the cluster's (None)."""
        ...

    def certificate_names(self, uuids: Iterable[str]) -> Mapping[str, str]:
        """Return the names of those of the certificates that are installed, by uuid."""
        ...

    def certificates(self, uuids: Collection[str], *, lock: bool = False) -> tuple[Certificate, ...]:
        """Return those that exist, by uuid; locks are taken in that order, too."""
        ...

    def login_authorities(self) -> tuple[Certificate, ...]:
        """Return the cluster's ``client_ca`` certificates, and those of SVMs with accounts that log in by one."""
        ...

    def add_certificate(self, certificate: Certificate) -> None: ...
    def rename_certificate(self, uuid: str, name: str) -> None: ...
    def delete_certificate(self, uuid: str) -> None: ...
    def certificate_in_use(self, uuid: str) -> bool: ...

    def key_manager(self, uuid: str, *, within: str | None = None, lock: bool = False) -> KeyManager | None: ...
    def key_manager_of(self, svm_uuid: str | None) -> KeyManager | None:
        """Return the key manager of an SVM, or of the cluster (None): the enabled one, else one that is not."""
        ...

    def enabled_key_managers(self, svm_uuids: Iterable[str]) -> tuple[KeyManager, ...]:
        """Return the enabled key managers of these SVMs, and the cluster's."""
        ...

    def add_key_manager(self, key_manager: KeyManager) -> None: ...
    def change_key_manager(self, key_manager: KeyManager) -> None:
        """Replace the row with this uuid; whose it is stays."""
        ...

    def delete_key_manager(self, uuid: str) -> None:
        """Delete a key manager with its key servers."""
        ...

    def key_server(self, key_manager: str, address: ServerAddress) -> KeyServer | None: ...
    def key_servers(self, key_manager: str) -> tuple[KeyServer, ...]: ...
    def key_servers_of(self, key_managers: Iterable[str]) -> tuple[KeyServer, ...]:
        """Return the servers of several key managers, those of one together and in their order."""
        ...

    def add_key_servers(self, servers: Sequence[KeyServer]) -> None: ...
    def change_key_server(self, server: KeyServer) -> None:
        """Store other values of the server with this uuid, its secondaries replaced."""
        ...

    def delete_key_server(self, uuid: str) -> None:
        """Delete a key server and all that is stored about it."""
        ...

    def account(self, name: str) -> Account | None: ...
    def account_alike(self, name: str) -> Account | None:
        """Return an account whose name differs from this one in case only, or not at all."""
        ...

    def put_account(self, account: Account) -> None:
        """Store the account; an existing row's version grows by one, whatever ``account.version`` says."""
        ...

    def delete_account(self, name: str) -> None: ...

    def options(self) -> Options:
        """Return the cluster's options; what was never put has its default."""
        ...

    def put_options(self, options: Options) -> None: ...

    def data_keys(self) -> tuple[DataKey, ...]: ...
    def add_data_key(self, key: DataKey) -> None: ...

    def job(self, uuid: str, *, within: str | None = None) -> Job | None: ...
    def unfinished_jobs(self, node: str) -> tuple[Job, ...]: ...
    def add_job(self, job: Job) -> None: ...
    def update_job(self, job: Job) -> None:
        """Store what a job has come to: its state, message, code, target, end and results. A removed job stays so."""
        ...

    def remove_jobs(self, node: str, *, before: datetime, beyond: int) -> None:
        """Delete finished jobs of a node that began earlier than ``before``, and all but the newest ``beyond``."""
        ...

    def change_marker(self) -> Hashable:
        """Return a value that is another one whenever what is watched, or who logs in, was changed and audited.

        It may change without need, but not with records of calls that changed nothing.
        """
        ...

    def watched(self) -> tuple[tuple[KeyManager, tuple[KeyServer, ...]], ...]:
        """Return every enabled key manager with its servers."""
        ...

    def key_managers(self, uuids: Sequence[str]) -> tuple[KeyManager, ...]:
        """Return those that exist, by uuid."""
        ...

    def lock_free_key_managers(self, uuids: Sequence[str]) -> tuple[KeyManager, ...]:
        """Lock those that nobody holds locked until the end of the transaction, and return them; wait for none."""
        ...

    def observations_of_node(self, node: str) -> tuple[Observation, ...]: ...
    def observations(self, key_servers: Collection[str]) -> tuple[Observation, ...]:
        """Return what all nodes observed of these key servers and their secondaries."""
        ...

    def put_observations(self, observations: Sequence[Observation], *, new: bool) -> None:
        """Store what nodes observed of addresses: the first of each (``new``), or in place of what stands there."""
        ...

    def forget_observations(self, key_server: str, hosts: Iterable[str]) -> None:
        """Delete what was observed of addresses of a key server that are not among ``hosts``."""
        ...

    def add_events(self, events: Sequence[Event], keep: int) -> None:
        """Store events, each with its node's next index, and keep no more than ``keep`` of each node."""
        ...

    def event(self, node: str, index: int, *, within: str | None = None) -> Event | None: ...
    def events_named(self, node: str, names: Collection[str]) -> tuple[Event, ...]: ...

    def audit_head(self, node: str) -> AuditHead | None:
        """Return the end of a node's chain, None for a new chain; in a write, lock the chain until the end."""
        ...

    def add_audit_records(self, records: Sequence[AuditRecord], head: AuditHead) -> None:
        """Store records of one node and make ``head`` the end of its chain."""
        ...

    def audit_records(self, node: str, after: int, limit: int) -> tuple[AuditRecord, ...]: ...
    def audit_nodes(self) -> tuple[str, ...]:
        """Return the uuids of all nodes: registered ones, and those that left a chain behind."""
        ...

    def page(self, kind: type[Listed], page: Page) -> tuple[Listed, ...]:
        """Return rows of a kind, by default in its order: uuid, position for key servers, name for accounts."""
        ...


class Store(Protocol):
    """The database. A transaction is a plain function, run in a worker thread, and run again on a conflict.

    So the function must do nothing but call the transaction and compute. A read sees one snapshot.
    """

    async def read(self, work: Callable[[Transaction], T]) -> T: ...
    async def glance(self, work: Callable[[Transaction], T]) -> T:
        """As ``read``, for a few rows by key: it may run on the caller's thread, and must never be a list."""
        ...

    def version(self) -> Hashable | None:
        """A value that is another one when anything was committed since, by whomever; None where that costs a read."""
        ...

    async def write(self, work: Callable[[Transaction], T]) -> T: ...
    async def changed(self, within_s: float) -> None:
        """Return when this process has moved the change marker since the last call, or so many seconds later."""
        ...

    async def check(self) -> None:
        """Raise StoreError unless the database answers and its schema is this release's."""
        ...

    async def close(self) -> None: ...


class SealContext(NamedTuple):
    """Where a sealed value stands; it can be opened nowhere else."""

    table: str
    row: str
    column: str


class Sealer(Protocol):
    """Encryption at rest. The store sees only what :meth:`seal` returns."""

    def seal(self, value: Secret, place: SealContext) -> bytes: ...

    def unseal(self, sealed: bytes, place: SealContext) -> Secret:
        """Raises SealError."""
        ...

    def mac(self, message: bytes) -> bytes:
        """Return the 32-byte MAC of an audit record under a key derived from the root key."""
        ...


class PasswordHasher(Protocol):
    """Slow, salted password hashing; at most two hashes are computed at a time."""

    async def hash(self, password: Secret) -> str: ...
    async def verify(self, password_hash: str, password: Secret) -> bool: ...


class Watch(Protocol):
    """One address of a key server, looked at again and again. One call at a time."""

    @property
    def connected(self) -> bool:
        """Whether a connection is kept."""
        ...

    async def check(self, limit_s: float) -> bool:
        """Whether the server answers a light question on the kept connection; if not, that is closed."""
        ...

    async def probe(self, limit_s: float) -> ProbeResult:
        """Probe on a fresh connection, and keep it if the server is accepted. Ends within ``limit_s`` seconds."""
        ...

    def close(self) -> None:
        """Close the kept connection."""
        ...


class KeyMaker(Protocol):
    """Private keys: making an RSA key takes up to seconds, proving one 0.2 s: never on the event loop."""

    async def make(self, algorithm: KeyAlgorithm) -> Secret:
        """Return a new private key, PKCS #8 in PEM."""
        ...

    async def prove(self, key: PrivateKey) -> bool:
        """Whether what the key signs is valid."""
        ...


class KeyServerGateway(Protocol):
    """The key servers themselves."""

    def can_use(self, identity: TlsIdentity) -> bool:
        """Whether TLS takes this certificate, its key and its intermediates."""
        ...

    def watch(self, server: ServerAddress, target: ProbeTarget, identity: TlsIdentity) -> Watch:
        """Return the watch of one address: a target's primary or one of its secondaries."""
        ...

    async def probe_all(
        self, targets: Sequence[ProbeTarget], identity: TlsIdentity, deadline_s: float, *, account: str
    ) -> list[ProbeResult]:
        """Probe every target and its secondaries at once and return one result per target, in order.

        ``account`` is who asks: what its probes hold back by hanging is its own probes only.
        Never raises for what a peer does; ends within ``deadline_s`` seconds.
        """
        ...


class Telemetry(Protocol):
    """What is counted and measured of this process."""

    def answered(self, method: str, status: int) -> None: ...
    async def exposition(self) -> tuple[bytes, str]:
        """Return all metrics as text, and its media type."""
        ...


class Clock(Protocol):
    """The time, an argument of everything that depends on it."""

    def now(self) -> datetime: ...
    def monotonic(self) -> float: ...
