"""What NetApp Harvest and the Terraform provider send to the resources that Keystead serves, as data.

Read from their sources on GitHub. A row names the file, and :data:`COMMITS` the commit at which it was read.

- ``NetApp/harvest``: the REST templates ``conf/rest/9.12.0/*.yaml`` and others, plugins and collectors. The requests
  are built as ``cmd/tools/rest/href_builder.go`` does for ONTAP 9.11.1 and later: ``fields`` are the template's
  counters, or ``*`` if one of them indexes an array. The names of events and the calls that Harvest looks for are
  replaced by some that happen here.
- ``NetApp/terraform-provider-netapp-ontap``: ``internal/interfaces/*.go``, sent as ``internal/restclient`` does.

Not here is what they ask of resources that Keystead does not serve. Of the 37 objects that Harvest's
``conf/rest/default.yaml`` collects, these are 27:

- Aggregate, CloudTarget, ClusterPeer, Disk, FlexCache, FCP, LIF, Lun, Namespace, NetRoute, NtpServer;
- OntapS3, OntapS3Policy, QosPolicyAdaptive, QosPolicyFixed, QosWorkload, Qtree;
- SecuritySsh, Sensor, Shelf, SnapMirror, SnapshotPolicy, Subsystem, Support, SupportAutoUpdate;
- Volume, VolumeAnalytics.

Harvest also asks ``/private/cli`` about nodes and SVMs, and about more of certificates. Of the provider's interfaces, 7
files are about resources that are served. All others are about storage, networks, name services and protocols.

In paths and bodies ``$svm``, ``$svm_uuid`` and the other names of :class:`tests.conformance.test_replayed.Things` stand
for things that are made for each row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping

HARVEST, TERRAFORM = "Harvest", "Terraform"

COMMITS: Final = {
    "conf/rest/9.6.0/health.yaml": "6d70cb374e7e99d160a63e78e761eef9ea7997f1",
    "conf/rest/9.10.0/svm.yaml": "1e2cbbbd84aad099641460d24b5596aaff092c37",
    "conf/rest/9.12.0/audit_log.yaml": "15a9a43743f9ea0b767afd1a96304a3a865d54ff",
    "conf/rest/9.12.0/certificate.yaml": "20f943b659e484035546ed9f31fcc7529f57672e",
    "conf/rest/9.12.0/ems_destination.yaml": "34e6854cc3d817e47ef599d8f227ca2a36375498",
    "conf/rest/9.12.0/node.yaml": "8bd9b057074fcf49b46f84278e46f961bb3b4a0a",
    "conf/rest/9.12.0/security.yaml": "0e9cde60ace8d0325647fc201241293360260a05",
    "conf/rest/9.12.0/security_account.yaml": "bdacf50a5e2cb2c0bfbbd6ac6349e5a3e32c6d09",
    "conf/rest/9.12.0/security_audit_dest.yaml": "32be6ea07a5c339ff0d271d6acc686b1c9c72248",
    "conf/rest/9.12.0/security_certificate.yaml": "0bff992290fd0027a20ab98cc3a869203e7aef4a",
    "conf/rest/9.12.0/security_login.yaml": "0bff992290fd0027a20ab98cc3a869203e7aef4a",
    "conf/rest/9.12.0/status.yaml": "00fa3a428541a75c2695c37b6fcb65c319ac3bef",
    "conf/rest/9.12.0/svm.yaml": "f9cadcccd13c3107cc24526f1cd048a2628e1d4a",
    "conf/rest/9.13.0/node.yaml": "386c99e1d43435fc4a2cc8d2bed8d8c05f37309a",
    "conf/rest/default.yaml": "018dbbd683d87bc79d43f89e3f37310d3b415984",
    "cmd/tools/rest/client.go": "b84db7e281af03c0e14aa2f306bf18bc5055af5b",
    "cmd/tools/rest/href_builder.go": "064c8af882c85cf0aa4a1fbcf36347c896be8b9a",
    "cmd/collectors/commonutils.go": "031f959468703ed88ccb1f1c9f3afdb5175f8ac1",
    "cmd/collectors/ems/ems.go": "031f959468703ed88ccb1f1c9f3afdb5175f8ac1",
    "cmd/collectors/rest/plugins/auditlog/auditlog.go": "15a9a43743f9ea0b767afd1a96304a3a865d54ff",
    "cmd/collectors/rest/plugins/health/health.go": "089533cd5f49b80b844cc55a584a6f4b0749878e",
    "cmd/collectors/rest/plugins/securityaccount/securityaccount.go": "07c5277b701aa2c0f56195abb2f0515a11561ae6",
    "internal/interfaces/cluster.go": "16dd4ba208fd16a0f9ad3d43c0ce97cb7e854271",
    "internal/interfaces/cluster_job.go": "9493a7453be30f565a1b41364d3357c57aaeb247",
    "internal/interfaces/security_account.go": "112cee065048c7f83eb8d4faf13d309e5708fde3",
    "internal/interfaces/security_certificate.go": "24eeb1a685867d449849be024ef9a14a18c462ea",
    "internal/interfaces/security_login_message.go": "17dce54fc8b688bbc8b3109927449d69e2584e69",
    "internal/interfaces/security_role.go": "5b1e438a245cb3d75784ed67b68418f6aea88ffa",
    "internal/interfaces/svm.go": "02fbdcedc9cc8022bc61a6d9e71e48d802fa1e1b",
    "internal/provider/security/security_certificate_resource.go": "0cbcbf269bc00ca69d722ba8937ef4b8746f9035",
    "internal/restclient/rest_client.go": "00f89562ad17f46ab08584c9be4a7ffd4940dad9",
}


class Request(NamedTuple):
    """One request: who sends it for what, and what it needs in the answer.

    ``has`` are fields that at least one record of the answer must have, dotted, through arrays. ``lacks`` are fields
    that the client exports if they are there, and that Keystead has no value for.
    """

    client: str
    file: str
    what: str
    method: str
    path: str
    body: Mapping[str, Any] | None = None
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


# --- Harvest ---------------------------------------------------------------------------------------------------------


def _href(path: str, *fields: str, filters: tuple[str, ...] = (), pages: bool = True, ignoring: bool = False) -> str:
    """Return a path as Harvest's builder makes it: all sorted, nothing escaped."""
    parts = ["return_records=true", *([f"fields={','.join(sorted(fields))}"] if fields else []), *sorted(filters)]
    parts += [*(["max_records=500"] if pages else []), *(["ignore_unknown_fields=true"] if ignoring else [])]
    return f"{path}?{'&'.join(parts)}"


def _template(
    file: str, path: str, *counters: str, has: tuple[str, ...], lacks: tuple[str, ...] = (), every: bool = False
) -> Request:
    """Return the request of a template with these counters; of all fields if one of them indexes an array."""
    href = _href(path, *(("*",) if every else counters), ignoring=True)
    what = f"poll, template for {file.partition('/')[0]}"
    return Request(HARVEST, f"conf/rest/{file}", what, "GET", href, has=has, lacks=lacks)


_VERSION = ("version.full", "version.generation", "version.major", "version.minor")
_SEVERITIES = "message.severity=alert|emergency|error|informational|notice"
_COOLING = (
    *("controller.failed_fan.count", "controller.failed_fan.message.message", "controller.failed_power_supply.count"),
    *("controller.failed_power_supply.message.message", "controller.over_temperature"),
)
_NODE = (*_COOLING, "location", "model", "name", "serial_number", "uptime", "version.full")

_OF_HARVEST = (
    Request(
        *(HARVEST, "cmd/tools/rest/client.go", "first request", "GET"),
        _href("/cluster", "*", pages=False),
        has=("name", "uuid", *_VERSION),
    ),
    _template("9.6.0/health.yaml", "/cluster", "uuid", "name", has=("uuid", "name")),
    _template("9.12.0/audit_log.yaml", "/cluster", "uuid", "name", has=("uuid", "name")),
    _template("9.12.0/status.yaml", "/cluster", "health", has=("health",)),
    _template(
        *("9.12.0/node.yaml", "/cluster/nodes", *_NODE),
        has=("name", "version.full"),
        lacks=(*_COOLING, "location", "model", "serial_number", "uptime"),
    ),
    _template(
        *("9.13.0/node.yaml", "/cluster/nodes", *_NODE, "metric.processor_utilization", "state"),
        has=("name", "version.full", "state"),
        lacks=("metric", "uptime"),
    ),
    _template(
        *("9.10.0/svm.yaml", "/svm/svms", "name", "nfs.enabled", "nsswitch"),
        has=("name",),
        lacks=("nsswitch",),
    ),
    _template(
        *("9.12.0/svm.yaml", "/svm/svms"),
        every=True,
        has=("uuid", "name", "state", "aggregates"),
        lacks=("nsswitch", "anti_ransomware_default_volume_state"),
    ),
    _template(
        *("9.12.0/security.yaml", "/security"),
        *("fips.enabled", "management_protocols.rsh_enabled", "management_protocols.telnet_enabled"),
        has=("fips.enabled", "management_protocols.rsh_enabled", "management_protocols.telnet_enabled"),
    ),
    _template(
        *("9.12.0/security_audit_dest.yaml", "/security/audit/destinations", "protocol", "address", "facility"),
        has=("protocol", "address", "facility"),
    ),
    Request(
        *(HARVEST, "conf/rest/9.12.0/ems_destination.yaml", "poll, template for 9.12.0", "GET"),
        _href(
            *("/support/ems/destinations", "destination", "name", "type", "certificate", "filter", "syslog"),
            "system_defined",
            filters=("system_defined=false",),
            ignoring=True,
        ),
        has=("destination", "name", "type", "syslog.port", "system_defined"),
        lacks=("filter",),
    ),
    _template(
        *("9.12.0/security_account.yaml", "/security/accounts"),
        every=True,
        has=(
            *("name", "owner.name", "role.name", "locked", "applications.application"),
            "applications.authentication_methods",
        ),
        lacks=("password_hash_algorithm",),
    ),
    Request(
        *(HARVEST, "cmd/collectors/rest/plugins/securityaccount/securityaccount.go", "methods", "GET"),
        _href("/security/accounts", "applications", pages=False),
        has=("name", "owner.name", "applications.application", "applications.authentication_methods"),
    ),
    _template(
        *("9.12.0/security_certificate.yaml", "/security/certificates"),
        *("uuid", "name", "scope", "svm.name", "public_certificate"),
        has=("uuid", "name", "scope", "svm.name", "public_certificate"),
    ),
    _template(
        *("9.12.0/certificate.yaml", "/security/certificates"),
        *("uuid", "expiry_time", "name", "scope", "svm.name", "type"),
        has=("uuid", "expiry_time", "name", "scope", "svm.name", "type"),
    ),
    _template(
        *("9.12.0/security_login.yaml", "/security/login/messages", "uuid", "svm.name", "scope", "banner"),
        has=("uuid", "svm.name", "scope", "banner"),
    ),
    Request(
        *(HARVEST, "cmd/collectors/commonutils.go", "time of the cluster", "GET"),
        "/private/cli/cluster/date?fields=date&max_records=1&return_records=true",
        has=("date",),
    ),
    Request(
        *(HARVEST, "cmd/collectors/ems/ems.go", "kinds of events", "GET"),
        _href("/support/ems/messages", "name"),
        has=("name",),
    ),
    Request(
        *(HARVEST, "cmd/collectors/ems/ems.go", "events", "GET"),
        _href(
            *("/support/ems/events", "*"),
            filters=(
                "time=>=$unix_time",
                _SEVERITIES,
                "message.name=$event,mgmtgwd.certificate.expiring",
                "order_by=index%20asc",
            ),
        ),
        has=(
            *("message.name", "message.severity", "node.name", "node.uuid", "index", "time"),
            *("parameters.name", "parameters.value"),
        ),
    ),
    Request(
        *(HARVEST, "cmd/collectors/rest/plugins/health/health.go", "events of a day", "GET"),
        _href(
            "/support/ems/events",
            "node,message,source",
            filters=("time=>=$unix_time", "message.severity=emergency|alert"),
        ),
        has=("node.name", "message.name", "message.severity", "source"),
    ),
    Request(
        *(HARVEST, "cmd/collectors/rest/plugins/auditlog/auditlog.go", "changes", "GET"),
        _href(
            *("/security/audit/messages", "application", "location", "user", "timestamp", "state"),
            filters=("timestamp=>=$unix_time", "state=success", "input=*POST%20/api/svm/svms*|*volume%20create*"),
            pages=False,
        ),
        has=("application", "location", "user", "timestamp", "state"),
    ),
)

# --- Terraform -------------------------------------------------------------------------------------------------------


def _terraform(
    file: str,
    what: str,
    method: str,
    path: str,
    query: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
    has: tuple[str, ...] = (),
    lacks: tuple[str, ...] = (),
) -> Request:
    """Return a request of the provider: writes wait for 60 s, and parameters are sorted and escaped."""
    parameters = dict(query or {}) | ({"return_timeout": "60"} if method != "GET" else {})
    asked = f"?{urlencode(sorted(parameters.items()), safe='$')}" if parameters else ""
    return Request(TERRAFORM, f"internal/{file}", what, method, f"{path}{asked}", body, has, lacks)


_CLUSTER, _SVM, _CERTIFICATE = (f"interfaces/{file}.go" for file in ("cluster", "svm", "security_certificate"))
_ACCOUNT, _MESSAGE, _ROLE = (
    f"interfaces/{file}.go" for file in ("security_account", "security_login_message", "security_role")
)
_CERTIFICATE_RESOURCE = "provider/security/security_certificate_resource.go"
_RECORDS = {"return_records": "true"}
_SVM_FIELDS = {"fields": "name,ipspace,snapshot_policy,subtype,comment,language,max_volumes,aggregates"}
_SVM_HAS = (
    *("name", "uuid", "ipspace.name", "snapshot_policy.name", "subtype", "comment", "language", "max_volumes"),
    "aggregates",
)
_CERTIFICATE_FIELDS = {
    "fields": "uuid,common_name,svm.name,scope,type,serial_number,ca,hash_function,key_size,expiry_time,name"
}
_CERTIFICATE_HAS = tuple(_CERTIFICATE_FIELDS["fields"].split(","))
_ACCOUNT_FIELDS = {"fields": "name,owner,locked,comment,role,scope,applications"}
_ACCOUNT_HAS = (
    *("name", "owner.name", "owner.uuid", "locked", "comment", "role.name", "scope", "applications.application"),
    *("applications.second_authentication_method", "applications.authentication_methods"),
)
_APPLICATIONS = [{"application": "http", "authentication_methods": ["password"]}]
_MESSAGE_FIELDS = {"fields": "show_cluster_message,svm.name,uuid,scope,banner,message"}
_ROLE_FIELDS = {"fields": "name,scope,owner,privileges,builtin"}
_ROLE_HAS = ("name", "owner.name", "owner.uuid", "scope", "builtin", "privileges.path", "privileges.access")
_PRIVILEGES = "/security/roles/$svm_uuid/$role/privileges"

_OF_TERRAFORM = (
    _terraform(
        *(_CLUSTER, "read", "GET", "/cluster"),
        has=("name", "uuid", *_VERSION),
        lacks=("dns_domains", "name_servers", "ntp_servers", "timezone", "certificate"),
    ),
    _terraform(
        *(_CLUSTER, "nodes", "GET", "/cluster/nodes", {"fields": "management_interfaces,name"}),
        has=("name",),
        lacks=("management_interfaces",),
    ),
    _terraform("interfaces/cluster_job.go", "wait", "GET", "/cluster/jobs/$job", has=("state",)),
    _terraform(_SVM, "read", "GET", "/svm/svms/$svm_uuid", has=_SVM_HAS),
    _terraform(_SVM, "find", "GET", "/svm/svms", {"name": "$svm"}, has=("name", "uuid")),
    _terraform(_SVM, "data source", "GET", "/svm/svms", _SVM_FIELDS | {"name": "$svm"}, has=_SVM_HAS),
    _terraform(_SVM, "data sources", "GET", "/svm/svms", _SVM_FIELDS, has=_SVM_HAS),
    _terraform(
        *(_SVM, "create with a name", "POST", "/svm/svms", _RECORDS, {"name": "$new", "ipspace": {}}),
        has=("name", "uuid"),
    ),
    _terraform(
        *(_SVM, "create with everything", "POST", "/svm/svms", _RECORDS),
        {
            "name": "$new",
            "ipspace": {"name": "Default"},
            "snapshot_policy": {"name": "default"},
            "subtype": "default",
            "comment": "of the payroll",
            "language": "c.utf_8",
            "max_volumes": "unlimited",
            "aggregates": [{"name": "aggr1"}],
        },
        has=("name", "uuid"),
    ),
    _terraform(
        *(_SVM, "update", "PATCH", "/svm/svms/$svm_uuid", _RECORDS),
        {"name": "$new", "ipspace": {}, "comment": "of the payroll", "aggregates": []},
    ),
    _terraform(_SVM, "delete", "DELETE", "/svm/svms/$empty_uuid"),
    _terraform(
        *(_CERTIFICATE, "find by name", "GET", "/security/certificates"),
        _CERTIFICATE_FIELDS | {"name": "$certificate"},
        has=_CERTIFICATE_HAS,
    ),
    _terraform(
        *(_CERTIFICATE, "find by common name", "GET", "/security/certificates"),
        _CERTIFICATE_FIELDS | {"common_name": "$certificate", "type": "root_ca"},
        has=_CERTIFICATE_HAS,
    ),
    _terraform(
        *(_CERTIFICATE, "read", "GET", "/security/certificates/$certificate_uuid", _CERTIFICATE_FIELDS),
        has=_CERTIFICATE_HAS,
    ),
    _terraform(
        *(_CERTIFICATE, "data sources of an SVM", "GET", "/security/certificates"),
        _CERTIFICATE_FIELDS | {"svm.name": "$svm", "scope": "svm"},
        has=_CERTIFICATE_HAS,
    ),
    _terraform(
        *(_CERTIFICATE, "data sources of the cluster", "GET", "/security/certificates"),
        _CERTIFICATE_FIELDS | {"scope": "cluster"},
        has=("uuid", "name", "scope"),
    ),
    _terraform(
        *(_CERTIFICATE_RESOURCE, "create", "POST", "/security/certificates", _RECORDS),
        {
            "name": "$new",
            "common_name": "$new",
            "type": "root_ca",
            "svm": {"name": "$svm"},
            "hash_function": "sha256",
            "key_size": 2048,
            "expiry_time": "P365DT",
        },
        has=("uuid",),
    ),
    _terraform(
        *(_CERTIFICATE_RESOURCE, "install", "POST", "/security/certificates", _RECORDS),
        {"name": "$new", "common_name": "$common_name", "type": "server_ca", "public_certificate": "$public"},
        has=("uuid",),
    ),
    _terraform(
        *(_CERTIFICATE_RESOURCE, "sign", "POST", "/security/certificates/$certificate_uuid/sign", _RECORDS),
        {"signing_request": "$signing_request", "hash_function": "sha256", "expiry_time": "P180DT"},
        has=("public_certificate",),
    ),
    _terraform(_CERTIFICATE_RESOURCE, "delete", "DELETE", "/security/certificates/$certificate_uuid"),
    _terraform(
        *(_ACCOUNT, "read", "GET", "/security/accounts/$svm_uuid/$account", _ACCOUNT_FIELDS | {"name": "$account"}),
        has=_ACCOUNT_HAS,
    ),
    _terraform(
        *(_ACCOUNT, "find", "GET", "/security/accounts", _ACCOUNT_FIELDS | {"name": "$account"}), has=_ACCOUNT_HAS
    ),
    _terraform(
        *(_ACCOUNT, "data sources", "GET", "/security/accounts", _ACCOUNT_FIELDS | {"owner.name": "$svm"}),
        has=_ACCOUNT_HAS,
    ),
    _terraform(
        *(_ACCOUNT, "create", "POST", "/security/accounts", _RECORDS),
        {
            "name": "$new",
            "applications": _APPLICATIONS,
            "owner": {"name": "$svm"},
            "role": {"name": "vsadmin"},
            "password": "a-horse-of-7",
            "comment": "of the payroll",
            "locked": True,
        },
        has=("name", "owner.uuid"),
    ),
    _terraform(
        *(_ACCOUNT, "update", "PATCH", "/security/accounts/$svm_uuid/$account", _RECORDS),
        {
            "applications": [_APPLICATIONS[0] | {"second_authentication_method": "none"}],
            "role": {"name": "vsadmin-readonly"},
            "password": "another-horse-8",
            "comment": "of the payroll",
            "locked": True,
        },
    ),
    _terraform(_ACCOUNT, "delete", "DELETE", "/security/accounts/$svm_uuid/$account"),
    _terraform(
        *(_MESSAGE, "read that of the cluster", "GET", "/security/login/messages"),
        _MESSAGE_FIELDS | {"scope": "cluster"},
        has=("uuid", "scope", "show_cluster_message", "banner", "message"),
    ),
    _terraform(
        *(_MESSAGE, "read that of an SVM", "GET", "/security/login/messages"),
        _MESSAGE_FIELDS | {"svm.name": "$svm", "scope": "svm"},
        has=("uuid", "scope", "svm.name", "show_cluster_message", "banner", "message"),
    ),
    _terraform(
        *(_MESSAGE, "data sources", "GET", "/security/login/messages", _MESSAGE_FIELDS | {"banner": "hello"}),
        has=("uuid", "banner"),
    ),
    _terraform(
        *(_MESSAGE, "update that of the cluster", "PATCH", "/security/login/messages/$cluster_uuid", _RECORDS),
        {"banner": "hello", "message": "of the day", "show_cluster_message": True},
    ),
    _terraform(
        *(_MESSAGE, "update that of an SVM", "PATCH", "/security/login/messages/$svm_uuid", _RECORDS),
        {"banner": "", "message": "of the day", "show_cluster_message": False},
    ),
    _terraform(
        *(_ROLE, "read", "GET", "/security/roles/$svm_uuid/$role", _ROLE_FIELDS | {"name": "$role"}), has=_ROLE_HAS
    ),
    _terraform(
        *(_ROLE, "data sources", "GET", "/security/roles"),
        _ROLE_FIELDS | {"name": "$role", "owner.name": "$svm", "scope": "svm"},
        has=_ROLE_HAS,
    ),
    _terraform(
        *(_ROLE, "create", "POST", "/security/roles", _RECORDS),
        {
            "name": "$new",
            "owner": {"name": "$svm"},
            "privileges": [{"access": "readonly", "path": "/api/security/key-managers"}],
        },
        has=("name",),
    ),
    _terraform(
        *(_ROLE, "add a privilege", "POST", _PRIVILEGES),
        body={"access": "readonly", "path": "/api/security/key-managers"},
    ),
    _terraform(
        *(_ROLE, "change a privilege", "PATCH", f"{_PRIVILEGES}/api/security/certificates"), body={"access": "readonly"}
    ),
    _terraform(_ROLE, "remove a privilege", "DELETE", f"{_PRIVILEGES}/api/security/key-stores"),
    _terraform(_ROLE, "delete", "DELETE", "/security/roles/$svm_uuid/$role"),
)

REQUESTS: Final = (*_OF_HARVEST, *_OF_TERRAFORM)
