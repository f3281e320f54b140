"""What an account of an SVM hears of its key servers: code and stage, and what it may not reach leads nowhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.model import Role, Svm
from keystead.service.context import Call, Caller
from keystead.service.probing.prober import COARSE_S
from tests.service.conftest import CALL, add, asked

if TYPE_CHECKING:
    from tests.service.conftest import World

FORBIDDEN, NOWHERE = "169.254.169.254", "no-such-host.invalid"


@pytest.fixture
async def confined(world: World, servers: list[str]) -> tuple[Call, str]:
    """Return a call of an account of an SVM, and the SVM's key manager."""
    svm = await world.services.svms.create(CALL, "vs1")
    key_manager = await world.key_manager(servers[0], svm="vs1")
    return Call(Caller("vsadmin1", Role.VSADMIN, "127.0.0.1", svm), "POST", "/api/test", scope=svm), key_manager


async def refusal(world: World, call: Call, key_manager: str, server: str) -> OntapError:
    """Return the error that adding a server gives."""
    state = await world.services.key_servers.state(call, key_manager)
    with pytest.raises(OntapError) as caught:
        await world.services.key_servers.add(call, state, add(asked(server, timeout=5)))
    assert caught.value.kind is errors.NETWORK
    return caught.value


async def test_reasons_are_for_accounts_of_the_cluster(world: World, confined: tuple[Call, str], closed: str) -> None:
    """The same failure with its reason, and without it for the SVM's own account."""
    call, key_manager = confined
    told = (await refusal(world, CALL, key_manager, closed)).arguments
    assert told == (("server", closed), ("stage", "connect"), ("reason", "connection_refused"))
    assert (await refusal(world, call, key_manager, closed)).arguments == told[:2]


async def test_a_dry_run_shows_no_more(
    world: World, confined: tuple[Call, str], servers: list[str], closed: str
) -> None:
    """Stages and what was learned are for accounts of the cluster."""
    call, key_manager = confined
    wanted = add(asked(servers[1]), asked(closed))
    key_servers = world.services.key_servers
    full = [
        item.record() for item in await key_servers.dry_run(CALL, await key_servers.state(CALL, key_manager), wanted)
    ]
    assert all(item["stages"] for item in full)
    coarse = [
        item.record() for item in await key_servers.dry_run(call, await key_servers.state(call, key_manager), wanted)
    ]
    assert coarse == [
        {"server": servers[1], "accepted": True},
        {"server": closed, "accepted": False, "code": "66060341", "stage": "connect"},
    ]


async def test_a_probe_of_stored_servers_shows_no_more(
    world: World, confined: tuple[Call, str], servers: list[str]
) -> None:
    """Than a dry run does."""
    call, key_manager = confined
    key_servers = world.services.key_servers
    results = await key_servers.probe(call, await key_servers.state(call, key_manager), ())
    assert [item.record() for item in results] == [{"server": servers[0], "accepted": True}]


async def test_what_may_not_be_reached_leads_nowhere(world: World, confined: tuple[Call, str]) -> None:
    """A forbidden IP address and an unknown name: the stage alone, after whole seconds."""
    call, key_manager = confined
    answers = []
    for server in (FORBIDDEN, NOWHERE):
        began = time.monotonic()
        error = await refusal(world, call, key_manager, server)
        answers.append([pair for pair in error.arguments if pair[0] != "server"])
        over = (time.monotonic() - began) % COARSE_S
        assert over < 0.5 * COARSE_S
    assert answers == [[("stage", "egress")], [("stage", "resolve")]]
    told = [(await refusal(world, CALL, key_manager, server)).arguments[2:] for server in (FORBIDDEN, NOWHERE)]
    assert told == [(("reason", "address_not_allowed"), ("rule", "link_local")), (("reason", "name_not_resolved"),)]


async def test_an_account_of_the_cluster_is_not_kept_waiting(world: World, confined: tuple[Call, str]) -> None:
    """Also when its call is tunnelled to the SVM: it may know."""
    call, key_manager = confined
    assert isinstance(call.scope, Svm)
    tunnelled = Call(CALL.caller, "POST", "/api/test", scope=call.scope)
    began = time.monotonic()
    assert ("reason", "address_not_allowed") in (await refusal(world, tunnelled, key_manager, FORBIDDEN)).arguments
    assert time.monotonic() - began < COARSE_S
