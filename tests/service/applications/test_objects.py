"""Objects of applications on real key servers: created, read, changed and destroyed, and seen by nobody else."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from keystead.core import errors
from keystead.core.applications.attributes import Action, AttributeChange
from keystead.core.applications.model import Application, NewObject, ObjectAttribute, ObjectState
from keystead.core.applications.refusals import ObjectRefusal, RefusalReason
from keystead.core.errors import OntapError
from keystead.core.keys.model import KeyState
from keystead.core.model import Role
from keystead.core.secret import Secret
from keystead.service.applications.callers import ApplicationCaller
from keystead.service.applications.objects import ApplicationObjects
from keystead.service.context import Call, Caller
from keystead.service.keys.destroying.retire import KeyRetirement
from tests.service.worlds.reading import ReadingNode, reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from keystead.kmip.testing.server import KeyServer
    from keystead.service.ports.store import Transaction
    from tests.service.worlds.keys import KeyWorld

MATERIAL = b"0123456789abcdef"
SECRET_DATA = 7


@dataclass
class Site:
    """A node with its key servers, and two applications of one SVM."""

    world: KeyWorld
    node: ReadingNode
    servers: list[KeyServer]
    objects: ApplicationObjects
    one: ApplicationCaller
    other: ApplicationCaller

    async def refusal(self, work: object) -> RefusalReason:
        """Return the reason why this is refused."""
        with pytest.raises(ObjectRefusal) as refused:
            await work  # type: ignore[misc]
        return refused.value.reason


@pytest_asyncio.fixture
async def site(key_world: KeyWorld) -> AsyncIterator[Site]:
    """Two key servers, of which both must hold a new object."""
    servers = await key_world.start(2)
    svm = await key_world.home.svm()
    await key_world.key_manager(*servers, svm=svm, min_copies=2)
    async with reading(key_world) as node:
        store, audit, clock = node.of.store, node.of.audit, key_world.clock
        retirement = KeyRetirement(store, audit, clock, on_retired=node.reader.forget)
        objects = ApplicationObjects(store, node.of.writer, node.reader, retirement, audit, clock, node.of.uuid)
        callers = []
        for name in ("one", "other"):
            application = Application(f"application-{name}", name, svm, clock.now())
            await store.write(partial(_add, application=application))
            call = Call(Caller(name, Role.KMIP_CLIENT, "127.0.0.1", svm), "KMIP", "", scope=svm)
            callers.append(ApplicationCaller(call, application))
        yield Site(key_world, node, list(servers), objects, *callers)


def _add(tx: Transaction, application: Application) -> None:
    tx.add_application(application)


def new(*names: str, material: bytes = MATERIAL) -> NewObject:
    """Return an object with these names."""
    values = tuple(ObjectAttribute("Name", index, name.encode(), name) for index, name in enumerate(names))
    return NewObject(SECRET_DATA, {"format": 1}, Secret(material), values)


async def test_the_life_of_an_object(site: Site) -> None:
    """It is kept on both servers, read, activated, revoked and destroyed; its name is free then."""
    made = await site.objects.create(site.one, new("a"))
    assert (made.key.state, made.state) == (KeyState.COMMITTED, ObjectState.PRE_ACTIVE)
    assert all(any(each.names for each in server.responder.objects.values()) for server in site.servers)
    found, material = await site.objects.get(site.one, made.identifier)
    assert (found.object_type, found.form, material.reveal()) == (SECRET_DATA, {"format": 1}, MATERIAL)
    assert (await site.objects.activate(site.one, made.identifier)).state is ObjectState.ACTIVE
    assert await site.refusal(site.objects.destroy(site.one, made.identifier)) is RefusalReason.PERMISSION_DENIED
    facts = {"Compromise Occurrence Date": 1}
    revoked = await site.objects.revoke(site.one, made.identifier, compromised=True, facts=facts)
    assert (revoked.state, revoked.facts["Compromise Occurrence Date"]) == (ObjectState.COMPROMISED, 1)
    destroyed = await site.objects.destroy(site.one, made.identifier)
    assert destroyed.state is ObjectState.DESTROYED_COMPROMISED
    assert await site.refusal(site.objects.get(site.one, made.identifier)) is RefusalReason.OBJECT_DESTROYED
    assert (await site.objects.find(site.one, made.identifier)).state is ObjectState.DESTROYED_COMPROMISED
    assert (await site.objects.create(site.one, new("a"))).names == ("a",)


async def test_applications_do_not_see_each_other(site: Site) -> None:
    """Whatever the operation: another application's object does not exist. Each has names of its own."""
    made = await site.objects.create(site.one, new("a"))
    for work in (
        site.objects.find(site.other, made.identifier),
        site.objects.get(site.other, made.identifier),
        site.objects.activate(site.other, made.identifier),
        site.objects.revoke(site.other, made.identifier, compromised=True, facts={}),
        site.objects.destroy(site.other, made.identifier),
        site.objects.change_attributes(site.other, made.identifier, [AttributeChange(Action.ADD, "x-a", value=b"1")]),
    ):
        assert await site.refusal(work) is RefusalReason.ITEM_NOT_FOUND
    assert await site.objects.locate(site.other, lambda _: True) == ((), 0)
    assert await site.objects.locate(site.one, lambda _: True) == ((made.identifier,), 1)
    await site.objects.create(site.other, new("a"))


async def test_a_name_is_held_once(site: Site) -> None:
    """Two callers at once: one gets it. A change of attributes cannot take it either."""
    results = await asyncio.gather(*(site.objects.create(site.one, new("a")) for _ in range(2)), return_exceptions=True)
    (refused,) = [each for each in results if isinstance(each, ObjectRefusal)]
    assert refused.reason is RefusalReason.NON_UNIQUE_NAME_ATTRIBUTE
    other = await site.objects.create(site.one, new("b"))
    change = AttributeChange(Action.MODIFY, "Name", 0, b"a", "a")
    work = site.objects.change_attributes(site.one, other.identifier, [change])
    assert await site.refusal(work) is RefusalReason.NON_UNIQUE_NAME_ATTRIBUTE
    assert (await site.objects.find(site.one, other.identifier)).names == ("b",)
    renamed = AttributeChange(Action.MODIFY, "Name", 0, b"c", "c")
    assert (await site.objects.change_attributes(site.one, other.identifier, [renamed])).names == ("c",)
    assert await site.objects.locate(site.one, lambda _: True, name="c") == ((other.identifier,), 1)
    assert await site.objects.locate(site.one, lambda _: True, name="b") == ((), 0)


async def test_pages(site: Site) -> None:
    """Their order is stable, and the total is told."""
    made = [(await site.objects.create(site.one, new(str(number)))).identifier for number in range(3)]
    pages = [await site.objects.locate(site.one, lambda _: True, offset=at, maximum=2) for at in (0, 2)]
    assert pages == [(tuple(made[:2]), 3), (tuple(made[2:]), 3)]


async def test_too_few_copies(site: Site) -> None:
    """Nothing is acknowledged, and the name is free."""
    server = site.servers[1]
    await server.__aexit__(None, None, None)
    with pytest.raises(OntapError) as raised:
        await site.objects.create(site.one, new("a"))
    assert raised.value.kind in {errors.TOO_FEW_COPIES, errors.NOT_PUSHED}
    assert await site.objects.locate(site.one, lambda _: True) == ((), 0)
    await server.__aenter__()
    await site.objects.create(site.one, new("a"))
