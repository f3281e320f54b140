"""The resources, one file each; together the paths that the API serves."""

from keystead.api.resources import (
    accounts,
    audit,
    auth_keys,
    certificates,
    certificates_signing,
    cluster,
    events,
    jobs,
    key_manager_configs,
    key_managers,
    key_servers,
    key_stores,
    login,
    roles,
    svms,
    volume_keys,
)

# In the order in which a request's path is compared: what is asked most stands first.
PATHS = (
    key_servers.PATHS
    | key_managers.PATHS
    | volume_keys.PATHS
    | accounts.PATHS
    | audit.PATHS
    | auth_keys.PATHS
    | certificates.PATHS
    | certificates_signing.PATHS
    | cluster.PATHS
    | events.PATHS
    | jobs.PATHS
    | key_manager_configs.PATHS
    | key_stores.PATHS
    | login.PATHS
    | roles.PATHS
    | svms.PATHS
)
RESOURCES = (
    key_servers.KEY_SERVERS,
    key_managers.KEY_MANAGERS,
    volume_keys.VOLUME_KEYS,
    auth_keys.AUTH_KEYS,
    key_stores.KEY_STORES,
    key_manager_configs.CONFIGS,
    certificates.CERTIFICATES,
    certificates_signing.SIGNINGS,
    certificates_signing.SIGNING_REQUESTS,
    svms.SVMS,
    cluster.CLUSTER,
    cluster.NODES,
    jobs.JOBS,
    events.EVENTS,
    accounts.ACCOUNTS,
    accounts.NEW_PASSWORD,
    roles.ROLES,
    roles.PRIVILEGES,
    login.WHOAMI,
    audit.SETTINGS,
    audit.MESSAGES,
)
