"""What modules of the Ansible collection ``netapp.ontap`` 23.2 send, in their order, and what they conclude.

A replay over HTTPS, a connection per request as Ansible opens them: the requests were read from its source
and seen on the wire. It covers ``na_ontap_security_certificates``, ``na_ontap_security_key_manager`` (present) and
``na_ontap_rest_info``; a change that needs a method which is not served yet is an error here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.peers.asgi import Response
    from tests.peers.keystead import Service

FIELDS_OF_A_CERTIFICATE = "uuid,name,common_name,type"
FIELDS_OF_A_KEY_MANAGER = "status,external,uuid,onboard"


class ModuleError(Exception):
    """The module ends with ``fail_json``."""


@dataclass(frozen=True)
class Module:
    """One module's way to the service."""

    service: Service
    name: str

    def ask(
        self, method: str, path: str, body: Any = None, *, accept: str | None = None, **query: str | int
    ) -> Response:
        """Send a request as the collection does: its header, a connection of its own, DELETE with an empty body."""
        target = f"/{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"X-Dot-Client-App": f"netapp.ontap.{self.name}/23.2.0", "Connection": "close"}
        if accept:
            headers["Accept"] = accept
        if body is not None:
            headers["Content-Type"] = "application/json"
        with self.service.client() as client:
            return client(method, target, b"" if method == "DELETE" else body, headers=headers)

    def answer(self, method: str, path: str, body: Any = None, **query: Any) -> dict[str, Any]:
        """As :meth:`ask`; an answer with ``error`` fails the module."""
        answer: dict[str, Any] = self.ask(method, path, body, **query).body
        if "error" in answer:
            raise ModuleError(f"{int(answer['error']['code'])}: {answer['error'].get('message', '')}")
        return answer

    def one(self, path: str, **query: str | int) -> dict[str, Any] | None:
        """Return the one record of a collection, or none."""
        answer = self.answer("GET", path, **query)
        if "records" not in answer:
            raise ModuleError(f"no response {answer}")
        if answer.get("num_records", len(answer["records"])) > 1:
            raise ModuleError("more than one record")
        return answer["records"][0] if answer["records"] else None

    def version(self) -> tuple[int, int, int]:
        """The first call of every module."""
        version = self.answer("GET", "cluster", fields="version")["version"]
        assert version["full"]
        return version["generation"], version["major"], version["minor"]


def security_certificate(service: Service, svm: str | None = None, **certificate: str) -> bool:
    """``na_ontap_security_certificates`` with state present; return ``changed``."""
    module = Module(service, "na_ontap_security_certificates")
    assert module.version() >= (9, 6, 0)
    owner: dict[str, Any] = {"scope": "cluster"}
    if svm:
        found = module.one("svm/svms", name=svm, fields="uuid")
        assert found is not None
        owner = {"svm.name": svm}
    if module.one("security/certificates", fields="uuid", name=certificate["name"], **owner):
        return False
    body = certificate | ({"svm": {"name": svm}} if svm else {})
    module.answer("POST", "security/certificates", body, return_records="true")
    return True


def delete_certificate(service: Service, name: str) -> bool:
    """``na_ontap_security_certificates`` with state absent; return ``changed``."""
    module = Module(service, "na_ontap_security_certificates")
    module.version()
    found = module.one("security/certificates", fields="uuid", name=name, scope="cluster")
    if found is None:
        return False
    module.answer("DELETE", f"security/certificates/{found['uuid']}")
    return True


def security_key_manager(
    service: Service, client: str, server_cas: Sequence[str], servers: Sequence[str], svm: str | None = None
) -> bool:
    """``na_ontap_security_key_manager`` with state present; return ``changed``."""
    module = Module(service, "na_ontap_security_key_manager")
    assert module.version() >= (9, 7, 0)
    assert module.version() >= (9, 8, 0)
    owner: dict[str, Any] = {"scope": "svm", "svm.name": svm} if svm else {"scope": "cluster"}
    current = module.one("security/key-managers", fields=FIELDS_OF_A_KEY_MANAGER, **owner)
    wanted_servers = [server if ":" in server else f"{server}:5696" for server in servers]
    external: dict[str, Any] = {
        "client_certificate": {"uuid": _certificate(module, client, "client", owner)},
        "server_ca_certificates": [{"uuid": _certificate(module, name, "server_ca", owner)} for name in server_cas],
    }
    if current is None:
        body: dict[str, Any] = {"external": external | {"servers": [{"server": each} for each in wanted_servers]}}
        if svm:
            body["svm"] = {"name": svm}
        module.answer("POST", "security/key-managers", body, return_timeout=30)
        return True
    if current.get("onboard", {}).get("enabled"):
        raise ModuleError("onboard key-manager is already installed, it needs to be deleted first")
    has = _without_links(current["external"])
    if has["client_certificate"]["uuid"] != external["client_certificate"]["uuid"]:
        raise ModuleError("would modify the client certificate")
    if has["server_ca_certificates"] != external["server_ca_certificates"]:
        raise ModuleError("would modify the CA certificates")
    has_servers = [server["server"] for server in has["servers"]]
    if [server for server in has_servers if server not in wanted_servers]:
        raise ModuleError("would remove servers")
    missing = [server for server in wanted_servers if server not in has_servers]
    for server in missing:
        module.answer(
            "POST", f"security/key-managers/{current['uuid']}/key-servers", {"server": server}, return_timeout=30
        )
    return wanted_servers != has_servers


def rest_info(service: Service, path: str, fields: str, max_records: int = 1024) -> list[dict[str, Any]]:
    """``na_ontap_rest_info``: all records, following ``next`` as the module does, with a double slash."""
    module = Module(service, "na_ontap_rest_info")
    module.version()
    answer = module.answer("GET", path, accept="application/hal+json", max_records=max_records, fields=fields)
    records: list[dict[str, Any]] = answer["records"]
    while "next" in answer.get("_links", {}):
        rest = answer["_links"]["next"]["href"].replace("/api", "")
        answer = module.answer("GET", rest, accept="application/hal+json")
        records += answer["records"]
    return records


def _certificate(module: Module, name: str, kind: str, owner: dict[str, Any]) -> str:
    """Look a certificate up by name, in the SVM first; then as older releases need it."""
    for query in ({"name": name}, {"common_name": name, "type": kind}):
        for scope in (owner, {"scope": "cluster"}):
            found = module.one("security/certificates", **query, **scope, fields=FIELDS_OF_A_CERTIFICATE)
            if found is not None:
                return str(found["uuid"])
    raise ModuleError(f"certificate {name} not found")


def _without_links(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_links(each) for name, each in value.items() if name != "_links"}
    return [_without_links(each) for each in value] if isinstance(value, list) else value
