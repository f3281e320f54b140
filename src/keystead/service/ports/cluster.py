"""Rows of the cluster: nodes, accounts, options, jobs, observations, events and the audit log.

Part of :class:`keystead.service.ports.store.Transaction`: what holds for its methods holds here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Sequence
    from datetime import datetime

    from keystead.core.announcing import AnnouncedState
    from keystead.core.audit_retention import AuditCut, AuditSave
    from keystead.core.keys.model import (
        ClusterKey,
        Incarnation,
        Lease,
    )
    from keystead.core.model import (
        Account,
        AuditHead,
        AuditRecord,
        Cluster,
        Contact,
        CustomRole,
        DataKey,
        Event,
        Job,
        KeyManager,
        KeyServer,
        LoginMessages,
        Node,
        NodeProcess,
        Observation,
        Options,
        Svm,
    )
    from keystead.core.sessions import Session


class ClockRows(Protocol):
    """The database's clock."""

    def now(self) -> datetime:
        """Return the time by the database's clock, which all nodes share."""
        ...


class ClusterRows(Protocol):
    """The cluster and its options."""

    def cluster(self, *, lock: bool = False) -> Cluster | None: ...

    def cluster_and_nodes(self) -> tuple[Cluster | None, tuple[Node, ...]]:
        """Return both at once; None, too, for a cluster without nodes."""
        ...

    def put_cluster(self, cluster: Cluster) -> None: ...

    def options(self) -> Options:
        """Return the cluster's options; what was never put has its default."""
        ...

    def put_options(self, options: Options) -> None: ...


class NodeRows(ClockRows, Protocol):
    """Nodes, and what is known of their clocks."""

    def nodes(self) -> tuple[Node, ...]: ...

    def put_node(self, node: Node) -> None:
        """Store a node; when it was heard of stays as it is."""
        ...

    def doubt_clock(self, node: str, *, doubted: bool) -> None:
        """Note whether a node's clock is believed."""
        ...

    def start_node(self, uuid: str, process: NodeProcess) -> bool:
        """Note that a node's process starts: what it observed before does not count until it is heard.

        Return False if there is no such node.
        """
        ...

    def process_of(self, uuid: str) -> str | None:
        """Return the token of the process that serves as a node last, None if the node is gone.

        In a write, the node is not removed before the end of the transaction.
        """
        ...

    def delete_node(self, uuid: str) -> None:
        """Delete a node and what it observed. Its events and its audit chain stay."""
        ...

    def leave_node(self, uuid: str) -> None:
        """Note that a node's process stops: it is silent from now on until it starts again."""
        ...

    def touch_node(self, uuid: str) -> None:
        """Store a node's row as it is: a commit that changes nothing."""
        ...

    def reach_node(self, uuid: str, contact: Contact, reads_until: datetime | None) -> None:
        """Store how other nodes reach a node's process, and until when it reads keys without the database."""
        ...

    def hear_node(self, uuid: str, reported: datetime) -> None:
        """Note that a node's process runs now, and has looked at all of its key servers since it started.

        ``reported`` is the time by its own clock.
        """
        ...


class AccountRows(Protocol):
    """Accounts."""

    def account(self, name: str) -> Account | None: ...

    def account_alike(self, name: str) -> Account | None:
        """Return an account whose name differs from this one in case only, or not at all."""
        ...

    def put_account(self, account: Account) -> None:
        """Store the account; an existing row's version grows by one, whatever ``account.version`` says.

        Whether an existing account has read keys stays as it is.
        """
        ...

    def note_first_read(self, name: str) -> Account | None:
        """Note that an account has read keys. Return it if that was not noted before, else None.

        The version of its row stays, so that its remembered credentials stay valid.
        """
        ...

    def delete_account(self, name: str) -> None: ...


class RoleRows(Protocol):
    """The roles that administrators made. The change marker moves with each change."""

    def custom_roles(self, owners: Collection[Svm | None]) -> tuple[CustomRole, ...]:
        """Return the roles of these SVMs, and of the cluster if None is among them, by owner and name."""
        ...

    def put_role(self, role: CustomRole) -> None:
        """Store a role: a new one, or other privileges of the one with this name and owner."""
        ...

    def delete_role(self, role: CustomRole) -> None: ...

    def role_user(self, role: CustomRole) -> str | None:
        """Return the name of an account with this role, None if no account has it."""
        ...


class LoginMessageRows(Protocol):
    """What those who log in are to be told."""

    def login_messages(self, owners: Sequence[Svm | None]) -> tuple[LoginMessages, ...]:
        """Return what is stored for these SVMs, and the cluster (None), in this order; else the defaults."""
        ...

    def put_login_messages(self, messages: LoginMessages) -> None: ...


class SessionRows(Protocol):
    """Logins to the console. They are deleted with their account."""

    def session(self, digest: str) -> Session | None: ...

    def sessions(self, account: str | None = None) -> tuple[Session, ...]:
        """Return the sessions of an account, or all, the newest first."""
        ...

    def put_session(self, session: Session) -> None: ...
    def delete_session(self, digest: str) -> None: ...

    def delete_old_sessions(self, began: datetime, used: datetime) -> None:
        """Delete sessions that began, or were last used, before these times."""
        ...


class JobRows(Protocol):
    """Jobs."""

    def job(self, uuid: str, *, within: str | None = None, lock: bool = False) -> Job | None: ...
    def unfinished_jobs(self, node: str) -> tuple[Job, ...]: ...

    def resumable_jobs(self) -> tuple[Job, ...]:
        """Return the resumable jobs of all nodes that are queued or running."""
        ...

    def add_job(self, job: Job) -> None: ...

    def update_job(self, job: Job) -> None:
        """Store what a job has come to: all but what was given at its beginning.

        A removed job stays so, and so does the end of one that has ended.
        """
        ...

    def remove_jobs(self, node: str, *, before: datetime, beyond: int) -> None:
        """Delete finished jobs of a node that began earlier than ``before``, and all but the newest ``beyond``."""
        ...


class ObservationRows(Protocol):
    """Observations of nodes, and the configuration that they watch."""

    def change_marker(self) -> Hashable:
        """Return a value that is another one whenever what is watched, or who logs in, was changed and audited.

        It may change without need, but not with records of calls that changed nothing.
        """
        ...

    def watched(self) -> tuple[tuple[KeyManager, tuple[KeyServer, ...]], ...]:
        """Return every enabled key manager with its servers."""
        ...

    def observations_of_node(self, node: str) -> tuple[Observation, ...]: ...

    def observations(self, key_servers: Collection[str]) -> tuple[Observation, ...]:
        """Return what all nodes observed of these key servers and their secondaries."""
        ...

    def put_observations(self, observations: Sequence[Observation], *, new: bool) -> None:
        """Store what nodes observed of addresses: the first of each (``new``), or in place of what stands there."""
        ...

    def forget_observations(self, key_server: str, hosts: Iterable[str]) -> None:
        """Delete what was observed and announced of addresses of a key server that are not among ``hosts``."""
        ...

    def announced_states(self, key_servers: Collection[str] | None = None) -> tuple[AnnouncedState, ...]:
        """Return what is announced of these key servers, or of all: the addresses that are lost, or hide their keys."""
        ...

    def put_announced_states(self, states: Sequence[AnnouncedState]) -> None:
        """Store what is announced of addresses, in place of what stands there."""
        ...


class EventRows(Protocol):
    """EMS events."""

    def add_events(self, events: Sequence[Event], keep: int) -> None:
        """Store events, each with its node's next index, and keep no more than ``keep`` of each node."""
        ...

    def event(self, node: str, index: int, *, within: str | None = None) -> Event | None: ...
    def events_named(self, node: str, names: Collection[str]) -> tuple[Event, ...]: ...


class AuditRows(Protocol):
    """The audit log."""

    def audit_head(self, node: str) -> AuditHead | None:
        """Return the end of a node's chain, None for a new chain; in a write, lock the chain until the end."""
        ...

    def add_audit_records(self, records: Sequence[AuditRecord], head: AuditHead) -> None:
        """Store records of one node and make ``head`` the end of its chain."""
        ...

    def audit_records(self, node: str, after: int, limit: int) -> tuple[AuditRecord, ...]: ...

    def placed_audit_records(self, node: str, after: int, limit: int) -> tuple[tuple[AuditRecord, str], ...]:
        """Return the same records, each with its stored sort key."""
        ...

    def recorded_reads(self, node: str, read_ids: Collection[str]) -> frozenset[str]:
        """Return those of the read ids that records in a node's chain have."""
        ...

    def audit_nodes(self) -> tuple[str, ...]:
        """Return the uuids of all nodes: registered ones, and those that left a chain behind."""
        ...

    def audit_ends(self) -> tuple[AuditHead, ...]:
        """Return the ends of all chains, by node. It locks none."""
        ...

    def audit_cut(self, node: str) -> AuditCut | None:
        """Return the last cut of a node's chain, None if nothing was removed."""
        ...

    def cut_audit_records(self, cut: AuditCut) -> None:
        """Delete the records of a node up to a cut, and store the cut in place of the one before."""
        ...

    def audit_saves(self, node: str) -> tuple[AuditSave, ...]:
        """Return up to where the last backup and the last export have a node's records."""
        ...

    def put_audit_save(self, save: AuditSave) -> None:
        """Store up to where a backup or an export has a node's records, in place of the one before."""
        ...


class LeaseRows(ClockRows, Protocol):
    """Leases."""

    def lease(self, name: str, *, lock: bool = False) -> Lease | None: ...
    def put_lease(self, lease: Lease) -> None: ...
    def remove_lease(self, name: str) -> None: ...


class IncarnationRows(Protocol):
    """Incarnations of the database, and the newest that each node has seen."""

    def incarnation(self) -> Incarnation | None:
        """Return the newest incarnation of the database."""
        ...

    def incarnations(self) -> tuple[Incarnation, ...]:
        """Return all incarnations of the database, the newest first."""
        ...

    def put_incarnation(self, incarnation: Incarnation) -> None:
        """Store an incarnation: a new one, or other values of the one with this number."""
        ...

    def node_epoch(self, node: str) -> int: ...
    def put_node_epoch(self, node: str, epoch: int) -> None: ...

    def stop_token(self, node: str) -> str:
        """Return the token that the node's last process left when it was stopped, empty if there is none."""
        ...

    def put_stop_token(self, node: str, token: str) -> None: ...

    def vouchers(self, storage: str) -> frozenset[str]:
        """Return the nodes (uuids) that vouched for the database at this storage."""
        ...

    def add_voucher(self, storage: str, node: str, time: datetime) -> None:
        """Note that a node vouches for the database at this storage, if that is not noted yet."""
        ...


class SealingKeyRows(Protocol):
    """Data keys and keys of the cluster, sealed."""

    def data_keys(self) -> tuple[DataKey, ...]: ...
    def add_data_key(self, key: DataKey) -> None: ...

    def cluster_key(self, name: str) -> ClusterKey | None:
        """Return a key of the cluster; it is sealed at ``Place("cluster_keys", name, "sealed")``."""
        ...

    def add_cluster_key(self, key: ClusterKey) -> None: ...
