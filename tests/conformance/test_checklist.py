"""The checklist of ``checklist.py``, line by line, over HTTPS against a real service with real key servers."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.conformance.checklist import CHECKLIST, DECIDED, ELSEWHERE, ITEMS, LATER, NOT_FOLLOWED
from tests.conformance.conftest import BOTH_DATABASES
from tests.peers.certificates import Authority, server_context
from tests.peers.fault_servers import FaultServer, black_hole, refused_port, say, tls
from tests.peers.keystead import Certificates, create_key_manager, install_certificates
from tests.peers.kmip_answers import DISCOVER_VERSIONS, GENERAL_FAILURE, QUERY, answering, discovered, failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conformance.calls import Call, Item
    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Client, Service

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def names(pki: Pki, sound_ports: list[int]) -> Iterator[dict[str, str]]:
    """The servers that the checklist names."""
    sound = server_context(pki.server, pki.client_ca)
    scripts = {
        "WRONG_CA": tls(server_context(Authority("Another CA").issue(), pki.client_ca), answering()),
        "WRONG_CLIENT": tls(server_context(pki.server, Authority("Another CA")), answering()),
        "GARBAGE": tls(sound, say(b"220 mail.example.com ESMTP\r\n" * 4)),
        "FOREIGN": tls(sound, answering({DISCOVER_VERSIONS: discovered((9, 9))})),
        "FAILING": tls(sound, answering({QUERY: failure(QUERY, GENERAL_FAILURE)})),
    }
    with contextlib.ExitStack() as stack:
        faulty = {name: stack.enter_context(FaultServer(script)) for name, script in scripts.items()}
        six = stack.enter_context(FaultServer(tls(sound, answering()), "::1"))
        hole = stack.enter_context(black_hole())
        yield {
            **{name: f"127.0.0.1:{port}" for name, port in zip("ABCDE", sound_ports, strict=False)},
            **{name: f"127.0.0.1:{server.port}" for name, server in faulty.items()},
            "CLOSED": f"127.0.0.1:{refused_port()}",
            "HOLE": f"127.0.0.1:{hole}",
            "HOST2": "127.0.0.2",
            "PORT": str(sound_ports[1]),
            "V6": str(six.port),
        }


@pytest.fixture
def call(service: Service) -> Iterator[Client]:
    """A client of the service."""
    with service.client() as client:
        yield client


@pytest.fixture(scope="module")
def certificates(service: Service, pki: Pki) -> Certificates:
    """One pair of certificates for all key managers."""
    with service.client() as client:
        return install_certificates(client, pki.client, pki.server_ca)


@pytest.fixture(scope="module")
def other_client(service: Service, pki: Pki) -> str:
    """The uuid of a client certificate of another key pair."""
    with service.client() as client:
        return install_certificates(client, pki.client_ca.issue((), purpose="client"), pki.server_ca).client


@BOTH_DATABASES
@pytest.mark.parametrize("item", CHECKLIST, ids=lambda item: f"{item.number}-{item.rule.replace(' ', '_')}")
def test_checklist(
    item: Item, call: Client, names: dict[str, str], certificates: Certificates, other_client: str
) -> None:
    """What the line says is what is answered."""
    svm = f"svm-{uuid4().hex[:8]}"
    call.create("/svm/svms", {"name": svm})
    body = certificates.new_key_manager([{"server": names["A"]}], svm)
    uuid = call.create("/security/key-managers", body)["uuid"]
    path = f"/security/key-managers/{uuid}/key-servers"
    known = names | {"P": path, "KM": uuid, "SVM": svm, "CLIENT": certificates.client, "CA": certificates.server_ca}
    known["OTHER_CLIENT"] = other_client
    known |= {f"{name}_ENCODED": quote(names[name], safe="") for name in "AB"}
    if any(each.path == "$Q" for each in item.calls):
        known["Q"] = create_key_manager(call, certificates, names["A"])
    for each in item.calls:
        _check(call, each, known)


def _check(call: Client, expected: Call, known: dict[str, str]) -> None:
    started = time.monotonic()
    sent = None if expected.body is None else _filled(expected.body, known).encode()
    response = call(expected.method, _filled(expected.path, known), sent, headers=expected.sent)
    assert response.status == expected.status, response.content
    assert time.monotonic() - started < expected.seconds
    text = response.content.decode()
    assert [word for word in expected.lacks if word in text] == []
    for name, value in expected.headers.items():
        assert response.headers[name] == _filled(value, known)
    if expected.method == "HEAD":
        assert text == ""
        return
    if expected.code is not None:
        error = response.body["error"]
        assert (error["code"], error.get("target")) == (expected.code, expected.target or error.get("target"))
    _contains(response.body, expected.has, known)


def _contains(actual: Any, expected: Any, known: dict[str, str]) -> None:
    """Objects hold at least what is expected, arrays exactly as many members, the rest is equal."""
    if isinstance(expected, dict):
        assert isinstance(actual, dict)
        for name, value in expected.items():
            _contains(actual.get(name), value, known)
    elif isinstance(expected, list):
        assert isinstance(actual, list)
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            _contains(one, other, known)
    else:
        assert actual == (_filled(expected, known) if isinstance(expected, str) else expected)
        assert type(actual) is type(expected)


def _filled(text: str, known: dict[str, str]) -> str:
    return Template(text).substitute(known)


def test_the_checklist_is_whole() -> None:
    """Every line is shown here, shown elsewhere, decided otherwise or not built yet, and never two of these."""
    numbers = [*(item.number for item in CHECKLIST), *ELSEWHERE, *NOT_FOLLOWED, *LATER]
    assert sorted(numbers) == list(range(1, ITEMS + 1))


@pytest.mark.parametrize("number", ELSEWHERE)
def test_what_is_shown_elsewhere_is_there(number: int) -> None:
    """The tests that are named exist."""
    for each in ELSEWHERE[number]:
        file, _, test = each.partition("::")
        assert re.search(rf"def {test}\(", (ROOT / file).read_text())


@pytest.mark.parametrize("number", DECIDED)
def test_what_is_decided_is_told(number: int) -> None:
    """The page on deviations has a row for it."""
    page = (ROOT / "docs/explanation/deviations.md").read_text()
    assert f"\n| {DECIDED[number]} |" in page
