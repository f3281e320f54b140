"""The Transaction of both engines, combined from the modules that own its tables. It knows no rule of ONTAP."""

from __future__ import annotations

from keystead.store.administration import AdministrationRows
from keystead.store.applications import ApplicationRows
from keystead.store.auditing import AuditRows
from keystead.store.change_marks import ChangeMarkRows
from keystead.store.configuration import ConfigurationRows
from keystead.store.forwarding import ForwardingRows
from keystead.store.jobs import JobRows
from keystead.store.keeping import KeepingRows
from keystead.store.key_counts import KeyCountRows
from keystead.store.key_guarding import KeyRemovalRows
from keystead.store.key_proofs import KeyProofRows
from keystead.store.keys import KeyRows
from keystead.store.object_counts import ObjectCountRows
from keystead.store.observed import ObservedRows
from keystead.store.sessions import SessionRows


class SqlTransaction(
    ConfigurationRows,
    AdministrationRows,
    AuditRows,
    JobRows,
    ObservedRows,
    KeyRows,
    KeyCountRows,
    KeepingRows,
    KeyRemovalRows,
    KeyProofRows,
    ObjectCountRows,
    ForwardingRows,
    SessionRows,
    ChangeMarkRows,
    ApplicationRows,
):
    """An implementation of :class:`keystead.service.ports.store.Transaction` on a connection."""
