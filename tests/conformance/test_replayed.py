"""The requests of NetApp Harvest and of the Terraform provider, replayed over HTTPS against a real service."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from string import Template
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.conformance import clients_page
from tests.conformance.clients_page import Example
from tests.conformance.replayed import COMMITS, HARVEST, REQUESTS, Request
from tests.conformance.test_ansible_modules import signing_request

if TYPE_CHECKING:
    from tests.peers.asgi import Response
    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Client, Service

SENT = {
    "Harvest": {"Accept": "application/json"},
    "Terraform": {"Content-Type": "application/json", "X-Dot-Client-App": "terraform"},
}


@dataclass(frozen=True)
class Things:
    """The objects of a row's request: an SVM with a certificate, an account and a role; ``new`` is a name for another.

    ``empty_uuid`` is that of an SVM without anything. ``event`` is the kind of an event that has happened, and
    ``unix_time`` the time three minutes ago, when Harvest last asked.
    """

    new: str
    svm: str
    svm_uuid: str
    empty_uuid: str
    cluster_uuid: str
    certificate: str
    certificate_uuid: str
    account: str
    role: str
    job: str
    event: str
    unix_time: str
    common_name: str
    public: str
    signing_request: str


@pytest.fixture
def things(service: Service, pki: Pki) -> Things:
    """New things, made by the API."""
    part = uuid4().hex[:8]
    with service.client() as call:
        return make_things(call, pki, part)


def make_things(call: Client, pki: Pki, part: str) -> Things:
    """Make what :class:`Things` names, with ``part`` in each name."""
    owner, root_name, account_name, role_name = {"name": f"svm-{part}"}, f"root-{part}", f"joe-{part}", f"role-{part}"
    svm, empty = (call.create("/svm/svms", {"name": name}) for name in (owner["name"], f"empty-{part}"))
    root = {"type": "root_ca", "name": root_name, "common_name": root_name, "svm": owner}
    certificate = call.create("/security/certificates", root)
    call.create("/security/certificates", {"type": "root_ca", "name": f"cluster-{part}", "common_name": "Root"})
    applications = [{"application": "http", "authentication_methods": ["password"]}]
    account = {"name": account_name, "owner": owner, "applications": applications, "password": "a-horse-of-9"}
    call.create("/security/accounts", account | {"role": {"name": "key-reader"}})
    paths = ("/api/security/certificates", "/api/security/key-stores")
    privileges = [{"path": path, "access": "all"} for path in paths]
    call.create("/security/roles", {"name": role_name, "owner": owner, "privileges": privileges})
    cluster = call.get("/cluster")["uuid"]
    for uuid in (svm["uuid"], cluster):
        changed = call("PATCH", f"/security/login/messages/{uuid}", {"banner": "hello", "message": part})
        assert changed.status == 200, changed.content
    started = call("PATCH", "/svm/svms", {"records": [{"uuid": empty["uuid"], "comment": part}]})
    assert started.status == 202, started.content
    return Things(
        new=f"new-{part}",
        svm=svm["name"],
        svm_uuid=svm["uuid"],
        empty_uuid=empty["uuid"],
        cluster_uuid=cluster,
        certificate=root_name,
        certificate_uuid=certificate["uuid"],
        account=account_name,
        role=role_name,
        job=started.body["job"]["uuid"],
        event="km.keyreader.granted",
        unix_time=str(int(time.time()) - 180),
        common_name="Key Server CA",
        public=pki.server_ca.pem,
        signing_request=signing_request("ks.example.com"),
    )


def filled(value: Any, things: Things) -> Any:
    """Return a path or a body with the things' names in it."""
    if isinstance(value, dict):
        return {name: filled(item, things) for name, item in value.items()}
    if isinstance(value, list):
        return [filled(item, things) for item in value]
    return Template(value).substitute(asdict(things)) if isinstance(value, str) else value


@pytest.fixture(scope="module", autouse=True)
def destinations(service: Service) -> None:
    """A destination of audit records, and one of events."""
    with service.client() as call:
        call.create("/security/audit/destinations", {"address": "127.0.0.1"})
        of_events = {"name": "siem", "type": "syslog", "destination": "127.0.0.1", "filters": []}
        call.create("/support/ems/destinations", of_events)


@pytest.mark.parametrize("row", REQUESTS, ids=lambda row: f"{row.client}-{row.file.rpartition('/')[2]}-{row.what}")
def test_request(service: Service, things: Things, row: Request) -> None:
    """The client gets what it needs."""
    with service.client() as call:
        answer = call(row.method, filled(row.path, things), filled(row.body, things), headers=SENT[row.client])
    assert answer.status in ({200, 201} if row.method == "POST" else {200}), answer.content
    records = records_of(row, answer)
    missing = [field for field in row.has if not any(holds(record, field) for record in records)]
    unexpected = [field for field in row.lacks if any(holds(record, field) for record in records)]
    assert (missing, unexpected) == ([], []), records


def test_the_page() -> None:
    """The page lists all requests; each has its commit."""
    keys = [(row.file, row.what) for row in REQUESTS]
    assert len(set(keys)) == len(keys)
    assert {file for file, _ in keys} <= COMMITS.keys()
    examples = [Example(f"{row.client}: {row.file.rpartition('/')[2]}", row.what) for row in REQUESTS]
    clients_page.check("replayed", examples)


def records_of(row: Request, answer: Response) -> list[dict[str, Any]]:
    """Return the records that the client makes of an answer: without ``records`` the whole answer is one.

    Harvest and the provider follow the same rule. The provider also takes ``job`` and ``error`` for its own.
    """
    body = answer.body
    assert isinstance(body, dict)
    assert body.keys().isdisjoint({"error", "job", "jobs"})
    records: list[dict[str, Any]] = body.get("records", [body])
    assert all(isinstance(record, dict) for record in records)
    if row.client != HARVEST and "records" in body:
        assert body["num_records"] == len(records)
    return records


def holds(value: Any, field: str) -> bool:
    """Return True if a dotted field is there, in one element at least of each array on the way."""
    if isinstance(value, list):
        return any(holds(item, field) for item in value)
    name, _, rest = field.partition(".")
    if not isinstance(value, dict) or name not in value:
        return False
    return not rest or holds(value[name], rest)
