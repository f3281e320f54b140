"""Examples of the main calls, as one story: an SVM gets certificates, a key manager, servers and an administrator.

The API's description shows them. A test makes these calls in this order on a service with real key servers and compares
the answers. Only addresses, identifiers, certificates and durations differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

PEM: Final = "-----BEGIN {0}-----\n...\n-----END {0}-----\n"
CERTIFICATE: Final = PEM.format("CERTIFICATE")
PRIVATE_KEY: Final = PEM.format("PRIVATE KEY")

SVM: Final = "1a6e8c1e-0c5b-4f0e-9d39-6f3d1f0a4b11"
CLIENT: Final = "2b7f9d2f-1d6c-4a1f-8e4a-7a4e2a1b5c22"
SERVER_CA: Final = "3c80ae30-2e7d-4b20-9f5b-8b5f3b2c6d33"
KEY_MANAGER: Final = "4d91bf41-3f8e-4c31-8a6c-9c604c3d7e44"
JOB: Final = "5ea2c052-409f-4d42-9b7d-ad715d4e8f55"

_SVMS = "/api/svm/svms"
_CERTIFICATES = "/api/security/certificates"
_KEY_MANAGERS = "/api/security/key-managers"
_KEY_SERVERS = "/api/security/key-managers/{uuid}/key-servers"
_KEY_SERVER = "/api/security/key-managers/{uuid}/key-servers/{server}"
_OF_KEY_MANAGER = {"uuid": KEY_MANAGER}


@dataclass(frozen=True, kw_only=True)
class Example:
    """A call and its answer. ``path`` is the path of the operation; ``values`` are the values in it."""

    name: str
    title: str
    method: str
    path: str
    values: dict[str, str]
    query: str = ""
    body: Any = None
    status: int = 200
    answer: Any
    location: str = ""

    @property
    def url(self) -> str:
        """The path with its values, and the query."""
        path = self.path.format(**{name: quote(value, safe="") for name, value in self.values.items()})
        return f"{path}?{self.query}" if self.query else path


def _self(path: str) -> dict[str, Any]:
    return {"_links": {"self": {"href": path}}}


def _server(number: int) -> str:
    return f"ks{number}.example.com:5696"


def _server_link(number: int) -> dict[str, Any]:
    return _self(f"{_KEY_MANAGERS}/{KEY_MANAGER}/key-servers/{quote(_server(number), safe='')}")


def _created(*records: dict[str, Any]) -> dict[str, Any]:
    return {"num_records": len(records), "records": list(records)}


def _of_vs0(certificate: str) -> dict[str, Any]:
    return {"svm": {"name": "vs0", **_self(f"{_SVMS}/{SVM}")}, **_self(f"{_CERTIFICATES}/{certificate}")}


def _shown(number: int, timeout: int = 25) -> dict[str, Any]:
    return {"server": _server(number), "timeout": timeout, **_server_link(number)}


EXAMPLES: Final = (
    Example(
        name="svm",
        title="Create an SVM and show it",
        method="POST",
        path=_SVMS,
        values={},
        query="return_records=true",
        body={"name": "vs0"},
        status=201,
        answer=_created({"uuid": SVM, "name": "vs0", **_self(f"{_SVMS}/{SVM}")}),
        location=f"{_SVMS}/{SVM}",
    ),
    Example(
        name="client_certificate",
        title="Install the client certificate for key servers, with its key",
        method="POST",
        path=_CERTIFICATES,
        values={},
        body={
            "name": "vs0-client",
            "type": "client",
            "svm": {"name": "vs0"},
            "public_certificate": CERTIFICATE,
            "private_key": PRIVATE_KEY,
        },
        status=201,
        answer={},
        location=f"{_CERTIFICATES}/{CLIENT}",
    ),
    Example(
        name="server_ca",
        title="Install the CA certificate of the key servers",
        method="POST",
        path=_CERTIFICATES,
        values={},
        body={
            "name": "vs0-server-ca",
            "type": "server_ca",
            "svm": {"name": "vs0"},
            "public_certificate": CERTIFICATE,
        },
        status=201,
        answer={},
        location=f"{_CERTIFICATES}/{SERVER_CA}",
    ),
    Example(
        name="by_type",
        title="Find certificates by their type, in the order of their names",
        method="GET",
        path=_CERTIFICATES,
        values={},
        query="type=client|server_ca&svm.name=vs0&order_by=name%20desc&fields=name,type",
        answer={
            "records": [
                {"uuid": SERVER_CA, "name": "vs0-server-ca", "type": "server_ca", **_of_vs0(SERVER_CA)},
                {"uuid": CLIENT, "name": "vs0-client", "type": "client", **_of_vs0(CLIENT)},
            ],
            "num_records": 2,
            **_self(f"{_CERTIFICATES}?type=client|server_ca&svm.name=vs0&order_by=name%20desc&fields=name,type"),
        },
    ),
    Example(
        name="external",
        title="Give an SVM an external key manager with one key server",
        method="POST",
        path=_KEY_MANAGERS,
        values={},
        body={
            "svm": {"name": "vs0"},
            "external": {
                "client_certificate": {"uuid": CLIENT},
                "server_ca_certificates": [{"uuid": SERVER_CA}],
                "servers": [{"server": _server(1)}],
            },
        },
        status=201,
        answer={},
        location=f"{_KEY_MANAGERS}/{KEY_MANAGER}",
    ),
    Example(
        name="add",
        title="Add a primary key server",
        method="POST",
        path=_KEY_SERVERS,
        values=_OF_KEY_MANAGER,
        body={"server": _server(2), "timeout": 30},
        status=201,
        answer={},
        location=f"{_KEY_MANAGERS}/{KEY_MANAGER}/key-servers/{quote(_server(2), safe='')}",
    ),
    Example(
        name="add_again",
        title="Add a server that exists already",
        method="POST",
        path=_KEY_SERVERS,
        values=_OF_KEY_MANAGER,
        body={"server": _server(2)},
        status=400,
        answer={
            "error": {
                "message": "Key management servers already configured.",
                "code": "65536870",
                "target": "server",
                "arguments": [{"code": "server", "message": _server(2)}],
            }
        },
    ),
    Example(
        name="add_records",
        title="Add several key servers at once, all or none",
        method="POST",
        path=_KEY_SERVERS,
        values=_OF_KEY_MANAGER,
        query="return_records=true",
        body={"records": [{"server": _server(3)}, {"server": _server(4)}]},
        status=201,
        answer=_created(*({"server": _server(number), **_server_link(number)} for number in (3, 4))),
        location=f"{_KEY_MANAGERS}/{KEY_MANAGER}/key-servers/{quote(_server(3), safe='')}",
    ),
    Example(
        name="list",
        title="List the key servers with their time-outs",
        method="GET",
        path=_KEY_SERVERS,
        values=_OF_KEY_MANAGER,
        query="fields=timeout&max_records=10",
        answer={
            "records": [_shown(1), _shown(2, 30), _shown(3), _shown(4)],
            "num_records": 4,
            **_self(f"{_KEY_MANAGERS}/{KEY_MANAGER}/key-servers?fields=timeout&max_records=10"),
        },
    ),
    Example(
        name="timeout",
        title="Wait longer for a key server",
        method="PATCH",
        path=_KEY_SERVER,
        values={**_OF_KEY_MANAGER, "server": _server(3)},
        body={"timeout": 60},
        answer={},
    ),
    Example(
        name="availability",
        title="Ask which nodes reach a key server",
        method="GET",
        path=_KEY_SERVER,
        values={**_OF_KEY_MANAGER, "server": _server(1)},
        query="fields=connectivity.cluster_availability",
        answer={"server": _server(1), "connectivity": {"cluster_availability": True}, **_server_link(1)},
    ),
    Example(
        name="remove",
        title="Remove a key server",
        method="DELETE",
        path=_KEY_SERVER,
        values={**_OF_KEY_MANAGER, "server": _server(4)},
        answer={},
    ),
    Example(
        name="by_timeout",
        title="Remove the key servers with a time-out above 30 seconds",
        method="DELETE",
        path=_KEY_SERVERS,
        values=_OF_KEY_MANAGER,
        query="timeout=>30",
        answer={"num_records": 1, **_self(f"{_KEY_MANAGERS}/{KEY_MANAGER}/key-servers?timeout=>30")},
    ),
    Example(
        name="show",
        title="Show a key manager's servers",
        method="GET",
        path=f"{_KEY_MANAGERS}/{{uuid}}",
        values=_OF_KEY_MANAGER,
        query="fields=scope,external.servers.server",
        answer={
            "uuid": KEY_MANAGER,
            "scope": "svm",
            "external": {"servers": [{"server": _server(number), **_server_link(number)} for number in (1, 2)]},
            "configuration": {
                "name": "default",
                "uuid": KEY_MANAGER,
                **_self(f"/api/security/key-stores/{KEY_MANAGER}"),
            },
            "enabled": True,
            **_self(f"{_KEY_MANAGERS}/{KEY_MANAGER}"),
        },
    ),
    Example(
        name="vsadmin",
        title="Give an SVM an administrator",
        method="POST",
        path="/api/security/accounts",
        values={},
        body={
            "name": "vs0-admin",
            "owner": {"name": "vs0"},
            "role": {"name": "vsadmin"},
            "applications": [{"application": "http", "authentication_methods": ["password"]}],
            "password": "see-README-1st",
        },
        status=201,
        answer={},
        location=f"/api/security/accounts/{SVM}/vs0-admin",
    ),
    Example(
        name="rename",
        title="Rename SVMs by records, as a job",
        method="PATCH",
        path=_SVMS,
        values={},
        body={"records": [{"uuid": SVM, "name": "vs1"}]},
        status=202,
        answer={
            "job": {
                "uuid": JOB,
                "_links": {
                    "self": {"href": f"/api/cluster/jobs/{JOB}"},
                    "results": {"href": f"{_SVMS}?job_results_uuid={JOB}"},
                },
            }
        },
        location=f"{_SVMS}?job_results_uuid={JOB}",
    ),
    Example(
        name="csr",
        title="Create a key and a certificate signing request",
        method="POST",
        path="/api/security/certificate-signing-request",
        values={},
        body={"subject_name": "C=US,O=Example,CN=vs0.example.com", "security_strength": 128},
        answer={
            "algorithm": "rsa",
            "hash_function": "sha256",
            "security_strength": 128,
            "subject_name": "C=US,O=Example,CN=vs0.example.com",
            "csr": PEM.format("CERTIFICATE REQUEST"),
            "generated_private_key": PRIVATE_KEY,
        },
    ),
    Example(
        name="whoami",
        title="Show the caller",
        method="GET",
        path="/api/security/login/whoami",
        values={},
        query="fields=username,roles",
        answer={"username": "admin", "roles": ["admin"], **_self("/api/security/login/whoami")},
    ),
)
