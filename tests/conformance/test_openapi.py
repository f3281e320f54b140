"""The whole service as its OpenAPI document describes it: schemathesis makes the requests and judges the answers.

Half of the requests fit the document, half are wrong in one place; identifiers are often those that there are, and key
servers are real. Reads come first and deletions last, so that there is something to see.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from keystead.api.description.openapi import document
from keystead.core.keys.model import KeyType
from keystead.core.keys.names import key_id
from tests.peers.keystead import PASSWORD, create_key_manager, install_certificates

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from schemathesis import Case

    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Client, Installation, Service

Operation = APIOperation[Any, Any, Any, Any]
CHECKS = [
    *(not_a_server_error, status_code_conformance, content_type_conformance),
    *(response_headers_conformance, response_schema_conformance),
]
ORDER = ("get", "head", "options", "post", "patch", "delete")
VSADMIN = "vs-admin"
RETRIEVE = "/api/security/key-managers/{uuid}/volume-keys/{key_id}/retrieve"
"""Where no administrator may go."""
PASSWORDS = {"admin": PASSWORD, VSADMIN: "7 words for a test"}
EXAMPLES = {"admin": 8, VSADMIN: 4}  # of each operation
LONG = 15
REACHED = {"admin": 0.5, VSADMIN: 0.2}  # of the operations, by a request that succeeds


class World:
    """A service with something of everything, and the names of it."""

    def __init__(self, service: Service, pki: Pki, ports: Sequence[int]) -> None:
        self.service = service
        with service.client() as admin:
            certificates = install_certificates(admin, pki.client, pki.server_ca)
            key_servers = create_key_manager(admin, certificates, f"127.0.0.1:{ports[0]}")
            self.key_manager = key_servers.split("/")[3]
            svm = admin.get(f"/security/key-managers/{self.key_manager}?fields=svm.uuid,svm.name")["svm"]
            self.svm, self.svm_name = svm["uuid"], svm["name"]
            cluster = admin.create(
                "/security/key-managers", certificates.new_key_manager([{"server": f"127.0.0.1:{ports[1]}"}])
            )
            authority = {"type": "root_ca", "common_name": "an authority", "svm": {"uuid": self.svm}}
            root_ca = admin.create("/security/certificates", authority)["uuid"]
            own = admin.create("/security/certificates", {"type": "server_ca", "public_certificate": pki.server_ca.pem,
                                                          "svm": {"uuid": self.svm}})["uuid"]  # fmt: skip
            spare = admin.create("/svm/svms", {"name": "spare"})["uuid"]
            for name in (VSADMIN, "victim"):
                add_vsadmin(admin, name, self.svm)
            self.events = admin.get("/support/ems/events")["records"]
            node = admin.get("/cluster/nodes")["records"][0]
            manager = f"/security/key-managers/{self.key_manager}"
            assert admin("POST", f"{manager}/prove?return_timeout=15", {}).status == 201
            (report,) = admin.get(f"{manager}/key-reports")["records"]
        self.uuids = [
            self.key_manager,
            self.svm,
            spare,
            certificates.client,
            root_ca,
            own,
            cluster["uuid"],
            node["uuid"],
        ]
        self.addresses = [*(f"127.0.0.1:{port}" for port in ports), "127.0.0.1:1"]
        self.values: dict[str, list[str]] = {
            "uuid": self.uuids,
            "owner": [self.svm],
            "name": ["victim", "vsadmin"],
            "server": self.addresses[:2],
            "node": [node["name"]],
            "node_uuid": [node["uuid"]],
            "report_uuid": [report["uuid"]],
            "key_id": [key_id(KeyType.VEK, self.key_manager)],
            "index": [str(event["index"]) for event in self.events] or ["1"],
            "path": ["/api/security/key-managers"],
        }

    def session(self, account: str) -> requests.Session:
        """A connection of an account's own."""
        session = requests.Session()
        session.trust_env = False
        session.auth = (account, PASSWORDS[account])
        return session


def add_vsadmin(admin: Client, name: str, svm: str) -> None:
    """Give an SVM an administrator."""
    applications = [{"application": "http", "authentication_methods": ["password"]}]
    body = {"name": name, "owner": {"uuid": svm}, "password": PASSWORDS[VSADMIN], "applications": applications}
    answer = admin("POST", "/security/accounts", body)
    assert answer.status == 201, answer.content


@pytest.fixture
def world(installation: Installation, pki: Pki, sound_ports: list[int]) -> Iterator[World]:
    with installation.serving() as service:
        yield World(service, pki, sound_ports)


@st.composite
def cases(draw: st.DrawFn, operation: Operation, world: World) -> Case[Any]:
    """A request of an operation, some of its values replaced by those that there are."""
    mode = draw(st.sampled_from(GenerationMode))
    case: Case[Any] = draw(operation.as_strategy(generation_mode=mode))
    if draw(st.booleans()):
        case.path_parameters = {name: draw(st.sampled_from(world.values[name])) for name in case.path_parameters}
    kept = draw(st.sampled_from((0, 0, 1, 99)))  # most queries of many parameters are refused for one of them
    case.query = dict(list(case.query.items())[:kept])
    if draw(st.sampled_from((True, True, False))):
        case.headers.clear()
    case.body = steered(case.body, world, draw)
    return case


def steered(value: Any, world: World, draw: st.DrawFn, name: str = "") -> Any:
    """A body in which key servers are on loopback, and what is identified is often there."""
    if isinstance(value, dict):
        return {key: steered(item, world, draw, key) for key, item in value.items()}
    if isinstance(value, list):
        return [steered(item, world, draw, name) for item in value]
    if name == "server" and isinstance(value, str):
        return draw(st.sampled_from(world.addresses))
    if name == "secondary_key_servers" and isinstance(value, str):
        return "127.0.0.1"
    if name == "uuid" and draw(st.booleans()):
        return draw(st.sampled_from(world.uuids))
    return value


def operations() -> list[Operation]:
    """All of them, reads first, deletions last; those that change whole collections come just before the end."""
    found = [
        each.ok() for each in schemathesis.openapi.from_dict(document()).get_all_operations() if isinstance(each, Ok)
    ]
    return sorted(found, key=lambda operation: ORDER.index(operation.method))


def drive(world: World, operation: Operation, session: requests.Session, examples: int) -> Counter[int]:
    """Make requests of an operation, check every answer, and return the statuses."""
    statuses: Counter[int] = Counter()
    authority = str(world.service.installation.data / "tls.crt")

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # what was deleted is gone: a failure cannot be made smaller
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases(operation, world))
    def call(case: Case[Any]) -> None:
        answer = case.call(base_url=world.service.url, session=session, verify=authority)
        statuses[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    call()
    return statuses


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("account", EXAMPLES)
def test_every_answer_is_a_documented_one(account: str, world: World, request: pytest.FixtureRequest) -> None:
    """No 5xx, and status, headers, media type, error code and body are as the document says, whatever is asked for."""
    examples = EXAMPLES[account] * (LONG if request.config.getoption("--long") else 1)
    seen: dict[str, Counter[int]] = {}
    failures: list[FailureGroup] = []
    started = time.monotonic()
    with world.session(account) as session:
        for operation in operations():
            try:
                seen[operation.label] = drive(world, operation, session, examples)
            except FailureGroup as failure:
                failures.append(failure)
    if failures:
        raise BaseExceptionGroup("answers that are not documented", failures)
    made = sum(map(Counter.total, seen.values()))
    print(f"{account}: {made} requests in {time.monotonic() - started:.0f} s")
    assert made >= 0.95 * examples * len(seen)
    reached = {label for label, statuses in seen.items() if any(status < 300 for status in statuses)}
    assert len(reached) >= REACHED[account] * len(seen), sorted(seen.keys() - reached)
    assert 401 not in set().union(*seen.values())
    forbidden = {label.partition(" ")[2] for label, statuses in seen.items() if 403 in statuses}
    assert RETRIEVE in forbidden
    assert account == VSADMIN or forbidden == {RETRIEVE}
