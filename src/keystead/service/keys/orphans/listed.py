"""What adopting and dismissing an orphan share: find it in the list, and read it from its key server."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.names import ObjectKind, parse
from keystead.service.cluster.svms import about_svm
from keystead.service.keys.looking.visit import visit
from keystead.service.keys.orphans.scan import is_orphaned
from keystead.service.keys.topology import load_topology
from keystead.service.loading import require_key_manager
from keystead.service.ports.cluster import ClusterRows, LeaseRows
from keystead.service.ports.configuration import KeyManagerRows, ListRows
from keystead.service.ports.keys import AttemptRows, CopyRows, KeyRows, OrphanRows, TopologyRows
from keystead.service.ports.objects import KeyServerFault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.keys.model import Orphan
    from keystead.core.model import KeyManager
    from keystead.core.secret import Secret
    from keystead.service.context import Call
    from keystead.service.keys.context import KeeperContext
    from keystead.service.keys.looking.visit import Visit
    from keystead.service.keys.topology import ServerTopology


class Rows(
    TopologyRows, KeyManagerRows, ListRows, ClusterRows, LeaseRows, KeyRows, AttemptRows, CopyRows, OrphanRows, Protocol
):
    """The rows that this module reads."""


class ListedObject(NamedTuple):
    """An orphan in the list: one object, or both parts of a pair in their order. ``topology`` is where it is."""

    topology: ServerTopology
    parts: tuple[Orphan, ...]

    @property
    def unique_identifiers(self) -> tuple[str, ...]:
        """The identifiers of the parts."""
        return tuple(part.unique_identifier for part in self.parts)


async def read_object(context: KeeperContext, found: ListedObject) -> Secret:
    """Return the material of an orphan, read from its server after its name was compared.

    Raises 4 (404) if the object is not there any more, and 65536076 if it cannot be read.
    """
    topology = found.topology
    server = topology.server(found.parts[0].key_server)
    if server is None:
        raise OntapError(errors.ENTRY_NOT_FOUND, target="key_server")
    try:
        async with visit(context, topology, server) as at:
            await _check_names(at, found.parts)
            return await at.session.get(found.unique_identifiers)
    except KeyServerFault as fault:
        with about_svm(topology.key_manager.svm):
            arguments = [("server", str(server.address)), ("reason", fault.reason)]
            raise OntapError(errors.NOT_PUSHED, target="unique_identifier", arguments=arguments) from None


async def _check_names(at: Visit, parts: Sequence[Orphan]) -> None:
    """Raise 4 (404) if an identifier now belongs to another object, because the list may be hours old.

    Called before the material is read. Raises KeyServerFault.
    """
    for part in parts:
        if part.name not in (await at.session.get_attributes(part.unique_identifier)).names:
            raise OntapError(errors.ENTRY_NOT_FOUND, target="unique_identifier")


def listed_orphans(tx: OrphanRows, call: Call, key_manager: KeyManager) -> tuple[Orphan, ...]:
    """Return the orphans that the last scan stored for a key manager.

    A call that is confined to an SVM gets none, because they may belong to another SVM.
    """
    return tx.orphans(key_manager.uuid) if call.scope is None else ()


def find_listed(tx: Rows, call: Call, key_manager: str, key_server: str, unique_identifier: str) -> ListedObject:
    """Return the orphan with this identifier on a server (uuid); for one part of a pair, both parts.

    Called before the object is read, and again in the transaction that adopts or dismisses it. Raises 4 (404) if the
    object is not listed, is no copy of a key, or is no orphan any more. Raises 4 (404), too, if the other part is not
    listed.
    """
    topology = load_topology(tx, require_key_manager(tx, call, key_manager))
    here = [each for each in listed_orphans(tx, call, topology.key_manager) if each.key_server == key_server]
    asked = next((each for each in here if each.unique_identifier == unique_identifier), None)
    name = parse(asked.name) if asked else None
    if asked is None or name is None or name.kind is not ObjectKind.KEY or not is_orphaned(tx, topology, asked):
        raise OntapError(errors.ENTRY_NOT_FOUND, target="unique_identifier")
    if not name.part:
        return ListedObject(topology, (asked,))
    by_name = {each.name: each for each in here}
    parts = [by_name.get(str(replace(name, part=part))) for part in (1, 2)]
    whole = tuple(part for part in parts if part is not None)
    if len(whole) != len(parts):
        raise OntapError(errors.ENTRY_NOT_FOUND, target="unique_identifier")
    return ListedObject(topology, whole)
