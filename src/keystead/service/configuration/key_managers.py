"""Use cases of external key managers: create, read, change, delete.

The flow is that of key servers: plan, probe outside any transaction, then plan again and store in one transaction. Only
what was probed is stored. If others changed something meanwhile, it is probed again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from keystead.core.key_managers import check_complete, check_delete, serving
from keystead.core.key_servers import check_certificates
from keystead.core.keys.away import away
from keystead.core.keys.guarding import TERMINAL_STATES
from keystead.core.model import KeyManager
from keystead.service.cluster.svms import about_svm
from keystead.service.configuration.key_manager_changes import KeyManagerChanges
from keystead.service.configuration.key_manager_plans import planned_creation
from keystead.service.configuration.key_manager_views import KeyManagerView, serving_view, views
from keystead.service.configuration.key_server_rows import at_positions, named, sealed_rows
from keystead.service.loading import incarnation_of, installed_certificates, require_key_manager
from keystead.service.ports.cluster import AuditRows, ClusterRows, EventRows, IncarnationRows, NodeRows, ObservationRows
from keystead.service.ports.configuration import CertificateRows, KeyManagerRows, KeyServerRows, ListRows, SvmRows
from keystead.service.ports.keys import CopyRows, DetachedRows, KeyRows, ProfileRows
from keystead.service.probing.prober import raise_first_failure

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from keystead.core.key_managers import CreationPlan, NewKeyManager
    from keystead.core.model import KeyServer
    from keystead.core.probing import ProbeResult
    from keystead.core.query.query import Wanted
    from keystead.service.configuration.context import ConfigurationContext
    from keystead.service.configuration.key_manager_views import Serving
    from keystead.service.context import Call
    from keystead.service.ports.page import Page


class Rows(
    SvmRows,
    CertificateRows,
    KeyManagerRows,
    KeyServerRows,
    ListRows,
    ClusterRows,
    NodeRows,
    ObservationRows,
    EventRows,
    AuditRows,
    IncarnationRows,
    KeyRows,
    CopyRows,
    ProfileRows,
    DetachedRows,
    Protocol,
):
    """The rows that this module reads and writes."""


class KeyManagers:
    """The key managers of SVMs and the cluster.

    ``check_change`` and ``change`` are those of :class:`KeyManagerChanges`.
    """

    def __init__(self, context: ConfigurationContext) -> None:
        self._context = context
        changes = KeyManagerChanges(context)
        self.check_change = changes.check_change
        self.change = changes.change

    # --- create ---

    async def create(self, call: Call, new: NewKeyManager) -> KeyManagerView:
        """Probe every server of a new key manager, then store it with all of them, or raise one OntapError."""
        check_complete(new)
        uuid = str(uuid4())
        rows = at_positions(sealed_rows(new.servers, uuid, self._context.sealer), 1)
        ends = self._context.prover.deadline()
        while True:
            plan = await self._context.store.read(lambda tx: planned_creation(tx, call, uuid, new))
            with about_svm(plan.key_manager.svm):
                results = await self._context.prover.probe(call, plan.key_manager, plan.certificates, rows, ends)
                raise_first_failure(new.add_request, results)
                stored = await self._context.store.write(lambda tx: self._create(tx, call, new, plan, rows, results))  # noqa: B023
            if stored is not None:
                self._context.on_changed(uuid)
                return stored

    def _create(
        self,
        tx: Rows,
        call: Call,
        new: NewKeyManager,
        proved: CreationPlan,
        rows: tuple[KeyServer, ...],
        results: Sequence[ProbeResult],
    ) -> KeyManagerView | None:
        """Store what was probed. Return None if the names in the request now mean other certificates."""
        key_manager = planned_creation(tx, call, proved.key_manager.uuid, new, lock=True).key_manager
        if key_manager != proved.key_manager:
            return None
        check_certificates(key_manager, installed_certificates(tx, key_manager, lock=True))
        tx.add_key_manager(key_manager)
        tx.add_key_servers(rows)
        self._context.prover.accepted(tx, key_manager.svm, rows, results, new=True)
        message = f"created key manager {key_manager.uuid}, {named('added', rows)}"
        self._context.audit.succeed(tx, call, message, svm=key_manager.svm)
        return KeyManagerView(key_manager, rows, {uuid: each.name for uuid, each in proved.certificates.items()})

    async def dry_run(self, call: Call, new: NewKeyManager) -> tuple[ProbeResult, ...]:
        """Do everything of a creation but storing: raise the rules that are broken, probe, and return the results."""
        check_complete(new)
        uuid = str(uuid4())
        rows = at_positions(sealed_rows(new.servers, uuid, self._context.sealer), 1)
        plan = await self._context.store.read(lambda tx: planned_creation(tx, call, uuid, new))
        svm = plan.key_manager.svm
        with about_svm(svm):
            results = await self._context.prover.probe(call, plan.key_manager, plan.certificates, rows)
        await self._context.record_probe(call, svm, "dry run", results)
        return tuple(results)

    # --- delete ---

    async def delete(self, call: Call, uuid: str) -> None:
        """Delete a key manager with its servers, and the rows of keys that have ended. Its certificates stay."""

        def delete(tx: Rows) -> None:
            key_manager = require_key_manager(tx, call, uuid, lock=True)
            with about_svm(key_manager.svm):
                incarnation = incarnation_of(tx)
                left = tx.keys_left(uuid, incarnation.uuid)
                addresses = _addresses_away(tx, uuid)
                check_delete(key_manager, tx.key_counts(uuid), left, addresses, held=not incarnation.destroys)
                tx.drop_keys(uuid, TERMINAL_STATES)
                for server in tx.key_servers(uuid):
                    tx.delete_profile(server.uuid)
                for detached in tx.detached_key_servers(uuid):
                    tx.delete_profile(detached.server.uuid)
                tx.delete_key_manager(uuid)
                self._context.audit.succeed(tx, call, f"deleted key manager {uuid}", svm=key_manager.svm)

        await self._context.store.write(delete)

    # --- read ---

    async def get(self, call: Call, uuid: str, wanted: Wanted) -> KeyManagerView:
        """Return one key manager with the fields that are wanted, or raise 4 (404)."""
        traffic = self._context.traffic_for(wanted)
        return await self._context.store.read_few(
            lambda tx: views(tx, call, [require_key_manager(tx, call, uuid)], wanted, traffic)[0]
        )

    async def page(self, call: Call, page: Page) -> tuple[KeyManagerView, ...]:
        """Return a slice of the key managers, by uuid, with the fields that are wanted."""
        within = call.within(page)
        traffic = self._context.traffic_for(within.wanted)
        return await self._context.store.read(
            lambda tx: views(tx, call, tx.page(KeyManager, within), within.wanted, traffic)
        )

    async def serving(self, call: Call, svm_uuids: Collection[str]) -> dict[str, Serving]:
        """Return the key manager of each SVM: its own enabled one, else the cluster's.

        An SVM without any has no entry.
        """
        enabled = await self._context.store.read(lambda tx: tx.enabled_key_managers(svm_uuids))
        return {uuid: serving_view(call, manager) for uuid, manager in serving(svm_uuids, enabled).items()}


def _addresses_away(tx: Rows, key_manager: str) -> list[str]:
    """Return the addresses of the servers, also the removed ones, that cannot be read now."""
    servers = [*tx.key_servers(key_manager), *(each.server for each in tx.detached_key_servers(key_manager))]
    found = away(servers, tx.observations([each.uuid for each in servers]), tx.nodes())
    return [str(each.address) for each in servers if each.uuid in found]
