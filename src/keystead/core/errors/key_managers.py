"""Codes of key managers and key servers: the 13 of the ONTAP 9.6 page, then those of later releases."""

from __future__ import annotations

from keystead.core.errors.table import row

KEY_SERVER_LIMIT = row(
    65536038,
    400,
    "A maximum of 4 active key servers are allowed.",
    "The key manager's primary key servers and the new ones would be more than four.",
)
ALREADY_SECONDARY = row(
    65536042,
    400,
    "Cannot add key server because it is already a secondary key server.",
    "A new primary is a secondary of a primary of this key manager.",
)
CERTIFICATE_NOT_INSTALLED = row(
    65536821,
    400,
    "Certificate is not installed.",
    "A client or server CA certificate that the key manager refers to is not in the certificate store.",
)
CLUSTER_VERSION = row(
    65536822,
    400,
    "Multitenant key management is not supported in the current cluster version.",
    "A node of the cluster runs a release below 9.6.0 and the key manager belongs to an SVM.",
)
KEY_MANAGER_EXISTS = row(
    65536823, 400, "The SVM has key manager already configured.", "The SVM, or the cluster, has a key manager."
)
METROCLUSTER = row(
    65536824,
    400,
    "Multitenant key management is not supported in MetroCluster configurations.",
    "The cluster is marked as MetroCluster and the key manager belongs to an SVM.",
)
NOT_ENABLED = row(
    65536828,
    400,
    "External key management is not enabled for the SVM.",
    "The uuid names a key manager that is not an enabled external one.",
)
KEY_SERVERS_UNREADABLE = row(
    65536834,
    500,
    "Failed to get existing key-server details for the SVM.",
    "The table of key servers could not be read; the service's log has details.",
)
MISSING_USERNAME = row(65536845, 400, "Missing username.", "A password was given without a username.")
MISSING_PASSWORD = row(65536846, 400, "Missing password.", "A username was given without a password.")
KMIP_VERSIONS = row(
    65536852,
    400,
    "Failed to query supported KMIP protocol versions.",
    "TLS is up, but the server does not answer DiscoverVersions, or shares no KMIP version with us.",
)
KEY_SERVER_EXISTS = row(
    65536870,
    400,
    "Key management servers already configured.",
    "A new server is a primary key server of this key manager already, perhaps spelled differently.",
)
DUPLICATE_KEY_SERVERS = row(
    65536871, 400, "Duplicate key management servers exist.", "The request names the same server twice."
)
EXTERNAL_INCOMPLETE = row(
    65536876,
    400,
    "External key management requires client and server CA certificates installed and with one or more key servers"
    " provided.",
    "A key manager was to be created without client certificate, server CA certificates or key servers.",
)
KMIP_COMMAND = row(
    65536921,
    400,
    "Unable to execute the command on the KMIP server.",
    "After DiscoverVersions the server refused a request, or the configured username and password.",
)
TOO_MANY_SECONDARIES = row(
    65537400, 400, "Exceeded maximum number of secondary key servers.", "More than three secondaries for a primary."
)
SECONDARY_IS_OWN_PRIMARY = row(
    65538407,
    400,
    "A secondary key server is a duplicate of the associated primary key server.",
    "A secondary names its own primary.",
)
DUPLICATE_SECONDARIES = row(
    65538408, 400, "The list of secondary key servers contains duplicates.", "A list names the same secondary twice."
)
SECONDARY_MALFORMED = row(
    65538413,
    400,
    "A secondary key server address is not formatted correctly.",
    "A secondary is not a host name or address, or carries a port (secondaries use their primary's).",
)
SECONDARY_IS_PRIMARY = row(
    65538502,
    400,
    "A secondary key server is also a primary key server.",
    "A secondary names another primary of this key manager or of the request.",
)
SERVER_CA_REFUSED = row(
    66060338,
    400,
    "Failed to establish secure connection for a key management server due to incorrect server_ca certificates.",
    "We do not accept the certificate that the server shows.",
)
CLIENT_CERTIFICATE_REFUSED = row(
    66060339,
    400,
    "Failed to establish secure connection for a key management server due to incorrect client certificates.",
    "The server does not accept our client certificate, or it cannot be used.",
)
TLS_ENGINE = row(
    66060340,
    400,
    "Failed to establish secure connection for a key management server due to Cryptsoft error.",
    "Any other fault of the TLS or KMIP engine: no TLS at all, no common version or cipher.",
)
NETWORK = row(
    66060341,
    400,
    "Failed to establish secure connection for a key management server due to network configuration issues.",
    "The address is not allowed, does not resolve or answer, or the connection broke before our certificate went out.",
)
