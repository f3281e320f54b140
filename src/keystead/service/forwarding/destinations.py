"""Use cases of destinations: read, create, change and delete those of the audit log, and those of the events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.forwarding import destinations as rules
from keystead.core.forwarding.destinations import Destination, Log, Progress
from keystead.core.forwarding.filters import SYSTEM_DEFINED
from keystead.core.model import Certificate, CertificateType
from keystead.service.loading import locked_cluster
from keystead.service.ports.cluster import AuditRows, ClusterRows
from keystead.service.ports.configuration import CertificateRows, ListRows
from keystead.service.ports.forwarding import DestinationRows, LogRows
from keystead.service.ports.page import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.ports.store import Store


class Rows(DestinationRows, LogRows, CertificateRows, ListRows, ClusterRows, AuditRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class DestinationView:
    """A destination, and the client certificate that it is shown, while that is installed."""

    destination: Destination
    certificate: Certificate | None = None


class Destinations:
    """The destinations of the cluster. A call that is confined to an SVM sees none: it gets 4 (404).

    ``is_refused`` says whether the egress rules refuse a host. It knows nothing of names: those are looked up, and
    checked, with each connection.
    """

    def __init__(self, store: Store[Rows], audit: AuditLog, is_refused: Callable[[str], bool]) -> None:
        self._store = store
        self._audit = audit
        self._is_refused = is_refused

    async def page(self, call: Call, log: Log, page: Page) -> tuple[DestinationView, ...]:
        """Return a slice of the destinations of a log, by name."""
        call.check_sees(None)

        def read(tx: Rows) -> tuple[DestinationView, ...]:
            found = page.cut(tx.destinations(log), lambda each: each.name)
            return tuple(_view(tx, each) for each in found)

        return await self._store.read(read)

    async def get(self, call: Call, log: Log, name: str) -> DestinationView:
        """Return one destination, or raise 4 (404)."""
        call.check_sees(None)
        return await self._store.read_few(lambda tx: _view(tx, _require(tx, log, name)))

    async def create(self, call: Call, log: Log, values: Mapping[str, Any]) -> DestinationView:
        """Store a new destination. What is written from now on is sent there, first of all the record of this call."""
        call.check_sees(None)
        plan = rules.audit_destination if log is Log.AUDIT else rules.event_destination

        def store(tx: Rows) -> DestinationView:
            locked_cluster(tx)
            wanted = self._checked(tx, plan(values), values)
            rules.check_new(wanted, tx.destinations(log))
            made = replace(wanted, progress=Progress(tx.log_heads(log)))
            tx.put_destination(made)
            self._audit.succeed(tx, call, f"created a destination of the log {log}: {made.address}")
            return _view(tx, made)

        return await self._store.write(store)

    async def change(self, call: Call, log: Log, name: str, values: Mapping[str, Any]) -> None:
        """Change a destination. It goes on where it was."""
        call.check_sees(None)
        plan = rules.changed_audit_destination if log is Log.AUDIT else rules.changed_event_destination

        def store(tx: Rows) -> None:
            locked_cluster(tx)
            before = _require(tx, log, name, lock=True)
            changed = self._checked(tx, plan(before, values), values)
            tx.put_destination(changed)
            self._audit.succeed(tx, call, f"changed a destination of the log {log}: {changed.address}")

        await self._store.write(store)

    async def delete(self, call: Call, log: Log, name: str) -> None:
        """Delete a destination, with what waits for it. Raises 4 (404)."""
        call.check_sees(None)

        def delete(tx: Rows) -> None:
            locked_cluster(tx)
            gone = _require(tx, log, name, lock=True)
            tx.delete_destination(log, name)
            self._audit.succeed(tx, call, f"deleted a destination of the log {log}: {gone.address}")

        await self._store.write(delete)

    def _checked(self, tx: Rows, wanted: Destination, values: Mapping[str, Any]) -> Destination:
        """Return the destination with its certificate. Check what it refers to, and its address."""
        if self._is_refused(wanted.host):
            field = "address" if wanted.log is Log.AUDIT else "destination"
            raise OntapError(
                errors.INVALID_VALUE, target=field, field=field, reason="the egress rules refuse this address"
            )
        known = {each.name for each in (*SYSTEM_DEFINED, *tx.event_filters())}
        for name in wanted.filters:
            if name not in known:
                reason = "there is no filter of this name"
                raise OntapError(errors.EMS_FILTER_NOT_FOUND, target="filters", reason=reason)
        if "certificate" not in values:
            return wanted
        return replace(wanted, certificate=_certificate(tx, values["certificate"]))


def _certificate(tx: Rows, named: Mapping[str, Any] | None) -> str:
    """Return the uuid of the cluster's client certificate of this CA with this serial number; empty for none."""
    if not named:
        return ""
    ca, serial_number = named.get("ca"), named.get("serial_number")
    if ca is None or serial_number is None:
        raise OntapError(errors.EMS_CERTIFICATE_INCOMPLETE, target="certificate")
    wanted = Page().within(svm_uuid=None, type=CertificateType.CLIENT, ca=ca, serial_number=serial_number)
    for found in tx.page(Certificate, wanted):
        if found.sealed_private_key is not None:
            return found.uuid
    raise OntapError(errors.EMS_CERTIFICATE_NOT_FOUND, target="certificate")


def _require(tx: Rows, log: Log, name: str, *, lock: bool = False) -> Destination:
    found = tx.destination(log, name, lock=lock)
    if found is None:
        raise OntapError(errors.ENTRY_NOT_FOUND, target="address" if log is Log.AUDIT else "name")
    return found


def _view(tx: Rows, destination: Destination) -> DestinationView:
    return DestinationView(destination, tx.certificate(destination.certificate) if destination.certificate else None)
