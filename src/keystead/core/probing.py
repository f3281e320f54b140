"""The request and result of a probe: pure values between the use cases and the key server gateway.

All values here may be shown to accounts of the cluster. Accounts of SVMs see ``coarse`` results.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.core.errors import ErrorKind
    from keystead.core.model import PeerCertificate
    from keystead.core.secret import Secret
    from keystead.core.server_address import ServerAddress

STAGES = ("egress", "resolve", "connect", "tls", "kmip", "credential")


@dataclass(frozen=True)
class TlsIdentity:
    """The client identity and the trusted CAs. PEM texts; among intermediates the issuer of the leaf comes first."""

    certificate: str
    private_key: Secret
    intermediates: tuple[str, ...]
    server_cas: tuple[str, ...]

    @cached_property
    def digest(self) -> bytes:
        """The digest that tells identities apart in memory."""
        digest = hashlib.sha256()
        parts = [self.certificate.encode(), self.private_key.reveal()]
        groups = (parts, [part.encode() for part in self.intermediates], [ca.encode() for ca in self.server_cas])
        for group in groups:
            digest.update(len(group).to_bytes(4))
            for part in group:
                digest.update(len(part).to_bytes(8) + part)
        return digest.digest()


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """One primary with its secondaries, on the primary's port. ``timeout_s`` bounds the probe of each address.

    ``server_name`` is the name to verify, and to send as SNI unless it is an IP address; empty for each host itself.
    ``stored`` are addresses that the key manager has already: only these may be this host's own.
    """

    server: ServerAddress
    timeout_s: float
    username: str = ""
    password: Secret | None = None
    secondaries: tuple[ServerAddress, ...] = ()
    server_name: str = ""
    stored: frozenset[ServerAddress] = frozenset()


@dataclass(frozen=True, slots=True)
class StageResult:
    """The result of one stage: ``state`` is ``passed``, ``failed`` or ``skipped``."""

    stage: str
    state: str
    elapsed_ms: float


class Whose(StrEnum):
    """Whose a certificate is: shown by the server, one of ours for it, or an installed one that should prove it."""

    SERVER = "server"
    CLIENT = "client"
    SERVER_CA = "server_ca"


class AtFault(NamedTuple):
    """The certificate for which a server was refused."""

    whose: Whose
    certificate: PeerCertificate


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result for one primary, its secondaries included.

    ``error`` is None if all addresses were accepted. Otherwise ``stage`` and ``reason`` (a fixed word) say what failed
    first, and ``failed_server`` at which address. ``certificates`` are those that this address showed, its own first,
    or the primary if all were accepted. ``client_certificates`` are those that we show. ``at_fault`` is the certificate
    that the reason is about, if it is about one.
    ``addresses`` are the results of the single addresses, the primary's first; empty without secondaries. ``rule`` is
    the word of the egress rule that refused the address.
    """

    server: ServerAddress
    error: ErrorKind | None
    stage: str | None
    reason: str | None
    failed_server: ServerAddress | None
    stages: tuple[StageResult, ...]
    learned: Mapping[str, object] = field(default_factory=dict)
    certificates: tuple[PeerCertificate, ...] = ()
    addresses: tuple[ProbeResult, ...] = ()
    rule: str | None = None
    client_certificates: tuple[PeerCertificate, ...] = ()
    at_fault: AtFault | None = None

    @property
    def each(self) -> tuple[ProbeResult, ...]:
        """The result of each address alone, the primary's first."""
        return self.addresses or (self,)

    @property
    def accepted(self) -> bool:
        """True if the primary and all secondaries passed every stage."""
        return self.error is None

    def coarse(self) -> ProbeResult:
        """Return what accounts of SVMs may know: code and stage, but neither the reason nor what was learned or shown.

        A name of a forbidden address looks like a name without an address. Of a forbidden IP address the stage is told:
        it needs no lookup, so nothing else can have failed.
        """
        forbidden_name = self.stage == "egress" and not (self.failed_server or self.server).is_ip
        stage = "resolve" if forbidden_name else self.stage
        hidden = replace(self, reason=None, rule=None, stages=(), learned={}, client_certificates=(), at_fault=None)
        return replace(hidden, stage=stage)

    def record(self) -> dict[str, object]:
        """Return the result for ``?dry_run=true`` and ``keystead kmip probe -o json``. A coarse result is shorter."""
        record: dict[str, object] = {"server": str(self.server), "accepted": self.accepted}
        if self.error is not None:
            record |= {"code": str(self.error.code)} | (
                {"reason": self.reason} if self.reason else {"stage": self.stage}
            )
            if self.rule:
                record["rule"] = self.rule
            if self.failed_server not in {None, self.server}:
                record["failed_server"] = str(self.failed_server)
        if not self.stages:
            return record
        record["stages"] = [
            {"stage": stage.stage, "state": stage.state, "elapsed_ms": round(stage.elapsed_ms, 1)}
            for stage in self.stages
        ]
        record["learned"] = dict(self.learned)
        if any(stage.stage == "tls" and stage.state != "skipped" for stage in self.stages):
            record["certificates"] = [*map(_shown, self.certificates)]
            record["client_certificates"] = [*map(_shown, self.client_certificates)]
        if self.at_fault is not None:
            record["at_fault"] = {"whose": self.at_fault.whose.value, **_shown(self.at_fault.certificate)}
        return record


def _shown(certificate: PeerCertificate) -> dict[str, str]:
    """Return a certificate for people and programs."""
    begins = {"start_time": certificate.not_before.isoformat()} if certificate.not_before else {}
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "serial_number": certificate.serial_number,
        **begins,
        "expiry_time": certificate.not_after.isoformat(),
    }
