"""Codes of key managers and key servers: first the 13 of the ONTAP 9.6 page, then those of later releases."""

from __future__ import annotations

from keystead.core.errors.table import row

KEY_STORES_RELEASE = row(
    262155,
    400,
    "This operation requires an effective cluster version of 9.14.0 or later.",
    "A key store was to be changed or deleted while a node of the cluster runs a release below 9.14.0.",
)
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
ONBOARD = row(
    65536508,
    400,
    "The platform does not support data at rest encryption.",
    "An Onboard Key Manager was to be created or changed. There is none here: keys are on external key servers.",
)
OUT_OF_QUORUM = row(
    65536600,
    400,
    'Cannot {verb} a key server while a node is out of quorum: "{node}".',
    "The setting `quorum_required` is on, and the node was stopped or not heard for 45 seconds. It counts no more once"
    " it was silent for `quorum_eviction_minutes`, or was removed.",
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
KEY_SERVER_NOT_CONFIGURED = row(
    65536843,
    400,
    "The key management server is not configured for the SVM.",
    "A server to be modified, removed or probed is no primary key server of this key manager.",
)
MISSING_USERNAME = row(
    65536845, 400, "Missing username.", "A password was given without a username, and none is stored."
)
MISSING_PASSWORD = row(65536846, 400, "Missing password.", "A username was given or changed without a password.")
KEY_PAIR = row(
    65536850,
    400,
    "New client certificate public or private keys are different from the existing client certificate.",
    "The new client certificate has another key pair; key servers know their keys' owner by it.",
)
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
NOTHING_TO_MODIFY = row(
    65536880,
    400,
    'One or more of the following values must be provided "timeout", "username", "password", "secondary_key_servers",'
    ' "create_remove_timeout".',
    "A PATCH of a key server with an empty body; port and tls_server_name count as well.",
)
KMIP_COMMAND = row(
    65536921,
    400,
    "Unable to execute the command on the KMIP server.",
    "After DiscoverVersions the server refused a request, or the configured username and password.",
)
SERVERS_UNAVAILABLE = row(
    65536987,
    400,
    "One or more key servers are unavailable.",
    "A key manager was to be enabled, and one of its servers could not be proved; the arguments say which, and why.",
)
PORT_RELEASE = row(
    65537002,
    400,
    "Modifying key server port requires an effective cluster version of ONTAP 9.18.1 or later.",
    "A node of the cluster runs a release below 9.18.1.",
)
ONBOARD_NOT_ENABLED = row(
    65537301,
    400,
    "The Onboard Key Manager is not enabled.",
    "Common Criteria mode, or its passphrase, was to be set: it is a mode of the Onboard Key Manager, which is"
    " not here.",
)
POLLING_RELEASE = row(
    65537303,
    400,
    "Modifying polling period requires an effective cluster version of ONTAP 9.10 or later.",
    "A node of the cluster runs a release below 9.10.0.",
)
NO_EXTERNAL_MANAGEMENT = row(
    65537304,
    400,
    "Unable to modify polling period because no external key management is configured on the cluster.",
    "There is no enabled key manager, neither of the cluster nor of an SVM.",
)
TOO_MANY_SECONDARIES = row(
    65537400, 400, "Exceeded maximum number of secondary key servers.", "More than three secondaries for a primary."
)
POLICY_INVALID = row(
    65538111,
    400,
    "The key manager policy is invalid.",
    "A policy's name is empty, longer than 255 characters, not printable, or begins or ends with a blank.",
)
POLICY_ON_ADMIN_SVM = row(
    65538120,
    400,
    "The key manager policy is not supported on the admin SVM.",
    "A policy was given for the cluster's key manager.",
)
RETRY_COUNT_RELEASE = row(
    65538404,
    400,
    "Modifying cloud keymanager retry count requires an effective cluster version of ONTAP 9.11 or later.",
    "A node of the cluster runs a release below 9.11.0.",
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
SECONDARIES_RELEASE = row(
    65538503,
    400,
    "Support for adding secondary key servers requires an ECV of ONTAP 9.11.1 or later.",
    "A node of the cluster runs a release below 9.11.1, and secondaries were given.",
)
KEY_STORE_ENABLED = row(
    65538905,
    400,
    "The configuration is currently enabled.",
    "Only a key store that is not enabled is deleted here; an enabled key manager is deleted as such.",
)
KEY_STORE_UNKNOWN = row(
    65538908,
    400,
    "The specified keystore configuration UUID either does not exist or corresponds to a keystore configuration"
    " that is not supported by this operation.",
    "No key store has this uuid, for this account.",
)
ENABLED_MISSING = row(
    65538909,
    400,
    "A value for enabled is required.",
    "A key store's PATCH without `enabled`.",
)
NO_DISABLING = row(
    65538910,
    400,
    "Disabling an enabled configuration through this method is currently not supported.",
    "A key store's PATCH with `enabled` false.",
)
ADMIN_SVM_HAS_KEY_MANAGER = row(
    65539216,
    400,
    "The Admin SVM has a key manager already configured.",
    "The cluster has an enabled key manager.",
)
ALREADY_ENABLED = row(
    65539218,
    400,
    "The specified keystore configuration is already enabled.",
    "The key store is the enabled one.",
)
HEALTH_POLICY = row(
    65539304,
    400,
    "The health monitor policy feature is not enabled.",
    "The health monitor of external key servers is always on and takes no volumes offline: its policy cannot be"
    " changed.",
)
INACTIVE_OF_SVM = row(
    65539500,
    400,
    "Cannot create an inactive external key manager on this SVM because inactive external key managers can only"
    " be created on the admin SVM.",
    "`create_inactive` for an SVM.",
)
INACTIVE_BESIDE_ANOTHER = row(
    65539501,
    400,
    "Cannot create an inactive external key manager on the admin SVM because an external key manager already"
    " exists on the admin SVM.",
    "`create_inactive` while the cluster has a key manager, enabled or not.",
)
INACTIVE_METROCLUSTER = row(
    65539503,
    400,
    "Cannot create an inactive external key manager on the admin SVM while MetroCluster is configured.",
    "`create_inactive` in a cluster that is marked as MetroCluster.",
)
INACTIVE_RELEASE = row(
    65539504,
    400,
    "An effective cluster version of ONTAP 9.16.1 or later is required to create an inactive external key manager.",
    "`create_inactive` while a node of the cluster runs a release below 9.16.1.",
)
ENABLE_RELEASE = row(
    65539513,
    400,
    "An effective cluster version of ONTAP 9.16.1 or later is required to enable an inactive key manager on the"
    " admin SVM.",
    "A node of the cluster runs a release below 9.16.1.",
)
KEY_STORE_RELEASE = row(
    65539521,
    400,
    "An effective cluster version of ONTAP 9.16.1 or later is required.",
    "The cluster's inactive key store was to be deleted while a node runs a release below 9.16.1.",
)
ENABLE_BESIDE_INACTIVE = row(
    65539585,
    400,
    "Cannot enable an external key manager on the admin SVM because an inactive external key manager already"
    " exists on the admin SVM.",
    "A key manager was to be created while the cluster has an inactive one: enable or delete that one.",
)
INACTIVE_UNCHANGEABLE = row(
    65539586,
    400,
    "Cannot modify an inactive key manager configuration.",
    "A PATCH of a key manager that is not enabled.",
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
