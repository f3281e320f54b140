"""Prove key servers before they are stored: what to probe, with which identity, and the error that a failure gives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from keystead.core.errors import OntapError
from keystead.core.key_servers import secondary_addresses
from keystead.core.probing import ProbeTarget, TlsIdentity
from keystead.service.ports.store import SealContext, SealError
from keystead.service.probing.queue import check_left

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from keystead.core.key_servers import AddRequest, ModifyRequest
    from keystead.core.model import Certificate, KeyManager, KeyServer
    from keystead.core.probing import ProbeResult
    from keystead.service.context import Call
    from keystead.service.ports.store import KeyServerGateway, Sealer
    from keystead.service.probing.observations import Observations
    from keystead.service.probing.queue import ProbeQueue

COARSE_S = 1.0  # an SVM's account hears after whole seconds that a name does not lead to an address it may reach
CUT = 0.1  # the part of a server's time by which it may come short, or end early, unnoticed
IMMEDIATE_S = 1.0  # the probe of a server whose stored timeout is 0 ("fail at once")

NO_IDENTITY = (SealError, KeyError, ValueError)
"""What :meth:`ServerProber.identity` raises for certificates and secrets that are gone, or cannot be opened."""


def private_key_place(certificate: str) -> SealContext:
    """Where a certificate's private key is sealed."""
    return SealContext("certificates", certificate, "private_key")


def password_place(key_server: str) -> SealContext:
    """Where a key server's password is sealed."""
    return SealContext("key_servers", key_server, "password")


class ServerProber:
    """Probes servers in the caller's turn, over mutual TLS with the key manager's certificates.

    ``deadline`` is the time by which all proofs of a call that begins now must be done, ``longest_s`` seconds away.
    ``accepted`` makes what probes found this node's observations (:meth:`Observations.accepted`): whoever stores
    servers that were accepted calls it in the same transaction.
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
    ) -> list[ProbeResult]:
        """Probe all servers and their secondaries at once; one result per server, in order.

        ``ends`` is the :attr:`deadline` of a call that may have to prove again. Raises 262145 (503) when the turn came
        so late that a server which failed had less than its time. The servers are as they are stored, or will be: their
        passwords are sealed. An account of an SVM is told no more than it may know, and not by the time that it takes
        either.
        """
        identity = self.identity(key_manager, certificates)
        account, svm = call.caller.account, call.caller.svm

        async def probe_all(left_s: float) -> list[ProbeResult]:
            ends = asyncio.get_running_loop().time() + left_s
            targets = [self.target(server, left_s) for server in servers]
            results = await self._gateway.probe_all(targets, identity, left_s, account=account)
            wanted_s = max((_timeout_s(server, self._queue.deadline_s) for server in servers), default=0.0)
            if left_s < wanted_s - wanted_s * CUT and not all(result.accepted for result in results):
                check_left(ends - wanted_s * CUT)  # what failed for want of time is no server's fault
            return results

        began = asyncio.get_running_loop().time()
        results = await self._queue.run(account, probe_all, svm=svm, ends=ends)
        if svm is None:
            return results
        coarse = [result.coarse() for result in results]
        if any(result.stage == "resolve" for result in coarse):
            await asyncio.sleep((began - asyncio.get_running_loop().time()) % COARSE_S)
        return coarse

    def identity(self, key_manager: KeyManager, certificates: Mapping[str, Certificate]) -> TlsIdentity:
        """What a key manager shows to its servers, and whom it believes.

        Raises SealError, KeyError for a certificate that is gone, ValueError for one without its private key.
        """
        client = certificates[key_manager.client_certificate]
        if client.sealed_private_key is None:
            raise ValueError(f"client certificate {client.uuid} has no private key")
        return TlsIdentity(
            certificate=client.public_certificate,
            private_key=self._sealer.unseal(client.sealed_private_key, private_key_place(client.uuid)),
            intermediates=client.intermediates,
            server_cas=tuple(certificates[uuid].public_certificate for uuid in key_manager.server_ca_certificates),
        )

    def target(self, server: KeyServer, left_s: float) -> ProbeTarget:
        """What to probe of a server, each address within ``left_s`` seconds. Raises SealError."""
        sealed = server.sealed_password
        return ProbeTarget(
            server.address,
            _timeout_s(server, left_s),
            username=server.username,
            password=None if sealed is None else self._sealer.unseal(sealed, password_place(server.uuid)),
            secondaries=secondary_addresses(server),
            server_name=server.tls_server_name,
        )


def _timeout_s(server: KeyServer, left_s: float) -> float:
    return min({-1: left_s, 0: IMMEDIATE_S}.get(server.timeout, float(server.timeout)), left_s)


def raise_first_failure(request: AddRequest | ModifyRequest, results: Sequence[ProbeResult]) -> None:
    """Raise the first failure in request order, whose target is the server in the request."""
    found = first_failure(results)
    if found is not None:
        index, error = found
        error.target = request.target(index, "server")
        raise error


def first_failure(results: Sequence[ProbeResult]) -> tuple[int, OntapError] | None:
    """The first failure, by its index; its arguments name every failed server, stage and, if known, reason."""
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
        )
        if pair[1]
    ]
    index, _, kind = failed[0]
    return index, OntapError(kind, arguments=arguments)
