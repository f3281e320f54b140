"""Rows of keys: keys, attempts, copies and receipts, and what is known of the servers that hold them.

Part of :class:`keystead.service.ports.store.Transaction`: what holds for its methods holds here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from keystead.service.ports.cluster import IncarnationRows
from keystead.service.ports.configuration import CertificateRows, KeyServerRows

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from keystead.core.keys.epoch_markers import EpochMarker
    from keystead.core.keys.model import (
        Attempt,
        AttemptState,
        Copy,
        Detached,
        Dismissal,
        Key,
        KeyState,
        Orphan,
        Receipt,
        ServerProfile,
        Standing,
    )
    from keystead.core.keys.proving import NeededProofs, ProvingAttempt
    from keystead.core.keys.report import KeyReport
    from keystead.core.keys.survival import KeyGroup
    from keystead.core.server_costs import ObjectCounts


class KeyRows(Protocol):
    """Keys."""

    def key(self, uuid: str, *, lock: bool = False) -> Key | None: ...

    def lock_key(self, uuid: str) -> None:
        """Let nobody else lock it until the transaction's end; without reading it."""
        ...

    def key_by_id(
        self, key_manager: str, key_id: str, *, within: str | None = None, lock: bool = False
    ) -> Key | None: ...

    def keys(self, uuids: Collection[str]) -> tuple[Key, ...]:
        """Return those that exist, by uuid."""
        ...

    def key_standings(self, key_ids: Collection[str]) -> Mapping[str, Standing]:
        """Return where keys stand, by key id; those that do not exist are left out."""
        ...

    def key_named(self, key_manager: str, name: str) -> Key | None:
        """Return the key that holds this name: pending, committed or retired."""
        ...

    def keys_in(
        self, key_manager: str, states: Collection[KeyState], after: str, limit: int, *, within: str | None = None
    ) -> tuple[Key, ...]:
        """Return keys in some states whose uuid is greater than ``after``, by uuid; ``within`` an SVM, or all."""
        ...

    def key_counts(self, key_manager: str, *, within: str | None = None) -> Mapping[KeyState, int]:
        """Count a key manager's keys by state, ``within`` an SVM or all; states without keys are left out."""
        ...

    def keys_lacking(self, key_manager: str, domains: Collection[Collection[str]]) -> tuple[str, ...]:
        """Return the keys (uuids, in order) that may lack a present copy on all servers of one of the ``domains``.

        All kept keys that lack one are among them. Others are there because they have copies of aborted attempts.
        """
        ...

    def keys_of_svm(self, svm_uuid: str, states: Collection[KeyState]) -> int:
        """Count an SVM's keys in some states, whatever key manager they are in."""
        ...

    def keys_left(self, key_manager: str, incarnation: str) -> int:
        """Count a key manager's keys in final states of which this incarnation has objects to end on key servers."""
        ...

    def keys_left_of_svm(self, svm_uuid: str, incarnation: str) -> int:
        """Count an SVM's, whatever key manager they are in."""
        ...

    def add_key(self, key: Key) -> None: ...

    def change_key(self, key: Key, was: KeyState) -> bool:
        """Store other values of a key if it is in the state ``was``; return whether it was. Compare-and-set."""
        ...

    def drop_key(self, key: str) -> None:
        """Delete a key, whatever its state, with its attempts and copies."""
        ...

    def drop_keys(self, key_manager: str, states: Collection[KeyState]) -> None:
        """Delete a key manager's keys that are in these (final) states, with their attempts and copies."""
        ...

    def drop_keys_of_svm(self, svm_uuid: str, states: Collection[KeyState]) -> None:
        """Delete an SVM's keys that are in these (final) states, whatever key manager they are in."""
        ...

    def keys_adopting(self, name: str) -> tuple[Key, ...]:
        """Return the keys, of any key manager, that adopted an object of this name and are not purged."""
        ...

    def keys_written_to(self, key_server: str) -> tuple[Key, ...]:
        """Return the keys that a pending attempt writes to a server."""
        ...


class AttemptRows(Protocol):
    """Attempts."""

    def attempts(self, keys: Collection[str]) -> tuple[Attempt, ...]:
        """Return the attempts of keys, by key and number."""
        ...

    def expired_attempts(self, now: datetime, ahead: datetime, limit: int) -> tuple[Attempt, ...]:
        """Return pending attempts that expire before ``now``, or not even until ``ahead``: the longest first."""
        ...

    def add_attempt(self, attempt: Attempt) -> None: ...

    def drop_attempt(self, key: str, number: int) -> None:
        """Delete an attempt, whatever its state, with its copies, if it is there."""
        ...

    def orphan_attempt(self, key: str, number: int) -> None:
        """Make an attempt that was aborted for its time alone that of no incarnation; any other stays as it is.

        What it wrote is unclaimed, and never destroyed for having failed.
        """
        ...

    def end_attempt(self, attempt: Attempt, state: AttemptState, *, expired: bool = False) -> bool:
        """Give a pending attempt with this token its end; return whether it was pending. Compare-and-set.

        ``expired``: for its time alone.
        """
        ...


class CopyRows(Protocol):
    """Copies."""

    def aborted_copies(self, key_manager: str, incarnation: str, after: str, limit: int) -> tuple[Copy, ...]:
        """Return copies of aborted attempts of an incarnation that are not destroyed, of keys after this uuid."""
        ...

    def open_copies(
        self, key_server: str, after: str, limit: int, *, inactive: bool, undescribed: bool
    ) -> tuple[Copy, ...]:
        """Return unsettled copies on a server, of keys after this uuid.

        An unsettled copy is sent or unknown. With ``inactive``, it may be present and not known to be Active. With
        ``undescribed``, it may be present without a descriptor. Its attempt is committed, its key committed or retired.
        """
        ...

    def copies(self, keys: Collection[str]) -> tuple[Copy, ...]:
        """Return the copies of keys, by key, attempt, server and host."""
        ...

    def copies_not_aborted(self, keys: Collection[str]) -> tuple[Copy, ...]:
        """Return the copies of keys, in that order, but for what attempts left that came to nothing."""
        ...

    def copies_on(self, key_server: str, after: str, limit: int) -> tuple[Copy, ...]:
        """Return copies on a server of keys whose uuid is greater than ``after``, by key; whole keys only."""
        ...

    def newest_copy(self, key_server: str, host: str) -> Copy | None:
        """Return the present copy that was written last at an address, of a committed or retired key."""
        ...

    def object_counts(self, key_servers: Collection[str]) -> Mapping[str, ObjectCounts]:
        """Count our objects on each of these servers, secondaries included: copies, descriptors, canary and markers."""
        ...

    def put_copies(self, copies: Sequence[Copy], *, new: bool) -> None:
        """Store copies: new ones, or in place of those with the same key, attempt, server and host."""
        ...


class ReceiptRows(Protocol):
    """Receipts: what was done to the objects of keys."""

    def abandon_copies(self, receipt: Receipt) -> None:
        """End every copy on the receipt's server, with such a receipt for each: it names no key, attempt and host.

        An attempt of these that was aborted for its time alone is disowned: the server can deny nothing any more.
        """
        ...

    def add_receipts(self, receipts: Sequence[Receipt]) -> None:
        """Store receipts; one that is there already stays as it is."""
        ...

    def receipts(self, keys: Collection[str]) -> tuple[Receipt, ...]: ...


class RemovalRows(Protocol):
    """Keys that a removal or a relocation puts at risk, and proofs of their copies."""

    def keys_at_risk(
        self,
        key_manager: str,
        going: Collection[str],
        stay: Sequence[Collection[str]],
        needed: NeededProofs,
        after: str,
        limit: int,
    ) -> tuple[str, ...]:
        """Return committed and retired keys (uuids after ``after``) that the removal of the servers ``going`` may lose.

        These keys have a copy on a server in ``going`` that is not destroyed. Their copies on primaries in ``stay``
        have too few of the needed proofs. ``stay`` has the servers of each replication domain. Copies of aborted
        attempts do not count as proven. The answer may have keys that are safe, but lacks no key that is at risk.
        """
        ...

    def count_at_risk(
        self, key_manager: str, going: Collection[str], stay: Sequence[Collection[str]], needed: NeededProofs
    ) -> int:
        """Count the keys that :meth:`keys_at_risk` returns, page by page."""
        ...

    def proving_attempt(self, what: str) -> ProvingAttempt | None:
        """Return the proving attempt for a change."""
        ...

    def put_proving_attempt(self, attempt: ProvingAttempt) -> None:
        """Store a proving attempt, and forget all to which no proof counts any more."""
        ...

    def note_proven(self, copies: Sequence[Copy], time: datetime) -> None:
        """Store when copies were proven, of those that are still present with these Unique Identifiers."""
        ...

    def doubt_copies(self, key_server: str) -> None:
        """Make the present copies on a server ``unknown``, because they were seen at another address or in another way.

        The times of their proofs stay. Locks all keys that have, or had, a copy there.
        """
        ...

    def copies_proven(self, key_manager: str, since: datetime) -> tuple[Copy, ...]:
        """Return present copies that were proven since then, of committed and retired keys.

        Copies of aborted attempts are left out.
        """
        ...


class ReportRows(Protocol):
    """Proofs of keys, counted, and reports of verifications and drills."""

    def key_groups(self, servers: Mapping[str, Sequence[str]], limit: int) -> Mapping[str, tuple[KeyGroup, ...]]:
        """Return the committed and retired keys of key managers (uuids) in groups, by key manager.

        The copies of the keys in one group lie alike on ``servers``, which has the servers (uuids) of each key manager.
        Only copies of committed attempts count. Each group names its first ``limit`` keys by name.
        """
        ...

    def add_key_report(self, report: KeyReport, *, keep: int) -> None:
        """Store a report, and drop all but the newest ``keep`` of its key manager."""
        ...

    def key_reports(self, key_manager: str) -> tuple[KeyReport, ...]:
        """Return a key manager's reports without their documents, the newest first."""
        ...

    def key_report(self, key_manager: str, uuid: str) -> KeyReport | None: ...


class ProfileRows(Protocol):
    """Server profiles."""

    def profiles(self, key_servers: Collection[str]) -> tuple[ServerProfile, ...]: ...
    def put_profile(self, profile: ServerProfile) -> None: ...

    def delete_profile(self, key_server: str) -> None:
        """Delete the profile of a server, and its epoch marker."""
        ...


class EpochMarkerRows(Protocol):
    """Epoch markers."""

    def epoch_marker(self, key_server: str) -> EpochMarker | None: ...
    def put_epoch_marker(self, marker: EpochMarker) -> None: ...

    def set_epoch_markers_due(self, key_manager: str) -> None:
        """Mark the epoch markers of a key manager as due, also those of removed servers."""
        ...

    def due_epoch_markers(self, key_manager: str) -> frozenset[str]:
        """Return the servers (uuids) whose epoch markers are due and are not replaced yet."""
        ...

    def clear_epoch_marker_due(self, key_server: str) -> None:
        """Note that a due epoch marker is being replaced."""
        ...


class DigestKeyRows(Protocol):
    """Digest keys, sealed."""

    def digest_key(self, key_manager: str) -> bytes | None:
        """Return the digest key of a key manager, sealed in ``SealContext("digest_keys", key_manager, "sealed")``."""
        ...

    def add_digest_key(self, key_manager: str, sealed: bytes) -> None: ...


class DetachedRows(Protocol):
    """Detached key servers."""

    def detached_key_servers(self, key_manager: str | None = None) -> tuple[Detached, ...]:
        """Return a key manager's detached servers, or all."""
        ...

    def add_detached_key_server(self, detached: Detached) -> None: ...
    def delete_detached_key_server(self, uuid: str) -> None: ...


class OrphanRows(Protocol):
    """Orphaned objects."""

    def orphans(self, *key_managers: str) -> tuple[Orphan, ...]:
        """Return the orphans of these key managers, by server."""
        ...

    def put_orphans(self, found: Sequence[Orphan]) -> None:
        """Store what was found. What is known keeps the time at which it was found first, and its dismissal."""
        ...

    def dismiss_orphan(self, orphan: Orphan, dismissal: Dismissal | None) -> None:
        """Store the dismissal of an orphan; None undoes it. An orphan that is not stored stays so."""
        ...

    def delete_orphans(self, key_server: str, unique_identifiers: Collection[str]) -> None: ...

    def delete_orphans_named(self, names: Collection[str]) -> None:
        """Forget what was found under these names, by any key manager."""
        ...


class TopologyRows(CertificateRows, KeyServerRows, ProfileRows, DigestKeyRows, IncarnationRows, Protocol):
    """The rows that make a :class:`keystead.service.keys.topology.ServerTopology`."""
