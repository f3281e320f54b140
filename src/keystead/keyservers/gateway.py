"""The key server gateway of the service: it runs all probes of a request at once and gives one answer per primary.

The gateway holds what probes share (resolvers, TLS contexts), but no connection. Each watch of an address has its own
connection. The service limits how many requests may probe at a time.

Each account and each watch has its own resolver, because a hanging lookup cannot be cancelled. So it uses up only the
lookups of its own account or watch.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakSet

from keystead.keyservers.contexts import Contexts, KeyMismatchError, build
from keystead.keyservers.learned import client_certificates
from keystead.keyservers.own_addresses import is_own
from keystead.keyservers.probe import Probe
from keystead.keyservers.resolve import Resolver
from keystead.keyservers.traffic import SentOperations
from keystead.keyservers.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from keystead.core.probing import ProbeResult, ProbeTarget, TlsIdentity
    from keystead.core.server_address import ServerAddress
    from keystead.keyservers.egress import EgressRules
    from keystead.keyservers.resolve import Answer


class Gateway:
    """A gateway that probes key servers over KMIP. It belongs to one event loop."""

    def __init__(
        self,
        rules: EgressRules,
        *,
        getaddrinfo: Callable[..., Answer] = socket.getaddrinfo,  # type: ignore[assignment]
    ) -> None:
        self._rules = rules
        self._getaddrinfo = getaddrinfo
        self._resolvers = defaultdict[str, Resolver](lambda: Resolver(rules, getaddrinfo=getaddrinfo))
        self._contexts = Contexts()
        self._watches: WeakSet[Watch] = WeakSet()
        self._sent = SentOperations()

    async def probe_all(
        self, targets: Sequence[ProbeTarget], identity: TlsIdentity, deadline_s: float, *, account: str = ""
    ) -> list[ProbeResult]:
        """Probe every target and its secondaries at once. Return one result per target, in order.

        Each address has the target's time limit, but at most ``deadline_s`` seconds. Addresses that the target does not
        call stored may not be this host's.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        resolver = self._resolvers[account]

        async def probe(target: ProbeTarget, server: ServerAddress) -> ProbeResult:
            limit_s = min(target.timeout_s, end - loop.time())
            new = server not in target.stored
            return await Probe(server, target, identity, resolver, self._contexts, new=new).run(limit_s)

        async with asyncio.TaskGroup() as group:
            tasks = [
                [group.create_task(probe(target, server)) for server in (target.server, *target.secondaries)]
                for target in targets
            ]
        ours = client_certificates(identity)
        results = [_combined([task.result() for task in of_one_target]) for of_one_target in tasks]
        return [replace(result, client_certificates=ours) for result in results]

    def refuses(self, host: str) -> bool:
        """Return True if the egress rules refuse a host in a new key server. False for names: they are not resolved."""
        try:
            return self._rules.refusal(host, is_own) is not None
        except ValueError:
            return False

    def can_use(self, identity: TlsIdentity) -> bool:
        """Return True if TLS accepts this certificate, its key and its intermediates."""
        try:
            build(identity)
        except (KeyMismatchError, ssl.SSLError, ValueError):
            return False
        return True

    def watch(self, server: ServerAddress, target: ProbeTarget, identity: TlsIdentity) -> Watch:
        """Return the watch of one address: a target's primary or one of its secondaries. Nothing is connected yet."""
        resolver = Resolver(self._rules, lookups=1, getaddrinfo=self._getaddrinfo)
        watch = Watch(server, target, identity, resolver, self._contexts, self._sent)
        self._watches.add(watch)
        return watch

    def connections(self) -> Mapping[str, int]:
        """Return how many watches have a connection open, by address."""
        return Counter(watch.server.key for watch in self._watches if watch.connected)

    def operations_per_day(self) -> Mapping[str, int]:
        """Return the operations of watches in a day; see :class:`keystead.service.ports.probing.ServerTraffic`."""
        return self._sent.per_day()


def _combined(results: Sequence[ProbeResult]) -> ProbeResult:
    """Return the primary's result; if any address was refused, with the failure of the first refused address."""
    primary, *secondaries = results
    refused = next((result for result in results if not result.accepted), None)
    if secondaries:
        learned = {str(result.server): _summary(result) for result in secondaries}
        primary = replace(primary, learned={**primary.learned, "secondaries": learned}, addresses=tuple(results))
    if refused is None or refused.server is primary.server:
        return primary
    return replace(
        primary,
        error=refused.error,
        stage=refused.stage,
        reason=refused.reason,
        failed_server=refused.server,
        stages=refused.stages,
        certificates=refused.certificates,
        at_fault=refused.at_fault,
        rule=refused.rule,
    )


def _summary(result: ProbeResult) -> dict[str, object]:
    outcome = {"accepted": result.accepted, "stage": result.stage, "reason": result.reason, "rule": result.rule}
    return {**{name: value for name, value in outcome.items() if value is not None}, **result.learned}
