"""Every example in the docstrings of netapp-ontap for what Keystead serves, against a real service.

An example is sent as the installed package prints it. Only host, login, identifiers, certificates and key servers are
replaced. What it printed must have the printed fields, and what it changed must be shown. An answer may have more
fields than an older release of ONTAP had.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from keystead.api.description.openapi import document
from keystead.testing.key_servers import KeyServers
from tests.conformance.clients_page import Example as Row
from tests.conformance.clients_page import check
from tests.conformance.documented.cases import CASES, Case
from tests.conformance.documented.reading import documented, examples
from tests.conformance.documented.running import Login, as_printed, fields_of, includes, run, value_of
from tests.conformance.documented.world import PASSWORD, World
from tests.peers.keystead import PASSWORD as ADMIN_PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conformance.documented.reading import Example
    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Client, Installation, Service

FOUND = [example for module in CASES for example in examples(module)]
"""All examples of the installed package, of the modules in the tables."""


@pytest.fixture(scope="module")
def keeping() -> Iterator[KeyServers]:
    """Two key servers that keep objects."""
    with KeyServers(2, one_ca=True) as servers:
        yield servers


@pytest.fixture
def case(example: Example) -> Case:
    """An example, as the tables know it."""
    return CASES[example.module][example.name]


@pytest.fixture
def world(
    request: pytest.FixtureRequest,
    case: Case,
    initialised: Installation,
    tmp_path: Path,
    pki: Pki,
    sound_ports: list[int],
    keeping: KeyServers,
) -> Iterator[World]:
    """The module's service, or one of the example's own."""
    if case.alone:
        with initialised.copy(tmp_path / "data").serving() as service, service.client() as call:
            yield _world(service, call, pki, sound_ports, keeping)
        return
    service = request.getfixturevalue("service")
    with service.client() as call:
        made = _world(service, call, pki, sound_ports, keeping)
        yield made
        made.clear()


def _world(service: Service, call: Client, pki: Pki, ports: list[int], keeping: KeyServers) -> World:
    login = Login(service.port, str(service.installation.data / "tls.crt"), "admin", ADMIN_PASSWORD)
    return World(service, call, login, pki, ports, keeping)


@pytest.mark.parametrize("example", FOUND, ids=lambda each: f"{each.module}: {each.name}")
def test_example(example: Example, case: Case, world: World) -> None:
    """It does what its documentation says, or fails for the known reason."""
    given = case.given(world)
    login = replace(world.login, username=given[case.account], password=PASSWORD) if case.account else world.login
    ran = run(example, as_printed(example, given, login), login)
    assert ran.failure == case.code, ran.error
    if case.code:
        return
    if example.printed:
        missing = fields_of(value_of(example.printed)) - fields_of(ran.printed)
        assert {name for name in case.without if name in missing} == set(case.without)
        assert not [name for name in missing if not f"{name}.".startswith(tuple(f"{each}." for each in case.without))]
    case.then(world, given, ran)


def test_what_is_new_or_missing_is_noticed() -> None:
    """An identifier that nothing stands in for, a value that is not shown, and an example that no table has."""
    login = Login(0, "", "", "")
    with pytest.raises(AssertionError, match="nothing in their place"):
        as_printed(FOUND[0], {}, login)
    assert fields_of(value_of('[Node({"uuid": "x", "ha": {"ports": [{}, {"number": 1}]}})]')) == {
        *("uuid", "ha", "ha.ports", "ha.ports.number")
    }
    sent = {
        "timeout": "45",
        "policy": {"enabled": "false"},
        "password": "x",
        "banner": "",
        "servers": [{"server": "a"}],
    }
    shown = {"timeout": 45, "policy": {"enabled": False}, "servers": [{"server": "a", "username": ""}], "more": 1}
    assert includes(shown, sent)
    wrongs: list[dict[str, Any]] = [
        {"timeout": 44},
        {"policy": {"enabled": True}},
        {"servers": []},
        {"new": 1},
        {"more": None},
    ]
    for wrong in wrongs:
        assert not includes(shown, sent | wrong)


def test_all_examples_are_known() -> None:
    """The tables have the examples of the installed package and no others, and the page says which of them pass."""
    assert sorted(CASES) == documented(document()["paths"])
    for module in CASES:
        printed = (import_module(f"netapp_ontap.resources.{module}").__doc__ or "").count("with HostConnection(")
        assert sum(each.module == module and not each.is_request for each in FOUND) == printed
    found = {(example.module, example.name) for example in FOUND}
    assert found == {(module, name) for module, cases in CASES.items() for name in cases}
    check("netapp-ontap", [Row(module, name, CASES[module][name].fails) for module, name in found])
