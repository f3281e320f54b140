"""All use cases together, as the REST face is given them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keystead.service.accounts import Accounts
    from keystead.service.audit import AuditLog
    from keystead.service.certificates import Certificates
    from keystead.service.cluster import ClusterInfo
    from keystead.service.jobs import Jobs
    from keystead.service.key_managers import KeyManagers
    from keystead.service.key_servers import KeyServers
    from keystead.service.svms import Svms


@dataclass(frozen=True, slots=True)
class Services:
    """One object per resource, wired by app.py."""

    accounts: Accounts
    audit: AuditLog
    certificates: Certificates
    cluster: ClusterInfo
    jobs: Jobs
    key_managers: KeyManagers
    key_servers: KeyServers
    svms: Svms
