"""The rows of key servers to store: sealed passwords, positions, and their names in audit records."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

from keystead.core.model import KeyServer
from keystead.service.probing.prober import password_context

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keystead.core.key_servers import NewKeyServer
    from keystead.service.ports.sealing import Sealer

ServerRows = tuple[KeyServer, ...]


def sealed_rows(new: Iterable[NewKeyServer], key_manager: str, sealer: Sealer) -> tuple[KeyServer, ...]:
    """Make the rows of accepted servers, with sealed passwords. The rows get their positions when they are stored."""

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
            tls_server_name=server.tls_server_name,
            replication_domain=server.replication_domain,
            sealed_password=sealer.seal(server.password, password_context(uuid)) if server.password else None,
        )

    return tuple(row(server) for server in new)


def at_positions(rows: Iterable[KeyServer], first: int) -> tuple[KeyServer, ...]:
    """Give rows their positions, in order."""
    return tuple(replace(row, position=position) for position, row in enumerate(rows, first))


def named(verb: str, rows: Iterable[KeyServer], before: Iterable[KeyServer] = ()) -> str:
    """Return an audit text that names the servers, and for a moved server its former address too."""
    earlier = {row.uuid: row.address for row in before}

    def name(row: KeyServer) -> str:
        was = earlier.get(row.uuid, row.address)
        return str(was) if was == row.address else f"{was}, now {row.address}"

    return f"{verb} " + ", ".join(map(name, rows))
