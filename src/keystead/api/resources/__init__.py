"""The resources, one file each; together the paths that the API serves."""

from keystead.api.resources import certificates, certificates_signing, cluster, key_managers, key_servers, svms

PATHS = certificates.PATHS | certificates_signing.PATHS | cluster.PATHS | key_managers.PATHS | key_servers.PATHS | svms.PATHS
RESOURCES = (
    key_servers.KEY_SERVERS,
    key_managers.KEY_MANAGERS,
    certificates.CERTIFICATES,
    certificates_signing.SIGNINGS,
    certificates_signing.SIGNING_REQUESTS,
    svms.SVMS,
    cluster.CLUSTER,
    cluster.NODES,
)
