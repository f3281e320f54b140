"""What each example of the client's documentation needs and must do, and which ones are known to fail.

:data:`CASES` has them by module and by name. A known failure has the code of the refusal, or the name of the client's
own error, and one reason. They are listed on the page ``docs/explanation/clients.md``.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509

from tests.conformance.documented import world as w
from tests.conformance.documented.running import Ran, check_changes, fields_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conformance.documented.world import Given, World

Check = Callable[["World", "Given", Ran], None]


def changes_are_shown(world: World, _: Given, ran: Ran) -> None:
    """A change is shown afterwards, and what was deleted is gone."""
    check_changes(ran, world.call)


@dataclass(frozen=True)
class Case:
    """One example. ``given`` makes what it takes for granted, ``then`` looks at what it did.

    ``without`` are printed fields that Keystead has no value for, with what is below them. ``account`` is the printed
    name of the account that logs in; without it the administrator does. ``alone`` asks for a service that nobody else
    uses. ``code`` and ``fails`` are the refusal, or the client's error, and its reason.
    """

    given: Callable[[World], Given] = w.nothing
    then: Check = changes_are_shown
    without: tuple[str, ...] = ()
    account: str = ""
    alone: bool = False
    code: str = ""
    fails: str = ""


def failing(code: str, reason: str, given: Callable[[World], Given] = w.nothing) -> Case:
    """Return an example that is known to fail."""
    return Case(given, code=code, fails=reason)


# --- what examples must have done ------------------------------------------------------------------------------------


def finds(printed: str) -> Check:
    """The answer has the object that stands in place of a printed identifier, with all fields that were asked for."""

    def check(_: World, given: Given, ran: Ran) -> None:
        assert given[printed] in str(ran.printed)
        asked = ran.exchanges[-1].query.partition("fields=")[2]
        assert set(filter(None, asked.split(","))) <= fields_of(ran.printed) | fields_of(ran.printed.get("records"))

    return check


def lists_by_name(world: World, _: Given, ran: Ran) -> None:
    """All SVMs are listed, by name."""
    names = [each["name"] for each in ran.printed["records"]]
    assert names == sorted(names)
    assert len(names) == world.call.get("/svm/svms?return_records=false")["num_records"]


def lists_none(_: World, __: Given, ran: Ran) -> None:
    """No SVM is listed, because none has an enabled protocol."""
    assert ran.printed["records"] == []


def lists_one_of_two(_: World, given: Given, ran: Ran) -> None:
    """Of the two SVMs that were made, the one that may have the protocol is listed."""
    names = {each["name"] for each in ran.printed["records"]}
    assert names.intersection(given.values()) == {given[w.ALLOWED]}


def logs_in(printed: str, password: str) -> Check:
    """The account that stands in place of a printed one logs in with the new password."""

    def check(world: World, given: Given, _: Ran) -> None:
        with world.service.client(given[printed], password) as client:
            assert client.get("/security/login/whoami")["username"] == given[printed]

    return check


def limits_storage(size: int) -> Check:
    """The SVM's limit is so many bytes."""

    def check(world: World, _: Given, ran: Ran) -> None:
        where = ran.exchanges[-1].location or ran.exchanges[-1].path
        assert world.call.get(f"{where}?fields=storage")["storage"]["limit"] == size

    return check


def is_signed(world: World, given: Given, ran: Ran) -> None:
    """The authority signed the certificate."""
    authority = world.call.get(f"/security/certificates/{given['253add53-8ac9-11e8-9058-005056b482fc']}?fields=*")
    signed, issuer = (
        x509.load_pem_x509_certificate(each["public_certificate"].encode()) for each in (ran.printed, authority)
    )
    signed.verify_directly_issued_by(issuer)
    assert signed.subject.rfc4514_string() == "CN=signed"


def is_requested(_: World, __: Given, ran: Ran) -> None:
    """The request has the subject and the names that were asked for."""
    request = x509.load_pem_x509_csr(ran.printed["csr"].encode())
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert ",".join(name.rfc4514_string() for name in request.subject) == "C=US,O=NTAP,CN=test.domain.com"
    assert names.get_values_for_type(x509.DNSName) == ["*.example.com", "*.example1.com"]


def begin_with_k(_: World, __: Given, ran: Ran) -> None:
    """The kinds of events have names that begin as asked."""
    assert [each["name"][0] for each in ran.printed] == ["k"] * len(ran.printed)


def has_failed(_: World, __: Given, ran: Ran) -> None:
    """The test of the connectivity says that it failed, and why."""
    assert ran.printed["connectivity"]["state"] == "fail"
    (error,) = ran.printed["connectivity"]["errors"]
    assert error["message"]["message"]


def rules_of(world: World, given: Given) -> list[tuple[str, str, str]]:
    """Return type, name and severities of the rules of the filter that was made."""
    rules = world.call.get(f"/support/ems/filters/{given['test-filter']}?fields=rules")["rules"]
    criteria = [(each["type"], each["message_criteria"]) for each in rules]
    return [(type_, each["name_pattern"], each["severities"]) for type_, each in criteria]


def has_rules(*expected: tuple[str, str, str]) -> Check:
    """The filter has these rules, and then the last rule of every filter."""

    def check(world: World, given: Given, _: Ran) -> None:
        assert rules_of(world, given) == [*expected, ("exclude", "*", "*")]

    return check


def shows_the_listener(world: World, _: Given, ran: Ran) -> None:
    """The versions of TLS are those that the service's listener takes."""
    for version, shown in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        context = ssl.create_default_context(cafile=world.login.ca)
        context.minimum_version = context.maximum_version = version
        with (
            socket.create_connection(("127.0.0.1", world.login.port)) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            assert connection.version() == shown
            assert shown in ran.printed["tls"]["protocol_versions"]


# --- why examples fail -----------------------------------------------------------------------------------------------

NO_SUCH_CALL, NOT_FOUND, UNKNOWN_FIELD, JOB_HAS_ENDED = "3", "4", "262179", "458762"
NOT_SETTABLE, WRONG_VALUE, BAD_JSON, MISSING_VALUE = "262196", "262197", "262199", "262212"
_ONBOARD = "storage: the Onboard Key Manager keeps its keys in ONTAP"
_NODES = "a node is a process: it is started, stopped and named where it runs"
_CREATED = "a cluster is made by `keystead init`"
_ANALYTICS = "storage: analytics of volumes"
_NETWORK = "storage: name services and network interfaces of an SVM"
_PROTOCOL = "storage: protocols are not served"
_COMMANDS = "its privilege is for commands of ONTAP, which are not here"
_JSON = "a fault of the example: its body is not JSON"
_NOT_SET = "a fault of the example: the client refuses it, because the object around the field is not set yet"
_OWNER = "a fault of the example: the client refuses it, because `owner` is not set yet"


# --- the tables ------------------------------------------------------------------------------------------------------

KEY_MANAGERS: Mapping[str, Case] = {
    "Creating an external key manager with 1 primary key server for a cluster": Case(w.certificates),
    "Creating an external key manager with two primary key servers": Case(w.certificates),
    "Creating an external key manager with 1 primary key server for an SVM": Case(w.certificates),
    "Creating an onboard key manager for a cluster": failing("65536508", _ONBOARD),
    "Retrieving the key manager configurations for all clusters and SVMs": Case(w.key_managers),
    "Retrieving the key manager configurations for all clusters and SVMs (showing Onboard Key Manager)": Case(
        w.key_managers, without=("onboard.key_backup",)
    ),
    "Retrieving expensive fields such as, status.code and status.message, associated with a key manager": Case(
        w.key_managers
    ),
    "Retrieving a specific key manager configuration": Case(w.key_manager),
    "Updating the configuration of an external key manager": Case(w.key_manager),
    "Updating the passphrase of an Onboard Key Manager": failing("65536508", _ONBOARD, w.key_manager),
    "Synchronizing the passphrase of the Onboard Key Manager on a cluster": failing(
        "65536508", _ONBOARD, w.key_manager
    ),
    "Configuring the Onboard Key Manager on a cluster": failing("65536508", _ONBOARD),
    "Deleting a configured key manager": Case(w.key_manager),
    "Adding a primary key server to an external key manager": Case(w.key_manager_with_another_server),
    "Adding 2 primary key servers to an external key manager": failing(
        "NetAppRestError",
        "a fault of the example: the client refuses it, and asks for `post_collection()`",
        w.key_manager_with_another_server,
    ),
    "Retrieving all the key servers configured in an external key manager": Case(w.key_manager),
    "Retrieving a specific primary key server (and any associated secondary key servers) configured in an external key"
    " manager": Case(w.key_manager),
    "Retrieving a specific primary key server (and any associated secondary key servers) (and connectivity, an"
    " expensive field) configured in an external key manager": Case(w.key_manager),
    "Retrieving the connectivity status of a specific node for a specific primary key server configured in an external"
    " key manager": Case(w.key_manager),
    "Updating a specific primary key server configuration configured in an external key manager": Case(w.key_manager),
    "'secondary_key_servers' field": Case(w.key_manager_without_secondaries),
    "Deleting a primary key server from an external key manager": Case(w.key_manager),
    "Bypass the out of quorum checks when deleting a primary key server from an external key manager": Case(
        w.key_manager
    ),
    "To retrieve basic information about a key manager": Case(w.key_manager, finds("<uuid>")),
    "To retrieve specific fields, including expensive properties": Case(w.key_manager, finds("<uuid>")),
    "To retrieve basic information about a key manager (2)": Case(w.key_manager, finds("<uuid>")),
    "To retrieve specific fields, including expensive properties (2)": Case(w.key_manager, finds("<uuid>")),
}

KEY_SERVERS: Mapping[str, Case] = {
    name: Case(w.key_manager, finds("{server}"))
    for name in (
        "To retrieve basic information about a key server",
        "To retrieve specific fields, including expensive properties",
        "To retrieve basic information about a key server (2)",
        "To retrieve specific fields, including expensive properties (2)",
    )
}

AUTHENTICATION_KEYS: Mapping[str, Case] = {
    "Creates an authentication key. Note: an external key  manager must be configured on the admin SVM, as the"
    " authentication key will be associated with the admin SVM": Case(
        w.authentication_keys, without=("key_tag",), alone=True
    ),
    "Retrieving a list of all of the authentication keys associated with the admin SVM": Case(
        w.authentication_keys, alone=True
    ),
    "Retrieving a specific authentication key associated with the admin SVM": Case(w.authentication_keys, alone=True),
}

KEY_IDS: Mapping[str, Case] = {
    "Retrieving key manager key-id information for a node": Case(w.volume_key),
    "Retrieving key manager key-id information of a specific key-type for a node": Case(
        w.authentication_keys, alone=True
    ),
}

KEY_MANAGER_CONFIGS: Mapping[str, Case] = {
    "Retrieving cluster-level key manager configurations": Case(),
    "Updating the cluster-level key manager configurations": Case(w.key_manager),
    "Updating the cluster-level key manager configurations (2)": failing(
        "65537301", "storage: Common Criteria mode belongs to the Onboard Key Manager"
    ),
    "Shows the keystore level health monitor policy": Case(),
    "Updates the keytore level health monitor policy": Case(),
}

KEY_STORES: Mapping[str, Case] = {
    "Retrieving information for all configured key managers": Case(w.key_managers),
    "Retrieving a specific keystore by its UUID": Case(w.key_store),
    "Enabling a specific keystore configuration": Case(w.inactive_key_store),
    "Deleting a specific keystore configuration": Case(w.inactive_key_store),
}

CERTIFICATES: Mapping[str, Case] = {
    "Retrieving all certificates installed in the cluster with their common-names": Case(w.installed_certificates),
    "Retrieving all certificates installed at cluster-scope with their common-names": Case(w.installed_certificates),
    "Retrieving all certificates installed on a specific SVM with their common-names": Case(w.installed_certificates),
    "Retrieving a certificate using its UUID for all fields": Case(w.installed_certificates),
    "Creating a certificate in a cluster": Case(w.installed_certificates),
    "Installing a certificate in a cluster": Case(w.certificate_to_install),
    "Installing a certificate on a specific SVM": Case(w.certificate_to_install),
    "Installing a CA-signed certificate on a specific SVM": failing(
        "3735693", "a fault of the example: it has no private key", w.certificate_to_install
    ),
    "Deleting a certificate using its UUID": Case(w.installed_certificates),
    "Signing a new certificate signing request using an existing CA certificate UUID": Case(w.authority, is_signed),
    "Generate a new Certificate Signing Request (CSR)": Case(then=is_requested),
    "Download and install a certificate from the Azure Key Vault": failing(
        NOT_SETTABLE, "certificates are not fetched from the Azure Key Vault", w.installed_certificates
    ),
    "Creating a root-ca certificate in a cluster when DCN cluster is configured": Case(),
    "Deleting a CA certificate using its UUID when DCN cluster is configured": Case(w.installed_certificates),
}

ACCOUNTS: Mapping[str, Case] = {
    "Retrieving the user account details": Case(w.svm_account, without=("password_hash_algorithm",)),
    "Updating the applications and role in a user account": failing(
        WRONG_VALUE, "accounts of a domain, ONTAPI and the role `vsadmin-backup` are not here", w.svm_account
    ),
    "Updating the password for a user account": Case(w.svm_account, logs_in("svm_user1", "newp@ssw@rd2")),
    "Locking a user account": Case(w.svm_account),
    "Deleting a user account": Case(w.svm_account),
}

_BY_ADMINISTRATOR = "Changing the password of another cluster or SVM user account by a cluster administrator"
PASSWORDS: Mapping[str, Case] = {
    _BY_ADMINISTRATOR: Case(w.svm_account, logs_in("cluster_user1", w.NEW_PASSWORD)),
    f"{_BY_ADMINISTRATOR} (2)": failing("AttributeError", _OWNER, w.svm_account),
    f"{_BY_ADMINISTRATOR} (3)": Case(w.svm_account, logs_in("cluster_user1", w.NEW_PASSWORD)),
    f"{_BY_ADMINISTRATOR} (4)": failing("AttributeError", _OWNER, w.svm_account),
    "Changing the password of an SVM-scoped user": Case(
        w.svm_account, logs_in("svm_user1", w.NEW_PASSWORD), account="svm_user1"
    ),
}

ROLES: Mapping[str, Case] = {
    "Retrieving the role configuration for a REST role": Case(w.roles),
    "Retrieving the role configuration for a custom legacy role": failing(NOT_FOUND, _COMMANDS, w.roles),
    "Deleting a custom role": Case(w.roles),
}

_PATHS = (
    "for a REST API path in the privilege tuple of an existing role",
    "for a resource-qualified endpoint in the privilege tuple of an existing role",
    "for an AIDE resource-qualified endpoint in the privilege tuple of an existing role",
)
_COMMAND = "for a command/command directory path in the privilege tuple of an existing role"
PRIVILEGES: Mapping[str, Case] = {
    **{f"Updating the access level {path}": Case(w.roles) for path in _PATHS},
    **{f"Retrieving the access level {path}": Case(w.roles) for path in _PATHS},
    "Deleting a privilege tuple, containing a REST API path, from an existing role": Case(w.roles),
    "Deleting a privilege tuple, containing a resource-qualified endpoint, from an existing role": Case(w.roles),
    "Deleting a privilege tuple, containing an AIDE resource-qualified endpoint, from an existing role": Case(w.roles),
    f"Updating the access level {_COMMAND}": failing("5636192", _COMMANDS, w.roles),
    f"Retrieving the access level {_COMMAND}": failing(NOT_FOUND, _COMMANDS, w.roles),
    "Deleting a privilege tuple, containing a command/command directory path, from an existing role": failing(
        NOT_FOUND, _COMMANDS, w.roles
    ),
}

LOGIN_MESSAGES: Mapping[str, Case] = {
    "Retrieving all of the login messages in the cluster": Case(w.login_messages),
    "Retrieving the login messages configuration at the cluster scope": Case(w.login_messages),
    "Retrieving the login banner configured at the cluster scope": Case(w.login_messages),
    "Retrieving the login messages configuration of a specific SVM": Case(w.login_messages),
    "Retrieving the login messages configuration by UUID, including all fields": Case(w.login_messages),
    **{
        name: Case(w.login_messages_of_the_cluster, alone=True)  # the client reads back all login messages there are
        for name in (
            "Configuring the login banner in a cluster",
            "Configuring the message of the day (MOTD) in a cluster",
            "Clearing the login banner and message of the day (MOTD) in a cluster",
        )
    },
    "Configuring the login messages for a specific SVM": Case(w.login_messages, account=w.ADMINISTRATOR),
    "Configuring the login messages by UUID": Case(w.login_messages),
    "Clearing the login messages configuration by UUID": Case(w.login_messages),
}

CLUSTER: Mapping[str, Case] = {
    "Setting auto_enable_analytics": failing(NOT_SETTABLE, _ANALYTICS),
    "Setting auto_enable_activity_tracking": failing(NOT_SETTABLE, _ANALYTICS),
    "Setting failover_protection_level": failing(NO_SUCH_CALL, "storage: failover of nodes with disks"),
    **{
        name: failing(NOT_SETTABLE, "accounts of Active Directory are not here")
        for name in (
            "Active Directory account for the cluster",
            "Active Directory account for the cluster (2)",
        )
    },
    **{
        name: failing(NO_SUCH_CALL, _CREATED)
        for name in (
            "Minimally configuring a 2-node setup",
            "Setting up a single node with additional node configuration and auto aggregate creation",
            "Creating the cluster",
        )
    },
    "Modifying a cluster-wide configuration": Case(),
    "Discovering the nodes": Case(without=("uptime",)),
    "Monitoring the progress of cluster creation": Case(w.job),
    "Verifying the cluster information": Case(
        w.described_cluster,
        without=(
            *("active_directory", "dns_domains", "ha", "management_interfaces", "metric", "name_servers"),
            *("ntp_servers", "peering_policy", "san_optimized", "statistics", "timezone"),
        ),
    ),
}

NODES: Mapping[str, Case] = {
    **{
        name: failing(NO_SUCH_CALL, _NODES, w.node)
        for name in (
            "Adding a single node with a minimal configuration",
            "Adding multiple nodes in the same request and creating recommended aggregates",
            "Modifying a cluster-wide configuration",
            "Shutting down a node",
            "Powering off a node using SP assistance",
        )
    },
    **{
        name: failing(
            "262145", "the node of the example is the one that answers, and it is removed only when stopped", w.node
        )
        for name in ("Deleting a node from a cluster", "Force a node deletion from a cluster")
    },
    "Retrieving the state of all nodes in a cluster": Case(),
    "Retrieving nodes that are in the spare low condition in a cluster": Case(),
    "Retrieving statistics and metric for a node": Case(without=("metric", "statistics")),
    "Retrieving takeover and giveback failure codes and messages": Case(without=("ha",)),
    "Retrieving external cache information for a node": Case(without=("external_cache",)),
}

JOBS: Mapping[str, Case] = {
    "Retrieving job information": Case(w.job),
    "Updating a job that supports the new state": failing(
        JOB_HAS_ENDED, "the job has ended by then, so it cannot be cancelled", w.job
    ),
}

_ASA_R2 = (
    "On ASA r2 platforms, _fcp_, _iscsi_, and _nvme_ services are enabled and allowed by default, and are not necessary"
    " in the POST request"
)
SVMS: Mapping[str, Case] = {
    "delete": Case(w.svm),
    "get": Case(w.svm, finds("f16f0935-5281-11e8-b94d-005056b46485")),
    "Retrieves a list of SVMs in the cluster sorted by name": Case(w.svm, lists_by_name),
    **{
        f"Retrieves a list of SVMs in the cluster that have the {protocol} protocol enabled": Case(w.svm, lists_none)
        for protocol in ("NFS", "CIFS", "S3")
    },
    **{
        f"Retrieves a list of SVMs in the cluster {which}": Case(w.svms_with_and_without_protocols, lists_one_of_two)
        for which in (
            *(f"that have the {protocol} protocol allowed" for protocol in ("FCP", "CIFS", "s3")),
            "where the NDMP protocol is specified as allowed",
        )
    },
    'Stops an SVM and updates the "comment" field for an individual SVM': failing(
        WRONG_VALUE, "storage: an SVM here serves no data that could be stopped", w.svm
    ),
    'Starts an SVM and updates the "comment" field for an individual SVM': Case(w.svm),
    "Updates the aggregates for an individual SVM": failing(BAD_JSON, _JSON, w.svm),
    "Updates the TLS certificate for an individual SVM": failing(
        NOT_SETTABLE, "an SVM has no port of its own that would show a certificate", w.svm_with_certificate
    ),
    "Updates the QoS policy for the SVM": failing(
        UNKNOWN_FIELD, "a fault of the example: ONTAP's field is called `qos_policy`", w.svm
    ),
    **{
        name: Case(w.svm)
        for name in (
            'Updates the "language" field for an individual SVM',
            'Updates the "name" field for an SVM or renames the SVM',
            "Updates the snapshot policy for an individual SVM",
            "Allows NFS protocol which was previously disallowed for the SVM",
            "Updates the max volume limit for the SVM",
            "Updates whether file system analytics is enabled on all newly created volumes in the SVM",
            "Updates whether volume activity tracking is enabled on all newly created volumes in the SVM",
            "Updates the QoS adaptive policy group template for the SVM",
            "Updates the QoS policy group template for the SVM",
            "Updates the S3 protocol that was previously disallowed for the SVM",
            'Creates an SVM with default "snapshot_policy"',
            "Creates an SVM and disallows NVMe service for the SVM",
            "Create an SVM and set the max volume limit for the SVM",
            "Creates an SVM and disallows the NDMP service for the SVM",
            "Creates an SVM and specifies the QoS policy group template to be assigned to the SVM",
            "Creates an SVM and specifies the QoS adaptive policy group template to be assigned to the SVM",
            _ASA_R2,
        )
    },
    "Updates the maximum storage permitted on a single SVM": Case(w.svm, limits_storage(40 << 30)),
    "Updates the percentage of storage capacity at which an alert message is sent": Case(
        w.svm, limits_storage(400 << 20)
    ),
    "Creates an SVM and specifies the maximum storage limit for a single SVM": Case(w.svm, limits_storage(4 << 30)),
    "Creates an SVM and specifies at what percentage of storage capacity an alert message is sent. Default value is"
    " 90": Case(w.svm, limits_storage(20 << 30)),
    **{
        name: failing(WRONG_VALUE, _PROTOCOL, w.svm)
        for name in (
            "Creates an SVM and configures NFS, CIFS, and S3",
            "Creates an SVM and configures NVMe",
            "Creates an SVM, allows and configures the NFS service for the SVM",
        )
    },
    **{
        name: failing(NOT_SETTABLE, _PROTOCOL, w.svm)
        for name in ("Creates an SVM and configures CIFS", "Creates an SVM with an S3 server enabled and configured")
    },
    **{
        f"Creates an SVM and configures {what}": failing(NOT_SETTABLE, _NETWORK, w.svm)
        for what in ("LDAP", "NIS", "DNS", "a LIF", "a LIF with IPV6 address")
    },
    **{
        f"Creates an SVM and specifies {what}": failing(BAD_JSON, _JSON, w.svm)
        for what in (
            "whether file system analytics is enabled on all newly created volumes in the SVM",
            "whether volume_activity_tracking is enabled on all newly created volumes in the SVM",
            "the SAN multipathing mode",
        )
    },
}

DESTINATIONS_OF_EVENTS: Mapping[str, Case] = {
    "Retrieving a specific destination instance": Case(w.event_destination),
    "Check whether a destination passes connectivity tests": Case(
        w.failing_webhook,
        has_failed,
        without=tuple(f"connectivity.errors.{name}" for name in ("message.arguments", "message.code", "node")),
    ),
    "Updating an existing destination (change of email address)": failing(
        MISSING_VALUE, "a fault of the example: it makes one, and leaves out `name` and `type`"
    ),
    "Deleting an existing destination": Case(w.event_destination),
}

FILTERS_OF_EVENTS: Mapping[str, Case] = {
    "Retrieving a specific filter instance": Case(w.event_filter, without=("rules.message_criteria._links",)),
    "Updating an existing filter with a new rule": Case(w.event_filter, has_rules(("include", "wafl.*", "error"))),
    "Deleting an existing filter": Case(w.event_filter),
}

RULES_OF_FILTERS: Mapping[str, Case] = {
    "Retrieving a single instance of a rule": Case(without=("message_criteria._links",)),
    "Updating an existing rule to use severity emergency": Case(
        w.event_filter, has_rules(("include", "km.*", "emergency"))
    ),
    "Deleting a rule from an existing filter": Case(w.event_filter, has_rules()),
}

_OF_AUDIT = "a remote syslog/splunk server destination given its destination address and port number"
DESTINATIONS_OF_AUDIT: Mapping[str, Case] = {
    "Retrieving remote syslog/splunk server destinations": Case(w.audit_destination),
    "Creating remote syslog/splunk server destinations": failing(
        WRONG_VALUE, "UDP is not served: nothing tells whether a message arrived", w.no_audit_destination
    ),
    f"Retrieving {_OF_AUDIT}": Case(w.audit_destination, without=("ipspace.uuid",)),
    f"Updating {_OF_AUDIT}": Case(w.audit_destination),
    f"Deleting {_OF_AUDIT}": Case(w.audit_destination),
}

SECURITY: Mapping[str, Case] = {
    "Retrieving information about the security configured on the cluster": Case(
        then=shows_the_listener, without=("software_data_encryption",)
    ),
    "Enabling software encryption conversion in the cluster": failing("AttributeError", _NOT_SET),
    "Triggering software encryption rekey in the cluster": failing("AttributeError", _NOT_SET),
    "Enabling FIPS mode in the cluster": failing("AttributeError", _NOT_SET),
    "Configuring permissible TLS protocols and cipher suites in the cluster": failing(
        NO_SUCH_CALL, "what the listener takes is not a setting"
    ),
    "Enabling security protocols in the cluster": failing(NO_SUCH_CALL, "there is no rsh"),
    **{
        f"{what} in the cluster (2)": Case(w.job)
        for what in (
            "Enabling software encryption conversion",
            "Triggering software encryption rekey",
            "Enabling FIPS mode",
            "Configuring permissible TLS protocols and cipher suites",
        )
    },
}

CASES: Mapping[str, Mapping[str, Case]] = {
    "account": ACCOUNTS,
    "account_password": PASSWORDS,
    "cluster": CLUSTER,
    "ems_destination": DESTINATIONS_OF_EVENTS,
    "ems_event": {"Querying for the latest event received by EMS": Case(w.event)},
    "ems_message": {
        "Querying for the first event that has a message name beginning with 'C'": Case(w.kinds_of_events, begin_with_k)
    },
    "ems_filter": FILTERS_OF_EVENTS,
    "ems_filter_rule": RULES_OF_FILTERS,
    "job": JOBS,
    "key_manager_auth_key": AUTHENTICATION_KEYS,
    "key_manager_config": KEY_MANAGER_CONFIGS,
    "key_manager_keys": KEY_IDS,
    "key_server": KEY_SERVERS,
    "login_messages": LOGIN_MESSAGES,
    "node": NODES,
    "role": ROLES,
    "role_privilege": PRIVILEGES,
    "security_audit": {
        "Retrieving administrative audit settings for GET requests": Case(),
        "Updating administrative audit settings for GET requests": Case(),
    },
    "security_audit_log": {"Retrieving audit log records": Case(w.event)},
    "security_audit_log_forward": DESTINATIONS_OF_AUDIT,
    "security_certificate": CERTIFICATES,
    "security_config": SECURITY,
    "security_key_manager": KEY_MANAGERS,
    "security_keystore": KEY_STORES,
    "svm": SVMS,
    "whoami": {"Retrieves the username, role, and permissions information for the logged-in user": Case()},
}
