"""Use cases of a key manager's primary key servers: add, try (dry run), read.

The flow of an add (plan, probe outside any transaction, plan again and store in one) is drawn in ARCHITECTURE.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

from keystead.core import errors, key_servers
from keystead.core.errors import OntapError
from keystead.core.key_servers import AddState, plan_add
from keystead.core.model import KeyServer
from keystead.service.ports import StoreError
from keystead.service.proving import password_place, raise_first_failure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keystead.core.key_servers import AddRequest, NewKeyServer
    from keystead.core.model import Certificate, Cluster, KeyManager
    from keystead.core.probing import ProbeResult
    from keystead.core.server_address import ServerAddress
    from keystead.service.audit import AuditLog
    from keystead.service.context import Call
    from keystead.service.ports import Page, Sealer, Store, Transaction
    from keystead.service.proving import Prover


class KeyServers:
    """The key servers of key managers."""

    def __init__(self, store: Store, prover: Prover, sealer: Sealer, audit: AuditLog) -> None:
        self._store = store
        self._prover = prover
        self._sealer = sealer
        self._audit = audit

    async def key_manager(self, call: Call, uuid: str) -> KeyManager:
        """Return the key manager, or raise 4 (404) with target ``uuid``."""
        return await self._store.glance(lambda tx: require_key_manager(tx, call, uuid))

    async def add(self, call: Call, key_manager: str, request: AddRequest) -> tuple[KeyServer, ...]:
        """Prove and store all servers of the request, or none: one OntapError names the first fault."""
        state = await self._store.glance(lambda tx: load_state(tx, call, key_manager))
        plan_add(state, request)
        results = await self._prover.probe(call, state.key_manager, state.certificates, request.servers)
        raise_first_failure(request, results)
        rows = sealed_rows(request.servers, key_manager, self._sealer)

        def store_all(tx: Transaction) -> tuple[KeyServer, ...]:
            locked = load_state(tx, call, key_manager, lock=True)
            plan = plan_add(locked, request)
            placed = at_positions(rows, plan.first_position)
            tx.add_key_servers(placed)
            self._audit.succeed(tx, call, added(placed), svm=locked.key_manager.svm)
            return placed

        return await self._store.write(store_all)

    async def dry_run(self, call: Call, key_manager: str, request: AddRequest) -> tuple[ProbeResult, ...]:
        """Do all of an add but storing: the rules are raised as in an add, what the probes found is returned."""
        state = await self._store.glance(lambda tx: load_state(tx, call, key_manager))
        plan_add(state, request)
        results = await self._prover.probe(call, state.key_manager, state.certificates, request.servers)
        refused = sum(not result.accepted for result in results)
        message = f"dry run: {len(results) - refused} accepted, {refused} refused"
        svm = state.key_manager.svm
        await self._store.write(lambda tx: self._audit.succeed(tx, call, message, svm=svm))
        return tuple(results)

    async def page(self, call: Call, key_manager: str, page: Page) -> tuple[KeyServer, ...]:
        """Return a slice of the key manager's servers, in the order of their creation."""

        def read(tx: Transaction) -> tuple[KeyServer, ...]:
            require_key_manager(tx, call, key_manager)
            try:
                return tx.page(KeyServer, page.within(key_manager=key_manager))
            except StoreError as error:
                raise OntapError(errors.KEY_SERVERS_UNREADABLE) from error

        return await self._store.read(read)

    async def get(self, call: Call, key_manager: str, address: ServerAddress) -> KeyServer:
        """Return the server with this address, however it is spelled, or raise 4 (404)."""

        def read(tx: Transaction) -> KeyServer:
            require_key_manager(tx, call, key_manager)
            server = key_servers.find(read_key_servers(tx, key_manager), address)
            if server is None:
                raise OntapError(errors.ENTRY_NOT_FOUND, target="server")
            return server

        return await self._store.glance(read)


def require_key_manager(tx: Transaction, call: Call, uuid: str, *, lock: bool = False) -> KeyManager:
    """Return the key manager, or raise 4 (404)."""
    key_manager = tx.key_manager(uuid, lock=lock)
    if key_manager is None or not call.sees(key_manager.svm):
        raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")
    return key_manager


def load_state(tx: Transaction, call: Call, uuid: str, *, lock: bool = False) -> AddState:
    """Read everything that decides about an add; with ``lock``, nobody else can add to this key manager meanwhile."""
    key_manager = require_key_manager(tx, call, uuid, lock=lock)
    return AddState(
        key_manager=key_manager,
        cluster=require_cluster(tx),
        nodes=tx.nodes(),
        certificates=installed(tx, key_manager),
        servers=read_key_servers(tx, uuid),
    )


def read_key_servers(tx: Transaction, key_manager: str) -> tuple[KeyServer, ...]:
    """Read a key manager's servers; a database that cannot is 65536834."""
    try:
        return tx.key_servers(key_manager)
    except StoreError as error:
        raise OntapError(errors.KEY_SERVERS_UNREADABLE) from error


def require_cluster(tx: Transaction) -> Cluster:
    """Return the cluster, which ``keystead init`` made."""
    cluster = tx.cluster()
    if cluster is None:
        raise StoreError("the database holds no cluster: run keystead init")
    return cluster


def installed(tx: Transaction, key_manager: KeyManager, *, lock: bool = False) -> dict[str, Certificate]:
    """Read those of a key manager's certificates that are installed, by uuid, always in the same order (locks)."""
    wanted = sorted({key_manager.client_certificate, *key_manager.server_ca_certificates})
    found = (tx.certificate(uuid, lock=lock) for uuid in wanted)
    return {certificate.uuid: certificate for certificate in found if certificate is not None}


def sealed_rows(new: Iterable[NewKeyServer], key_manager: str, sealer: Sealer) -> tuple[KeyServer, ...]:
    """Make the rows of accepted servers, passwords sealed to their rows. Positions are given when they are stored."""

    def row(server: NewKeyServer) -> KeyServer:
        uuid = str(uuid4())
        return KeyServer(
            uuid=uuid,
            key_manager=key_manager,
            position=0,
            address=server.server,
            timeout=server.timeout,
            create_remove_timeout=server.create_remove_timeout,
            username=server.username,
            secondary_key_servers=server.secondary_key_servers,
            sealed_password=sealer.seal(server.password, password_place(uuid)) if server.password else None,
        )

    return tuple(row(server) for server in new)


def at_positions(rows: Iterable[KeyServer], first: int) -> tuple[KeyServer, ...]:
    """Give rows their positions, in order."""
    return tuple(replace(row, position=position) for position, row in enumerate(rows, first))


def added(rows: Iterable[KeyServer]) -> str:
    """Say in an audit record which servers were added."""
    return "added " + ", ".join(str(row.address) for row in rows)
