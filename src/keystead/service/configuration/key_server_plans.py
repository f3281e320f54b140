"""Plan an add and a modification of key servers: the rows to store in a given state, and how they are stored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from keystead.core.key_servers import plan_add, plan_modify
from keystead.service.configuration.key_server_rows import at_positions, sealed_rows
from keystead.service.probing.prober import password_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.core.key_servers import AddRequest, ModifyRequest, ServersState
    from keystead.service.configuration.key_server_rows import ServerRows
    from keystead.service.ports.configuration import KeyServerRows
    from keystead.service.ports.sealing import Sealer


@dataclass(frozen=True, slots=True)
class ServersPlan:
    """The rows that a call would store in a given state, in order. ``proves`` says whether they are probed before."""

    rows: ServerRows
    proves: bool = True


@dataclass(frozen=True, slots=True)
class ServerChange:
    """A call that stores key servers: its request, its plan for a given state, and how it stores the rows."""

    request: AddRequest | ModifyRequest
    plan: Callable[[ServersState], ServersPlan]
    store: Callable[[KeyServerRows, ServerRows], None]
    verb: str
    new: bool = False


def addition(sealer: Sealer, key_manager: str, request: AddRequest) -> ServerChange:
    """Return the change that adds new servers to a key manager (uuid), behind those that it has."""
    rows = sealed_rows(request.servers, key_manager, sealer)

    def plan(state: ServersState) -> ServersPlan:
        return ServersPlan(at_positions(rows, plan_add(state, request).first_position))

    def store(tx: KeyServerRows, planned: ServerRows) -> None:
        tx.add_key_servers(planned)

    return ServerChange(request, plan, store, "added", new=True)


def modification(sealer: Sealer, request: ModifyRequest) -> ServerChange:
    """Return the change that modifies one server."""
    sealed: dict[str, bytes] = {}  # by row, so that planning again gives the same row

    def plan(state: ServersState) -> ServersPlan:
        planned = plan_modify(state, request)
        row = planned.server
        if planned.password is not None:
            if row.uuid not in sealed:
                sealed[row.uuid] = sealer.seal(planned.password, password_context(row.uuid))
            row = replace(row, sealed_password=sealed[row.uuid])
        return ServersPlan((row,), planned.proves)

    def store(tx: KeyServerRows, planned: ServerRows) -> None:
        for row in planned:
            tx.change_key_server(row)

    return ServerChange(request, plan, store, "modified")
