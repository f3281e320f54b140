"""Dismiss orphans: an administrator of the cluster says that an object needs nobody, and can take that back.

A dismissal destroys nothing, and makes no server removable. It ends when the object is replaced by another, has other
material, or is adopted. :mod:`keystead.service.keys.orphans.scan` finds out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.digests import digest
from keystead.core.keys.model import Dismissal
from keystead.service.keys.orphans.listed import Rows as ListedRows
from keystead.service.keys.orphans.listed import find_listed, read_object
from keystead.service.keys.orphans.scan import whole_name
from keystead.service.ports.cluster import AuditRows

if TYPE_CHECKING:
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.keys.context import KeeperContext
    from keystead.service.keys.orphans.listed import ListedObject


class Rows(ListedRows, AuditRows, Protocol):
    """The rows that this module reads and writes."""


class OrphanDismissals:
    """The dismissals of orphans."""

    def __init__(self, context: KeeperContext, audit: AuditLog) -> None:
        self._context = context
        self._audit = audit

    async def dismiss(self, call: Call, key_manager: str, key_server: str, unique_identifier: str) -> None:
        """Dismiss an orphan on a key server (uuid), with the material that it has now. Of a pair, dismiss both parts.

        Raises 4 (404) if the object is not listed as an orphan (any more), and 65536076 if it cannot be read.
        """
        found = await self._context.store.read(
            lambda tx: find_listed(tx, call, key_manager, key_server, unique_identifier)
        )
        material = await read_object(self._context, found)
        name = whole_name(found.parts[0].name)
        seen = digest(self._context.endpoints.digest_key(found.topology), name, material)
        dismissal = Dismissal(self._context.clock.now(), call.caller.account, seen)

        def work(tx: Rows) -> None:
            now = find_listed(tx, call, key_manager, key_server, unique_identifier)
            if [each.name for each in now.parts] != [each.name for each in found.parts]:
                raise OntapError(errors.ENTRY_NOT_FOUND, target="unique_identifier")
            self._store(tx, call, now, dismissal)

        await self._context.store.write(work)

    async def undo(self, call: Call, key_manager: str, key_server: str, unique_identifier: str) -> None:
        """Undo a dismissal. Nothing changes if the orphan is not dismissed.

        Raises 4 (404) if the object is not listed as an orphan (any more).
        """
        await self._context.store.write(
            lambda tx: self._store(tx, call, find_listed(tx, call, key_manager, key_server, unique_identifier), None)
        )

    def _store(self, tx: Rows, call: Call, found: ListedObject, dismissal: Dismissal | None) -> None:
        """Store or undo the dismissal of all parts, with an audit record that names the object and its digest."""
        first, manager = found.parts[0], found.topology.key_manager
        if dismissal is None and first.dismissal is None:
            return
        for part in found.parts:
            tx.dismiss_orphan(part, dismissal)
        server = found.topology.server(first.key_server)
        at = first.key_server if server is None else str(server.address)
        done, of = ("undid the dismissal of", first.dismissal) if dismissal is None else ("dismissed", dismissal)
        with_digest = f", digest {of.digest.hex()}" if of is not None else ""
        named = ", ".join(f"{part.name} ({part.unique_identifier})" for part in found.parts)
        self._audit.succeed(tx, call, f"{done} unclaimed object {named} on {at}{with_digest}", svm=manager.svm)
