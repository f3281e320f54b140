"""Error arguments that tell which key servers did not store copies, and why.

A caller is told only what the caller may know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.core.keys.domains import wanted_copies

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from keystead.service.context import Call
    from keystead.service.keys.topology import ServerTopology


def at_fault(call: Call, topology: ServerTopology, reasons: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the error arguments about the servers in ``reasons`` (by uuid).

    A caller who does not see the key manager is told no server. An account of an SVM is told no reason.
    """
    for server in topology.servers if call.sees(topology.key_manager.svm) else ():
        if server.uuid in reasons:
            yield "server", str(server.address)
            if call.caller.svm is None:
                yield "reason", reasons[server.uuid]


def beyond_domains(call: Call, topology: ServerTopology) -> Iterator[tuple[str, str]]:
    """Yield error arguments if ``min_copies`` is higher than the number of replication domains.

    No server is at fault then: servers were found to replicate, or more servers must be added. A caller who does not
    see the key manager is told nothing.
    """
    count = len(set(topology.domain_of.values()))
    if call.sees(topology.key_manager.svm) and wanted_copies(topology.key_manager.min_copies, count) > count:
        yield "min_copies", str(topology.key_manager.min_copies)
        yield "replication_domains", str(count)
