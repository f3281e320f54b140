"""How it is said that key servers did not take copies: which, and why, as far as whoever called may know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.core.keys.domains import wanted_copies

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from keystead.service.context import Call
    from keystead.service.keys.topology import ServerTopology


def at_fault(call: Call, topology: ServerTopology, reasons: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The arguments of an error about servers (``reasons`` by uuid).

    Who does not see the key manager hears of no server, an SVM of no reason.
    """
    for server in topology.servers if call.sees(topology.key_manager.svm) else ():
        if server.uuid in reasons:
            yield "server", str(server.address)
            if call.caller.svm is None:
                yield "reason", reasons[server.uuid]


def beyond_domains(call: Call, topology: ServerTopology) -> Iterator[tuple[str, str]]:
    """The arguments that say that ``min_copies`` asks for more replication domains than there are, if it does.

    No server is to blame for that: servers were found to replicate, or some are still to be added.
    """
    count = len(set(topology.domain_of.values()))
    if call.sees(topology.key_manager.svm) and wanted_copies(topology.key_manager.min_copies, count) > count:
        yield "min_copies", str(topology.key_manager.min_copies)
        yield "replication_domains", str(count)
