"""Operations on objects of scripted key servers of every kind: their results and faults."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.keys.model import KeyForm
from keystead.core.secret import Secret
from keystead.keyservers.objects import Objects
from keystead.kmip.messages.objects import OpaqueObject
from keystead.kmip.testing import server as testing
from keystead.kmip.testing.profiles import PROFILES
from keystead.kmip.ttlv.enums import ObjectType, Operation, ResultReason, ResultStatus
from keystead.kmip.ttlv.ttlv import Item, ItemType
from keystead.service.ports.objects import Fault, KeyServerFault
from tests.keyservers.cases import LOOPBACK
from tests.keyservers.reaching import (
    MATERIAL,
    SHORT_S,
    TIMEOUT_S,
    alter,
    asked,
    endpoint,
    expect_fault,
    objects,
    seed,
    seeds,
    server,
    talking,
    with_payload,
)

if TYPE_CHECKING:
    from keystead.service.ports.objects import ObjectSession

NO_KEY = OpaqueObject(0x8000_0000, b"not a key")
NUMBER = Item(0x420094, ItemType.INTEGER, 7)
"""A Unique Identifier that is a number, as KMIP 2.x permits."""

# --- what is written comes back ---


@pytest.mark.parametrize("form", KeyForm)
@pytest.mark.parametrize("version", [(1, 0), (1, 2), (1, 4), (2, 1)])
async def test_a_key_from_register_to_destroy(form: KeyForm, version: tuple[int, int]) -> None:
    """In each form and version: Pre-Active under its name, the same bytes, then through all states."""
    async with talking(versions=[version]) as (running, session):
        ids = await session.register("a key", MATERIAL, form, application_information="ours")
        pair = form is KeyForm.SYMMETRIC_KEY_PAIR
        names = ["a key-1", "a key-2"] if pair else ["a key"]
        assert await session.get(ids) == MATERIAL
        for id_, name in zip(ids, names, strict=True):
            assert await session.locate(name) == (id_,)
            states = [await session.get_attributes(id_)]
            await session.activate(id_)
            states.append(await session.get_attributes(id_))
            await session.revoke(id_)
            states.append(await session.get_attributes(id_))
            assert [facts.state for facts in states] == ["Pre-Active", "Active", "Deactivated"]
            expected = ObjectType.SECRET_DATA if form is KeyForm.SECRET_DATA else ObjectType.SYMMETRIC_KEY
            assert {(facts.names, facts.object_type) for facts in states} == {((name,), expected)}
            await session.destroy(id_)
            with expect_fault(Fault.NOT_FOUND, "item_not_found"):
                await session.get([id_])
        assert running.responder.objects == {}


async def test_abilities() -> None:
    """Capabilities are Query's numbers; they are empty where the server gives none or refuses."""
    async with talking(vendor="of\x07 note") as (_, session):
        found = await session.get_capabilities()
        assert (found.version, found.vendor) == ("2.1", "of\N{REPLACEMENT CHARACTER} note")
        assert Operation.REGISTER in found.operations
        assert ObjectType.SECRET_DATA in found.object_types
        assert {type(number) for number in (*found.operations, *found.object_types)} == {int}
    for name in ("query denied", "no query"):
        async with talking(PROFILES[name]) as (_, session):
            found = await session.get_capabilities()
            assert (found.operations, found.object_types, found.version, found.vendor) == ((), (), "2.1", "")
    async with talking() as (running, session):
        running.faults[Operation.QUERY] = testing.close
        with expect_fault(Fault.UNANSWERED, "connection_closed"):
            await session.get_capabilities()


REFUSALS = [
    ("unique names", Fault.REFUSED, "invalid_field", [(1, 4)]),
    ("unique names", Fault.EXISTS, "non_unique_name_attribute", [(2, 1)]),
    ("symmetric keys only", Fault.REFUSED, "invalid_field", [(2, 1)]),
]


@pytest.mark.parametrize(("profile", "fault", "reason", "versions"), REFUSALS)
async def test_a_register_that_is_refused(profile: str, fault: Fault, reason: str, versions: Any) -> None:
    """A refused Register raises the server's reason, and the session continues."""
    async with talking(PROFILES[profile], versions=versions) as (running, session):
        form = KeyForm.SYMMETRIC_KEY
        await session.register("taken", MATERIAL, form, application_information=None)
        with expect_fault(fault, reason):
            await session.register("taken", MATERIAL, KeyForm.SECRET_DATA, application_information=None)
        assert len(running.responder.objects) == 1
        assert len(await session.locate_all()) == 1


async def test_half_a_pair() -> None:
    """If the second object of a pair is refused, the fault is unanswered and the session ends."""
    async with talking() as (running, session):
        running.responder.capacity = 1
        with expect_fault(Fault.UNANSWERED, "general_failure"):
            await session.register("pair", MATERIAL, KeyForm.SYMMETRIC_KEY_PAIR, application_information=None)
        assert len(running.responder.objects) == 1
        with expect_fault(Fault.UNREACHABLE, "connection_closed"):
            await session.locate("pair-1")
        running.responder.store.forget_all()
    async with talking() as (running, session):
        running.responder.capacity = 0
        with expect_fault(Fault.REFUSED, "general_failure"):
            await session.register("pair", MATERIAL, KeyForm.SYMMETRIC_KEY_PAIR, application_information=None)
        assert await session.locate_all() == ()


async def test_material_that_is_of_no_use() -> None:
    """An object without plain key bytes is refused, alone and among others."""
    async with talking() as (running, session):
        good, bad = await seeds(session, "good", "bad")
        running.responder.objects[bad[0]].managed_object = NO_KEY
        with expect_fault(Fault.REFUSED, "unusable_material"):
            await session.get(bad)
        found = await session.get_many([good, bad])
        assert found[0] == seed(0)
        assert isinstance(found[1], KeyServerFault)
        assert found[1].reason == "unusable_material"


# --- written and read back in one message ---


def together(running: testing.KeyServer) -> list[list[str]]:
    """Return the operations of each message since the connection was made."""
    messages = [[Operation(item.operation).name for item in request.batch_item] for request in running.requests]
    return [message for message in messages if message != ["DISCOVER_VERSIONS"]]


BOTH, ALONE = ["REGISTER", "GET"], ["REGISTER"]


async def written(session: ObjectSession, name: str, form: KeyForm = KeyForm.SECRET_DATA) -> Any:
    """Register and read back."""
    return await session.register_and_get(name, MATERIAL, form, application_information=None)


@pytest.mark.parametrize("form", KeyForm)
@pytest.mark.parametrize("version", [(1, 0), (1, 4), (2, 1)])
async def test_register_and_get(form: KeyForm, version: tuple[int, int]) -> None:
    """One object takes one message; a pair is only registered."""
    async with talking(versions=[version]) as (running, session):
        pair = form is KeyForm.SYMMETRIC_KEY_PAIR
        ids, returned = await written(session, "a", form)
        assert returned == (None if pair else MATERIAL)
        assert together(running) == (2 * [ALONE] if pair else [BOTH])
        assert await session.get(ids) == MATERIAL


async def test_batches_that_are_refused() -> None:
    """A refused batch is the fault of its Register, which is not repeated; later ones are sent alone."""
    async with talking(PROFILES["no batches"]) as (running, session):
        with expect_fault(Fault.REFUSED, "invalid_message"):
            await written(session, "a")
        (id_,), returned = await written(session, "b")
        assert returned is None
        assert await session.locate_all() == (id_,)
        assert [message for message in together(running) if "REGISTER" in message] == [BOTH, ALONE]


async def test_a_register_that_is_refused_in_a_batch() -> None:
    """A Register that is refused in a batch raises its reason, and the session continues with batches."""
    async with talking(PROFILES["unique names"], versions=[(2, 1)]) as (running, session):
        await written(session, "taken")
        with expect_fault(Fault.EXISTS, "non_unique_name_attribute"):
            await written(session, "taken")
        assert together(running) == [BOTH, BOTH]
        assert len(await session.locate_all()) == 1


@pytest.mark.parametrize("how", ["refused", "no placeholder", "another's", "unusable"])
async def test_a_get_that_fails_in_a_batch(how: str) -> None:
    """The identifier is returned without material, and can be read later; bytes of another object are not taken."""
    async with talking() as (running, session):
        respond = running.responder.respond
        if how == "unusable":
            alter(running, with_payload(managed_object=NO_KEY, object_type=ObjectType.OPAQUE_OBJECT), Operation.GET)
        elif how == "another's":
            alter(running, with_payload(unique_identifier="another"), Operation.GET)
        else:
            reason = ResultReason.PERMISSION_DENIED if how == "refused" else ResultReason.ITEM_NOT_FOUND
            running.responder.refusals[Operation.GET] = reason
        ids, returned = await written(session, "a")
        assert returned is None
        running.responder.refusals.clear()
        running.responder.respond = respond  # type: ignore[method-assign]
        assert await session.get(ids) == MATERIAL


@pytest.mark.parametrize("reason", [ResultReason.RESPONSE_TOO_LARGE, ResultReason.GENERAL_FAILURE])
async def test_a_register_is_sent_once(reason: ResultReason) -> None:
    """Register is not repeated when all items of its message fail, for whatever reason."""
    fault = Fault.UNANSWERED if reason is ResultReason.RESPONSE_TOO_LARGE else Fault.REFUSED

    def failed(item: Any) -> Any:
        if item.operation not in {Operation.REGISTER, Operation.GET}:
            return item
        return replace(item, result_status=ResultStatus.OPERATION_FAILED, result_reason=reason, response_payload=None)

    async with talking() as (running, session):
        alter(running, failed)
        with expect_fault(fault, reason.name.lower()):
            await written(session, "a")
        assert together(running) == [BOTH]
        assert len(running.responder.objects) == 1


@pytest.mark.parametrize("fault", [testing.close, testing.silence])
async def test_a_batch_whose_answer_is_lost(fault: testing.Fault) -> None:
    """A lost answer is unanswered; later the server gets Register alone, also after a cancelled call."""
    async with server() as running, objects() as used:
        way = endpoint(running.port)
        running.faults[Operation.REGISTER] = fault
        async with used.session(way, timeout_s=TIMEOUT_S) as session:
            if fault is testing.silence:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(SHORT_S):
                        await written(session, "a")
            else:
                with expect_fault(Fault.UNANSWERED, "connection_closed"):
                    await written(session, "a")
            with expect_fault(Fault.UNREACHABLE, "connection_closed"):
                await session.locate_all()
        running.faults.clear()
        assert len(running.responder.objects) == 1
        async with used.session(way, timeout_s=TIMEOUT_S) as session:
            await written(session, "b")
        assert together(running) == [BOTH, ALONE]


@pytest.mark.parametrize("register", [seeds, written], ids=["alone", "with a Get"])
async def test_an_identifier_that_is_no_text(register: Any) -> None:
    """A Register whose answer has no text as identifier is unanswered, and the session ends."""
    async with talking(versions=[(2, 1)]) as (running, session):
        alter(running, with_payload(unique_identifier=NUMBER), Operation.REGISTER)
        with expect_fault(Fault.UNANSWERED, "malformed_answer"):
            await register(session, "a")
        with expect_fault(Fault.UNREACHABLE, "connection_closed"):
            await session.locate_all()


@pytest.mark.parametrize("method", ["activate", "revoke", "destroy"])
async def test_the_wrong_state(method: str) -> None:
    """An operation that the state forbids raises another fault than one on an absent object."""
    async with talking() as (_, session):
        ((id_,),) = await seeds(session, "a")
        await session.activate(id_)
        if method == "revoke":
            await session.revoke(id_)
        with expect_fault(Fault.WRONG_STATE, "illegal_operation"):
            await getattr(session, method)(id_)
        with expect_fault(Fault.NOT_FOUND, "item_not_found"):
            await getattr(session, method)("nothing")


async def test_objects_without_a_state() -> None:
    """A server without states gives an empty state; one that refuses named attributes is asked for all."""
    async with talking(PROFILES["no states"]) as (running, session):
        ((id_,),) = await seeds(session, "a")
        assert (await session.get_attributes(id_)).state == ""
        before = asked(running, Operation.GET_ATTRIBUTES)
        running.responder.refusals[Operation.GET_ATTRIBUTES] = ResultReason.INVALID_FIELD
        with expect_fault(Fault.REFUSED, "invalid_field"):
            await session.get_attributes(id_)
        assert asked(running, Operation.GET_ATTRIBUTES) == before + 2
        running.responder.refusals[Operation.GET_ATTRIBUTES] = ResultReason.PERMISSION_DENIED
        with expect_fault(Fault.DENIED, "permission_denied"):
            await session.get_attributes(id_)
        assert asked(running, Operation.GET_ATTRIBUTES) == before + 3


# --- Locate is not believed ---


@pytest.mark.parametrize("profile", ["plain", "locate returns everything", "no offset items", "offset items ignored"])
@pytest.mark.parametrize("version", [(1, 2), (1, 4), (2, 1)])
async def test_locate_is_exact(profile: str, version: tuple[int, int]) -> None:
    """Names that differ in case, or begin alike, are other names, whatever the server returns."""
    async with talking(PROFILES[profile], versions=[version]) as (_, session):
        keys = await seeds(session, "name", "Name", "name-1", "other", "name")
        assert set(await session.locate("name")) == {keys[0][0], keys[4][0]}
        assert await session.locate("absent") == ()
        assert set(await session.locate_all()) == {id_ for key in keys for id_ in key}


@pytest.mark.parametrize("version", [(1, 3), (2, 1)])
async def test_pages(version: tuple[int, int]) -> None:
    """A server that pages is asked until it has named all."""
    async with talking(PROFILES["pages of two"], versions=[version]) as (running, session):
        keys = await seeds(session, *(f"k{number}" for number in range(5)))
        assert set(await session.locate_all()) == {key[0] for key in keys}
        assert asked(running, Operation.LOCATE) == 3


CUT_SHORT = {
    "ignores": replace(PROFILES["offset items ignored"], page_limit=2, locates_by_attributes=False),
    "refuses": replace(PROFILES["no offset items"], page_limit=2, locates_by_attributes=False),
}


@pytest.mark.parametrize("profile", CUT_SHORT)
async def test_a_list_that_is_cut_short(profile: str) -> None:
    """A name that is missing in an incomplete list is a fault, not absent; the search always ends."""
    async with talking(CUT_SHORT[profile]) as (running, session):
        first, second, *_ = await seeds(session, "a", "b", "c")
        assert set(await session.locate_all()) == {*first, *second}
        assert await session.locate("b") == second
        with expect_fault(Fault.REFUSED, "locate_incomplete"):
            await session.locate("c")
        assert asked(running, Operation.LOCATE) == 6


async def test_a_locate_that_fails_on_a_later_page() -> None:
    """A failure on a later page is a fault, not the end of the list."""
    async with talking(PROFILES["pages of two"]) as (running, session):
        await seeds(session, "a", "b", "c")

        def close_from(second: int) -> testing.Fault:
            async def fault(exchange: testing.Exchange) -> None:
                if asked(running, Operation.LOCATE) >= second:
                    exchange.stream.close()
                else:
                    await exchange.stream.send(exchange.answer)

            return fault

        running.faults[Operation.LOCATE] = close_from(2)
        with expect_fault(Fault.UNANSWERED, "connection_closed"):
            await session.locate_all()


async def test_too_many_for_one_answer() -> None:
    """Objects are asked for in pages, with Maximum Items, after an answer that was too large."""
    async with (
        server() as running,
        objects(page=2) as used,
        used.session(endpoint(running.port), timeout_s=TIMEOUT_S) as session,
    ):
        keys = await seeds(session, "a", "b", "c")
        running.faults[Operation.LOCATE] = testing.first(1, testing.huge_length)
        assert set(await session.locate_all()) == {key[0] for key in keys}
        running.responder.refusals[Operation.LOCATE] = ResultReason.RESPONSE_TOO_LARGE
        with expect_fault(Fault.UNANSWERED, "response_too_large"):
            await session.locate("a")
        with expect_fault(Fault.UNREACHABLE, "connection_closed"):
            await session.locate("a")


async def test_more_objects_than_any_key_server_has() -> None:
    """A server that names objects without end is asked for no more pages above the limit."""
    async with (
        server(PROFILES["pages of two"]) as running,
        objects(located=3) as used,
        used.session(endpoint(running.port), timeout_s=TIMEOUT_S) as session,
    ):
        await seeds(session, *"abcdefgh")
        assert len(await session.locate_all()) == 4


async def test_an_object_that_goes_while_it_is_looked_at() -> None:
    """An object that vanishes during the search is not found; one that we may not read is a fault."""
    async with talking() as (running, session):
        await seeds(session, "a")
        running.responder.refusals[Operation.GET_ATTRIBUTES] = ResultReason.ITEM_NOT_FOUND
        assert await session.locate("a") == ()
        running.responder.refusals[Operation.GET_ATTRIBUTES] = ResultReason.PERMISSION_DENIED
        with expect_fault(Fault.DENIED, "permission_denied"):
            await session.locate("a")


# --- nothing is shown ---


async def test_nothing_shows_material() -> None:
    """Neither results nor faults contain material in their text."""
    async with talking() as (running, session):
        secret = Secret(b"CANARY-OF-THE-MATERIAL" * 2)
        ids = await session.register("a", secret, KeyForm.SECRET_DATA, application_information=None)
        shown = [repr(await session.get(ids)), repr(await session.get_many([ids])), repr(session), repr(running)]
        assert "CANARY" not in "".join(shown)
    assert "CANARY" not in repr(Objects(LOOPBACK))


async def test_an_object_with_a_number_as_identifier() -> None:
    """A list with an identifier that is a number (KMIP 2.x) is refused, because we never register such objects."""
    async with talking(versions=[(2, 1)]) as (running, session):
        await seeds(session, "a", "b")
        alter(running, with_payload(unique_identifier=("a", NUMBER)), Operation.LOCATE)
        with expect_fault(Fault.REFUSED, "unusable_identifier"):
            await session.locate_all()
