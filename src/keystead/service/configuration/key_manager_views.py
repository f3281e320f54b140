"""Key managers as GET returns them: their rows, with those parts from other rows that were wanted."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_managers import CLIENT_CERTIFICATE, SERVER_CA_CERTIFICATES
from keystead.service.configuration.key_server_views import key_server_views
from keystead.service.ports.cluster import ClusterRows, EventRows, NodeRows, ObservationRows
from keystead.service.ports.configuration import CertificateRows, KeyManagerRows, KeyServerRows
from keystead.service.ports.keys import CopyRows
from keystead.service.ports.store import StorageError, StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from keystead.core.model import KeyManager, KeyServer
    from keystead.core.query.query import Wanted
    from keystead.service.configuration.key_server_views import TrafficOf
    from keystead.service.context import Call

_SERVERS = "external.servers"
_CERTIFICATE_NAMES = frozenset({f"{CLIENT_CERTIFICATE}.name", f"{SERVER_CA_CERTIFICATES}.name"})


class Rows(
    CertificateRows,
    KeyManagerRows,
    KeyServerRows,
    ClusterRows,
    NodeRows,
    ObservationRows,
    EventRows,
    CopyRows,
    Protocol,
):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class KeyManagerView:
    """A key manager, with those parts of its resource from other rows that were wanted.

    ``names`` are those of its certificates, by uuid: without those that are gone, and empty if none was wanted.
    """

    key_manager: KeyManager
    servers: tuple[KeyServer, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def client_certificate_name(self) -> str | None:
        """The client certificate's name, if it is known."""
        return self.names.get(self.key_manager.client_certificate)

    @property
    def server_cas(self) -> tuple[tuple[str, str | None], ...]:
        """The uuids of the CA certificates, and their names if they are known."""
        return tuple((uuid, self.names.get(uuid)) for uuid in self.key_manager.server_ca_certificates)


@dataclass(frozen=True, slots=True)
class Serving:
    """The key manager that keeps an SVM's keys. ``uuid`` is None if the call does not see it."""

    uuid: str | None
    scope: str


def views(
    tx: Rows, call: Call, key_managers: Sequence[KeyManager], wanted: Wanted, traffic: TrafficOf
) -> tuple[KeyManagerView, ...]:
    """Read the wanted parts of all key managers at once, as the call may see them."""
    servers: dict[str, tuple[KeyServer, ...]] = {}
    names: dict[str, str] = {}
    if any(name.startswith(_SERVERS) for name in wanted):
        servers = _servers(tx, call, key_managers, wanted, traffic)
    if not _CERTIFICATE_NAMES.isdisjoint(wanted):
        of_each = ((found.client_certificate, *found.server_ca_certificates) for found in key_managers)
        names = dict(tx.certificate_names(chain.from_iterable(of_each)))
    return tuple(KeyManagerView(found, servers.get(found.uuid, ()), names) for found in key_managers)


def _servers(
    tx: Rows, call: Call, key_managers: Sequence[KeyManager], wanted: Wanted, traffic: TrafficOf
) -> dict[str, tuple[KeyServer, ...]]:
    try:
        rows: Sequence[KeyServer] = tx.key_servers_of(found.uuid for found in key_managers)
    except StorageError:
        raise
    except StoreError as error:
        raise OntapError(errors.KEY_SERVERS_UNREADABLE) from error
    enabled = {found.uuid for found in key_managers if found.enabled}
    of_servers = [name.removeprefix(f"{_SERVERS}.") for name in wanted if name.startswith(_SERVERS)]
    rows = key_server_views(tx, call, rows, enabled, of_servers, traffic)
    return {uuid: tuple(servers) for uuid, servers in groupby(rows, attrgetter("key_manager"))}


def serving_view(call: Call, manager: KeyManager) -> Serving:
    """Return the key manager that keeps an SVM's keys, as the call sees it."""
    return Serving(manager.uuid if call.sees(manager.svm) else None, "svm" if manager.svm else "cluster")
