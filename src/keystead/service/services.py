"""All use cases together, as the REST API gets them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from keystead.service.in_flight import InFlight

if TYPE_CHECKING:
    from keystead.service.accounts.accounts import Accounts
    from keystead.service.accounts.certificate_logins import CertificateLogins
    from keystead.service.accounts.login_messages import LoginMessagesOfOwners
    from keystead.service.accounts.logins import Logins
    from keystead.service.accounts.roles import Roles
    from keystead.service.accounts.sessions import Sessions
    from keystead.service.applications.callers import ApplicationCallers
    from keystead.service.applications.objects import ApplicationObjects
    from keystead.service.attention import Attention
    from keystead.service.audit.chains import AuditChains
    from keystead.service.audit.log import AuditLog
    from keystead.service.audit.messages import AuditMessages
    from keystead.service.cluster.events import Events
    from keystead.service.cluster.health import Health
    from keystead.service.cluster.incarnations import Incarnations
    from keystead.service.cluster.info import ClusterInfo
    from keystead.service.cluster.jobs import Jobs
    from keystead.service.cluster.node_removal import NodeRemoval
    from keystead.service.cluster.peers import Peers
    from keystead.service.cluster.svms import Svms
    from keystead.service.configuration.certificate_uses import CertificateUses
    from keystead.service.configuration.certificates import Certificates
    from keystead.service.configuration.detached_servers import DetachedKeyServers
    from keystead.service.configuration.key_manager_configs import KeyManagerConfigs
    from keystead.service.configuration.key_managers import KeyManagers
    from keystead.service.configuration.key_server_details import KeyServerReports
    from keystead.service.configuration.key_servers import KeyServers
    from keystead.service.configuration.key_stores import KeyStores
    from keystead.service.forwarding.destinations import Destinations
    from keystead.service.forwarding.filters import EventFilters
    from keystead.service.keys.catalogue import Keys
    from keystead.service.keys.destroying.retire import KeyRetirement
    from keystead.service.keys.keeping.replicate_now import KeyReplicator
    from keystead.service.keys.learning.confirm import ServerConfirmation
    from keystead.service.keys.listing import KeyLists
    from keystead.service.keys.orphans.adopt import Orphans
    from keystead.service.keys.orphans.dismiss import OrphanDismissals
    from keystead.service.keys.reading.restore import KeyRestorer
    from keystead.service.keys.reading.retrieve import KeyReader
    from keystead.service.keys.reporting.jobs import VerificationJobs
    from keystead.service.keys.reporting.reports import KeyReports
    from keystead.service.keys.reporting.survival import KeySurvival
    from keystead.service.keys.reporting.waiting import WaitingWork
    from keystead.service.keys.writing.create import KeyWriter
    from keystead.service.ports.process import ListenerTls


@dataclass(frozen=True, slots=True)
class Services:
    """The use cases, one object per resource. keystead.app.wiring makes them."""

    accounts: Accounts
    application_callers: ApplicationCallers
    application_objects: ApplicationObjects
    attention: Attention
    audit: AuditLog
    audit_chains: AuditChains
    audit_messages: AuditMessages
    certificate_logins: CertificateLogins
    certificate_uses: CertificateUses
    certificates: Certificates
    cluster: ClusterInfo
    destinations: Destinations
    detached_key_servers: DetachedKeyServers
    event_filters: EventFilters
    incarnations: Incarnations
    jobs: Jobs
    key_lists: KeyLists
    key_manager_configs: KeyManagerConfigs
    key_managers: KeyManagers
    key_server_reports: KeyServerReports
    key_servers: KeyServers
    key_stores: KeyStores
    key_retirement: KeyRetirement
    key_reader: KeyReader
    key_replicator: KeyReplicator
    key_restorer: KeyRestorer
    key_survival: KeySurvival
    key_reports: KeyReports
    verification_jobs: VerificationJobs
    key_writer: KeyWriter
    keys: Keys
    logins: Logins
    listener_tls: ListenerTls
    login_messages: LoginMessagesOfOwners
    node_removal: NodeRemoval
    roles: Roles
    server_confirmation: ServerConfirmation
    sessions: Sessions
    svms: Svms
    unclaimed_objects: Orphans
    orphan_dismissals: OrphanDismissals
    peers: Peers
    waiting_work: WaitingWork
    events: Events
    health: Health
    deletions: InFlight = field(default_factory=InFlight)
