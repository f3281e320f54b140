"""Probing key servers before they are stored: the targets, the TLS identity, and the error of a failure."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from keystead.core.errors import OntapError
from keystead.core.key_servers import secondary_addresses
from keystead.core.probing import ProbeTarget, TlsIdentity
from keystead.service.ports.sealing import SealContext, SealError
from keystead.service.probing.queue import check_left

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from keystead.core.key_servers import AddRequest, ModifyRequest
    from keystead.core.model import Certificate, KeyManager, KeyServer
    from keystead.core.probing import ProbeResult
    from keystead.service.context import Call
    from keystead.service.ports.probing import KeyServerGateway
    from keystead.service.ports.sealing import Sealer
    from keystead.service.probing.observations import Observations
    from keystead.service.probing.queue import ProbeQueue

COARSE_S = 1.0  # an SVM's account hears of a refused name or address only after whole seconds: the time tells more
BEFORE_CONNECT = frozenset({"egress", "resolve"})
TOLERANCE = 0.1  # fraction of a server's time that a probe may lack without notice
IMMEDIATE_S = 1.0  # seconds for a server with the stored timeout 0 ("fail at once")

NO_IDENTITY = (SealError, KeyError, ValueError)
"""Errors of :meth:`ServerProber.identity` for certificates and secrets that are gone, or cannot be opened."""


def private_key_context(certificate: str) -> SealContext:
    """Return the seal context of a certificate's private key."""
    return SealContext("certificates", certificate, "private_key")


def password_context(key_server: str) -> SealContext:
    """Return the seal context of a key server's password."""
    return SealContext("key_servers", key_server, "password")


class ServerProber:
    """The probing of servers in the caller's turn, over mutual TLS with the key manager's certificates.

    ``deadline`` returns the time by which all probes of a call that begins now must be done, ``longest_s`` seconds
    away. ``accepted`` stores probe results as this node's observations (:meth:`Observations.accepted`). A caller that
    stores accepted servers calls it in the same transaction.
    """

    def __init__(self, gateway: KeyServerGateway, sealer: Sealer, queue: ProbeQueue, observing: Observations) -> None:
        self.accepted = observing.accepted
        self.deadline = queue.deadline
        self.longest_s = queue.deadline_s
        self._gateway = gateway
        self._sealer = sealer
        self._queue = queue

    async def probe(
        self,
        call: Call,
        key_manager: KeyManager,
        certificates: Mapping[str, Certificate],
        servers: Sequence[KeyServer],
        ends: float | None = None,
        *,
        stored: Sequence[KeyServer] = (),
    ) -> list[ProbeResult]:
        """Probe all servers and their secondaries at once. Return one result per server, in order.

        ``servers`` are rows as they are stored, or will be: with sealed passwords. ``stored`` are those of the key
        manager before the call: all other addresses may not be this host's. ``ends`` is the :attr:`deadline` of a call
        that may have to probe again. Raises 262145 (503) if the turn came so late that a server which failed had less
        than its time. An account of an SVM gets coarse results, and an answer time that tells no more than they do.
        """
        identity = self.identity(key_manager, certificates)
        known = frozenset(each for server in stored for each in (server.address, *secondary_addresses(server)))
        account, svm = call.caller.account, call.caller.svm

        async def probe_all(left_s: float) -> list[ProbeResult]:
            ends = asyncio.get_running_loop().time() + left_s
            targets = [replace(self.target(server, left_s), stored=known) for server in servers]
            results = await self._gateway.probe_all(targets, identity, left_s, account=account)
            wanted_s = max((_timeout_s(server, self._queue.deadline_s) for server in servers), default=0.0)
            if left_s < wanted_s - wanted_s * TOLERANCE and not all(result.accepted for result in results):
                check_left(ends - wanted_s * TOLERANCE)  # because a server that had too little time did not fail
            return results

        began = asyncio.get_running_loop().time()
        results = await self._queue.run(account, probe_all, svm=svm, ends=ends)
        if svm is None:
            return results
        coarse = [result.coarse() for result in results]
        if any(result.stage in BEFORE_CONNECT for result in coarse):
            await asyncio.sleep((began - asyncio.get_running_loop().time()) % COARSE_S)
        return coarse

    def identity(self, key_manager: KeyManager, certificates: Mapping[str, Certificate]) -> TlsIdentity:
        """Return the TLS identity of a key manager: its client certificate and key, and the server CAs that it trusts.

        Raises SealError, KeyError if a certificate is gone, ValueError if it has no private key.
        """
        client = certificates[key_manager.client_certificate]
        if client.sealed_private_key is None:
            raise ValueError(f"client certificate {client.uuid} has no private key")
        return TlsIdentity(
            certificate=client.public_certificate,
            private_key=self._sealer.unseal(client.sealed_private_key, private_key_context(client.uuid)),
            intermediates=client.intermediates,
            server_cas=tuple(certificates[uuid].public_certificate for uuid in key_manager.server_ca_certificates),
        )

    def target(self, server: KeyServer, left_s: float) -> ProbeTarget:
        """Return what to probe of a server. Each address gets at most ``left_s`` seconds. Raises SealError."""
        sealed = server.sealed_password
        return ProbeTarget(
            server.address,
            _timeout_s(server, left_s),
            username=server.username,
            password=None if sealed is None else self._sealer.unseal(sealed, password_context(server.uuid)),
            secondaries=secondary_addresses(server),
            server_name=server.tls_server_name,
        )


def _timeout_s(server: KeyServer, left_s: float) -> float:
    return min({-1: left_s, 0: IMMEDIATE_S}.get(server.timeout, float(server.timeout)), left_s)


def raise_first_failure(request: AddRequest | ModifyRequest, results: Sequence[ProbeResult]) -> None:
    """Raise the first failure in request order. Its target names the server in the request."""
    found = first_failure(results)
    if found is not None:
        index, error = found
        error.target = request.target(index, "server")
        raise error


def first_failure(results: Sequence[ProbeResult]) -> tuple[int, OntapError] | None:
    """Return the first failure and its index, or None.

    Its arguments name every failed server, with its stage and, if known, its reason and the egress rule.
    """
    failed = [(index, result, result.error) for index, result in enumerate(results) if result.error is not None]
    if not failed:
        return None
    arguments = [
        pair
        for _, result, _ in failed
        for pair in (
            ("server", str(result.failed_server or result.server)),
            ("stage", result.stage or ""),
            ("reason", result.reason or ""),
            ("rule", result.rule or ""),
        )
        if pair[1]
    ]
    index, _, kind = failed[0]
    return index, OntapError(kind, arguments=arguments)
