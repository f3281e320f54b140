"""All use cases together, as the REST face is given them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from keystead.service.in_flight import InFlight

if TYPE_CHECKING:
    from keystead.service.accounts import Accounts
    from keystead.service.audit import AuditLog
    from keystead.service.audit_messages import AuditMessages
    from keystead.service.certificate_logins import CertificateLogins
    from keystead.service.certificates import Certificates
    from keystead.service.cluster import ClusterInfo
    from keystead.service.detached import DetachedKeyServers
    from keystead.service.events import Events
    from keystead.service.health import Health
    from keystead.service.incarnations import Incarnations
    from keystead.service.jobs import Jobs
    from keystead.service.key_ending import KeyEnding
    from keystead.service.key_manager_configs import KeyManagerConfigs
    from keystead.service.key_managers import KeyManagers
    from keystead.service.key_proving import KeyProver
    from keystead.service.key_reading import KeyReader
    from keystead.service.key_replicating import KeyReplicator
    from keystead.service.key_reports import KeyReports
    from keystead.service.key_restoring import KeyRestorer
    from keystead.service.key_servers import KeyServers
    from keystead.service.key_stores import KeyStores
    from keystead.service.key_survival import KeySurvival
    from keystead.service.key_writing import KeyWriter
    from keystead.service.keys import Keys
    from keystead.service.logins import Logins
    from keystead.service.roles import Roles
    from keystead.service.svms import Svms
    from keystead.service.unclaimed import UnclaimedObjects


@dataclass(frozen=True, slots=True)
class Services:
    """One object per resource, wired by app.py."""

    accounts: Accounts
    audit: AuditLog
    audit_messages: AuditMessages
    certificate_logins: CertificateLogins
    certificates: Certificates
    cluster: ClusterInfo
    detached_key_servers: DetachedKeyServers
    incarnations: Incarnations
    jobs: Jobs
    key_manager_configs: KeyManagerConfigs
    key_managers: KeyManagers
    key_servers: KeyServers
    key_stores: KeyStores
    key_ending: KeyEnding
    key_reader: KeyReader
    key_replicator: KeyReplicator
    key_restorer: KeyRestorer
    key_survival: KeySurvival
    key_reports: KeyReports
    key_prover: KeyProver
    key_writer: KeyWriter
    keys: Keys
    logins: Logins
    roles: Roles
    svms: Svms
    unclaimed_objects: UnclaimedObjects
    events: Events
    health: Health
    deletions: InFlight = field(default_factory=InFlight)
