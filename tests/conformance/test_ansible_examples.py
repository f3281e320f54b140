"""The examples of Ansible's modules, run as printed: in check mode, for real, and again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance import clients_page
from tests.conformance.ansible_examples import FAILURES, MODULES, SERVERS, Task, tasks_of, with_servers
from tests.conformance.clients_page import Example
from tests.conformance.playbooks import Playbooks
from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.conformance.playbooks import Outcome
    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Installation, Service

pytestmark = pytest.mark.long

SVMS = ("ansibleSVM", "ansibleVServer", "svm1", "svm2", "trident_svm")
"""The SVMs that the examples name, and two for their variable ``vserver``."""

OWN_VARIABLES: dict[tuple[str, str], dict[str, str]] = {
    ("na_ontap_security_certificates", "create certificate"): {"ontap_cert_name": "root"},
    ("na_ontap_security_certificates", "sign certificate using newly create certificate"): {"ontap_cert_name": "root"},
    ("na_ontap_security_certificates", "delete certificate"): {"ontap_cert_name": "root"},
    ("na_ontap_security_certificates", "delete certificate (2)"): {"ontap_cert_name": "root"},
}
"""Variables of single tasks."""

BEFORE: dict[tuple[str, str], tuple[str, str, Any]] = {
    ("na_ontap_ems_destination", "Remove email EMS destination"): (
        "POST",
        "/support/ems/destinations",
        {"name": "email_destination", "type": "syslog", "destination": "127.0.0.1", "filters": []},
    ),
    ("na_ontap_security_certificates", "delete certificate (2)"): (
        "POST",
        "/security/certificates",
        {"type": "root_ca", "common_name": "Root", "name": "root", "svm": {"name": "svm2"}},
    ),
    ("na_ontap_security_key_manager", "Delete Key Manager"): (
        "POST",
        "/security/key-managers",
        {
            "external": {
                "client_certificate": {"name": "kmip_client"},
                "server_ca_certificates": [{"name": "kmip_ca"}],
                "servers": [{"server": SERVERS[0]}],
            }
        },
    ),
    ("na_ontap_security_key_manager", "Add onboard Key Manager"): (
        "DELETE",
        "/security/key-managers?scope=cluster&return_timeout=15",
        None,
    ),
    ("na_ontap_user", "Delete User"): (
        "POST",
        "/security/accounts",
        {
            "name": "SampleUser",
            "owner": {"name": "ansibleVServer"},
            "applications": [{"application": "http", "authentication_methods": ["password"]}],
            "password": "apn1242183u1298u41",
        },
    ),
}
"""Calls before tasks that need something that no task before them leaves."""

ONCE, NOTHING = [1, 1, 0], [0, 0, 0]
"""How many tasks changed something in check mode, for real and again: of a task that changes, and of one that reads."""


@pytest.fixture
def service(installation: Installation, pki: Pki) -> Iterator[Service]:
    """A service of the test's own, with what the examples name: their names are always the same."""
    with installation.serving() as running, running.client() as call:
        for name in SVMS:
            call.create("/svm/svms", {"name": name})
        for body in (
            {"type": "client", "public_certificate": pki.client.certificate_pem, "private_key": pki.client.key_pem},
            {"type": "server_ca", "public_certificate": pki.server_ca.pem},
        ):
            name = "kmip_client" if body["type"] == "client" else "kmip_ca"
            call.create("/security/certificates", body | {"name": name})
        yield running


@pytest.mark.parametrize("module", MODULES)
def test_examples(service: Service, tmp_path: Path, pki: Pki, sound_ports: list[int], module: str) -> None:
    """Each task passes, or fails as the table says, in the order of the module's documentation."""
    plays = Playbooks(service, tmp_path)
    servers = [f"127.0.0.1:{port}" for port in sound_ports[: len(SERVERS)]]
    surprises = {}
    for task in tasks_of(module, servers):
        prepare(service, task, servers)
        file = tmp_path / "example.yml"
        file.write_text(task.text)
        fault = fault_of(task, plays.converge(str(file.with_suffix("")), **variables(task, pki)))
        known = FAILURES.get(task.key)
        if known.says not in fault if known else fault:
            surprises[task.name] = fault or "passed"
    assert not surprises


def test_the_page() -> None:
    """The page lists all examples, and the table of failures has no others."""
    tasks = [task for module in MODULES for task in tasks_of(module, SERVERS)]
    assert {task.key for task in tasks} > FAILURES.keys() | OWN_VARIABLES.keys() | BEFORE.keys()
    why = {key: failure.why for key, failure in FAILURES.items()}
    clients_page.check("ansible", [Example(*task.key, why.get(task.key, "")) for task in tasks])


def prepare(service: Service, task: Task, servers: Sequence[str]) -> None:
    """Make the call that stands before a task."""
    if task.key in BEFORE:
        method, path, body = BEFORE[task.key]
        with service.client() as call:
            answer = call(method, path, json.loads(with_servers(json.dumps(body), servers)))
        assert answer.status in {200, 201}, answer.content


def variables(task: Task, pki: Pki) -> dict[str, Any]:
    """Return the values of the variables that the examples leave to their reader.

    Those of the key manager's module leave out an undefined ``vserver``: they are for the cluster.
    """
    given: dict[str, Any] = {
        "netapp_hostname": "127.0.0.1",
        "netapp_username": "admin",
        "netapp_password": PASSWORD,
        "ssl_certificate": pki.client_ca.pem,
        "ontap_cert_name": "installed",
        "ontap_cert_common_name": "Client CA",
        "ontap_cert_root_common_name": "Root",
        "ontap_info": {"ontap_info": {"ontap_version": 0}},
    }
    if task.module != "na_ontap_security_key_manager":
        given["vserver"] = "svm2" if task.name.endswith("(2)") else "svm1"
    return given | OWN_VARIABLES.get(task.key, {})


def fault_of(task: Task, outcomes: Sequence[Outcome]) -> str:
    """Return what is wrong with the three runs of a task, or an empty text."""
    failures = [message for outcome in outcomes for message in outcome.failures]
    if failures:
        return failures[0]
    reads = task.module == "na_ontap_rest_info"
    changes = [outcome.changed for outcome in outcomes]
    if changes != (NOTHING if reads else ONCE):
        return f"changes: {changes}"
    gathered = outcomes[-1].results[0]["ontap_info"] if reads else {}
    return "; ".join(f"{subset}: {found}" for subset, found in gathered.items() if isinstance(found, str))
