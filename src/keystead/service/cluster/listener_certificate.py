"""The certificate that this node's own listener shows, as events and metrics speak of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog

from keystead.core import events
from keystead.core.availability import SERVER, UsedCertificate
from keystead.core.certificates.subjects import common_name_of
from keystead.service.announcing import add_events, cluster_name
from keystead.service.ports.cluster import ClusterRows, EventRows
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from cryptography import x509

    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store

log = structlog.get_logger(__name__)


class Rows(ClusterRows, EventRows, Protocol):
    """The rows that this module reads and writes."""


class ListenerCertificate:
    """The listener's certificate. It belongs to the cluster."""

    def __init__(self, store: Store[Rows], clock: Clock, node: str) -> None:
        self._store = store
        self._clock = clock
        self._node = node
        self._vserver = ""

    async def start(self) -> None:
        """Read the cluster's name. Raises StoreError."""
        self._vserver = await self._store.read(cluster_name)

    def used(self, shown: x509.Certificate) -> UsedCertificate:
        """Return the certificate as one that something depends on."""
        return UsedCertificate(
            common_name_of(shown.subject) or shown.subject.rfc4514_string(),
            f"{shown.serial_number:X}",
            common_name_of(shown.issuer) or shown.issuer.rfc4514_string(),
            SERVER,
            None,
            self._vserver,
            shown.not_valid_after_utc,
            not_before=shown.not_valid_before_utc,
        )

    async def announce_unusable(self, why: str) -> None:
        """Announce that the listener's files changed and cannot be used."""
        values = {"vserver": self._vserver, "reason": why}
        event = events.LISTENER_UNUSABLE.happened(self._node, self._clock.now(), None, values)
        try:
            await self._store.write(lambda tx: add_events(tx, [event]))
        except StoreError as failure:
            log.warning("an event is not stored", event_name=event.name, why=str(failure))
