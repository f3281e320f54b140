"""The resources, one file each, and the paths that the API serves."""

from keystead.api.resources import (
    accounts,
    attention,
    audit,
    audit_destinations,
    auth_keys,
    certificates,
    certificates_signing,
    cli_certificates,
    cli_date,
    cluster,
    detached_key_servers,
    ems_destinations,
    ems_filters,
    ems_messages,
    events,
    incarnation,
    jobs,
    key_ids,
    key_jobs,
    key_manager_configs,
    key_managers,
    key_reports,
    key_server_confirmations,
    key_server_probes,
    key_servers,
    key_stores,
    key_survival,
    login,
    login_messages,
    retrievals,
    roles,
    security,
    svms,
    unclaimed_objects,
    volume_keys,
    waiting,
)

# The router compares paths in this order, so the busiest paths come first.
PATHS = (
    key_servers.PATHS
    | retrievals.PATHS
    | key_managers.PATHS
    | volume_keys.PATHS
    | accounts.PATHS
    | attention.PATHS
    | audit.PATHS
    | audit_destinations.PATHS
    | auth_keys.PATHS
    | certificates.PATHS
    | certificates_signing.PATHS
    | cli_certificates.PATHS
    | cli_date.PATHS
    | cluster.PATHS
    | detached_key_servers.PATHS
    | ems_destinations.PATHS
    | ems_filters.PATHS
    | ems_messages.PATHS
    | events.PATHS
    | incarnation.PATHS
    | jobs.PATHS
    | key_ids.PATHS
    | key_jobs.PATHS
    | key_manager_configs.PATHS
    | key_reports.PATHS
    | key_stores.PATHS
    | key_server_confirmations.PATHS
    | key_server_probes.PATHS
    | key_survival.PATHS
    | login.PATHS
    | login_messages.PATHS
    | roles.PATHS
    | security.PATHS
    | svms.PATHS
    | unclaimed_objects.PATHS
    | waiting.PATHS
)
RESOURCES = (
    key_servers.KEY_SERVERS,
    key_managers.KEY_MANAGERS,
    volume_keys.VOLUME_KEYS,
    retrievals.RETRIEVALS,
    auth_keys.AUTH_KEYS,
    key_ids.KEY_IDS,
    key_jobs.RESTORES,
    key_jobs.REPLICATIONS,
    key_server_confirmations.CONFIRMATIONS,
    key_server_probes.PROBES,
    key_survival.SURVIVAL,
    key_reports.KEY_REPORTS,
    key_reports.PROOFS,
    key_reports.DRILLS,
    unclaimed_objects.UNCLAIMED,
    unclaimed_objects.DISMISSALS,
    waiting.WAITING,
    detached_key_servers.DETACHED,
    incarnation.INCARNATION,
    attention.ATTENTION,
    key_stores.KEY_STORES,
    key_manager_configs.CONFIGS,
    certificates.CERTIFICATES,
    certificates_signing.SIGNINGS,
    certificates_signing.SIGNING_REQUESTS,
    cli_certificates.CLI_CERTIFICATES,
    cli_date.DATES,
    svms.SVMS,
    cluster.CLUSTER,
    cluster.NODES,
    jobs.JOBS,
    ems_destinations.DESTINATIONS,
    ems_filters.FILTERS,
    ems_filters.RULES,
    ems_messages.MESSAGES,
    events.EVENTS,
    accounts.ACCOUNTS,
    accounts.NEW_PASSWORD,
    roles.ROLES,
    roles.PRIVILEGES,
    login.WHOAMI,
    login_messages.LOGIN_MESSAGES,
    security.SECURITY,
    audit.SETTINGS,
    audit.MESSAGES,
    audit_destinations.DESTINATIONS,
)
