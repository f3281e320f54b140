"""Messages of several operations to scripted key servers: what becomes of each, and of a message that fails."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.keys.model import KeyForm
from keystead.keyservers import object_answers, object_session
from keystead.kmip import testing
from keystead.kmip.client import Client
from keystead.kmip.enums import Operation, ResultReason, ResultStatus
from keystead.kmip.errors import OperationFailed
from keystead.kmip.profiles import PROFILES
from keystead.service.key_ports import Fault, KeyServerFault
from tests.keyservers.reaching import MATERIAL, SHORT_S, TIMEOUT_S, fails, objects, reach, seeds, server, talking

if TYPE_CHECKING:
    from keystead.service.key_ports import ObjectSession


# --- written and read back in one message ---


def together(running: testing.KeyServer) -> list[list[str]]:
    """The operations of each message since the connection was made."""
    messages = [[Operation(item.operation).name for item in request.batch_item] for request in running.requests]
    return [message for message in messages if message != ["DISCOVER_VERSIONS"]]


BOTH, ALONE = ["REGISTER", "GET"], ["REGISTER"]


async def written(session: ObjectSession, name: str, form: KeyForm = KeyForm.SECRET_DATA) -> Any:
    """Register and read back."""
    return await session.register_and_get(name, MATERIAL, form, application_information=None)


@pytest.mark.parametrize("form", KeyForm)
@pytest.mark.parametrize("version", [(1, 0), (1, 4), (2, 1)])
async def test_register_and_get(form: KeyForm, version: tuple[int, int]) -> None:
    """One object is one message; a pair is registered as ever."""
    async with talking(versions=[version]) as (running, session):
        pair = form is KeyForm.SYMMETRIC_KEY_PAIR
        ids, returned = await written(session, "a", form)
        assert returned == (None if pair else MATERIAL)
        assert together(running) == (2 * [ALONE] if pair else [BOTH])
        assert await session.get(ids) == MATERIAL


async def test_batches_that_are_refused() -> None:
    """It is the fault of the Register, which is not sent again; from then on it is sent alone."""
    async with talking(PROFILES["no batches"]) as (running, session):
        with fails(Fault.REFUSED, "invalid_message"):
            await written(session, "a")
        (id_,), returned = await written(session, "b")
        assert returned is None
        assert await session.locate_all() == (id_,)
        assert [message for message in together(running) if "REGISTER" in message] == [BOTH, ALONE]


async def test_a_register_that_is_refused_in_a_batch() -> None:
    """It is the fault of both, and the server is not asked again; the session goes on."""
    async with talking(PROFILES["unique names"], versions=[(2, 1)]) as (running, session):
        await written(session, "taken")
        with fails(Fault.EXISTS, "non_unique_name_attribute"):
            await written(session, "taken")
        assert together(running) == [BOTH, BOTH]
        assert len(await session.locate_all()) == 1


@pytest.mark.parametrize("how", ["refused", "no placeholder", "another's", "unusable"])
async def test_a_get_that_fails_in_a_batch(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was registered is known, and can be asked for by its identifier; another's bytes are not taken for it."""
    real = Client.register_and_get

    async def of_another(*arguments: Any, **options: Any) -> Any:
        registered, got = await real(*arguments, **options)
        return registered, replace(got, unique_identifier="another")  # type: ignore[type-var]

    async with talking() as (running, session):
        if how == "unusable":
            monkeypatch.setattr(object_answers, "material_of", lambda _: None)
        elif how == "another's":
            monkeypatch.setattr(Client, "register_and_get", of_another)
        else:
            reason = ResultReason.PERMISSION_DENIED if how == "refused" else ResultReason.ITEM_NOT_FOUND
            running.responder.refusals[Operation.GET] = reason
        ids, returned = await written(session, "a")
        assert returned is None
        running.responder.refusals.clear()
        monkeypatch.undo()
        assert await session.get(ids) == MATERIAL


@pytest.mark.parametrize("reason", [ResultReason.RESPONSE_TOO_LARGE, ResultReason.GENERAL_FAILURE])
async def test_a_register_is_sent_once(reason: ResultReason, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the message fails, and whatever the server says of its items."""
    real = Client.register_and_get

    async def failed(*arguments: Any, **options: Any) -> Any:
        await real(*arguments, **options)
        failure = OperationFailed(Operation.REGISTER, ResultStatus.OPERATION_FAILED, reason)
        return failure, failure

    monkeypatch.setattr(Client, "register_and_get", failed)
    fault = Fault.UNANSWERED if reason is ResultReason.RESPONSE_TOO_LARGE else Fault.REFUSED
    async with talking() as (running, session):
        with fails(fault, reason.name.lower()):
            await written(session, "a")
        assert together(running) == [BOTH]
        assert len(running.responder.objects) == 1


@pytest.mark.parametrize("fault", [testing.close, testing.silence])
async def test_a_batch_whose_answer_is_lost(fault: testing.Fault) -> None:
    """It may have happened; that server is not sent both together again, also when the caller gave up."""
    async with server() as running, objects() as used:
        way = reach(running.port)
        running.faults[Operation.REGISTER] = fault
        async with used.session(way, timeout_s=TIMEOUT_S) as session:
            if fault is testing.silence:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(SHORT_S):
                        await written(session, "a")
            else:
                with fails(Fault.UNANSWERED, "connection_closed"):
                    await written(session, "a")
            with fails(Fault.UNREACHABLE, "connection_closed"):
                await session.locate_all()
        running.faults.clear()
        assert len(running.responder.objects) == 1
        async with used.session(way, timeout_s=TIMEOUT_S) as session:
            await written(session, "b")
        assert together(running) == [BOTH, ALONE]


@pytest.mark.parametrize("register", [seeds, written], ids=["alone", "with a Get"])
async def test_an_identifier_that_is_no_text(register: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was registered and cannot be named is unanswered, and the session is over."""
    monkeypatch.setattr(object_session, "text_of", lambda _: None)
    async with talking() as (_, session):
        with fails(Fault.UNANSWERED, "malformed_answer"):
            await register(session, "a")
        with fails(Fault.UNREACHABLE, "connection_closed"):
            await session.locate_all()


# --- activated, and another registered, in one message ---

TOGETHER, APART = [["ACTIVATE", "REGISTER"]], [["ACTIVATE"], ["REGISTER"]]


async def finished(session: ObjectSession, *ids: str) -> tuple[KeyServerFault | None, str | KeyServerFault]:
    """Activate objects, and register what is written beside them."""
    return await session.activate_and_register(ids, "beside", MATERIAL)


def words(found: KeyServerFault | str | None) -> tuple[Fault, str] | None:
    """What a fault says; None for success."""
    return (found.fault, found.reason) if isinstance(found, KeyServerFault) else None


def of_finishing(running: testing.KeyServer) -> list[list[str]]:
    """The messages after those that made what is to be activated."""
    return together(running)[1:]


@pytest.mark.parametrize("version", [(1, 0), (1, 4), (2, 1)])
async def test_activate_and_register(version: tuple[int, int]) -> None:
    """Both are done, in one message."""
    async with talking(versions=[version]) as (running, session):
        ((id_,),) = await seeds(session, "a")
        fault, beside = await finished(session, id_)
        assert of_finishing(running) == TOGETHER
        assert fault is None
        assert (await session.facts(id_)).state == "Active"
        assert await session.locate("beside") == (beside,)
        assert await session.get([str(beside)]) == MATERIAL


async def test_a_pair_is_activated() -> None:
    """Both halves."""
    async with talking() as (running, session):
        ids = await session.register("a", MATERIAL, KeyForm.SYMMETRIC_KEY_PAIR, application_information=None)
        fault, beside = await finished(session, *ids)
        assert fault is None
        assert [(await session.facts(id_)).state for id_ in ids] == ["Active", "Active"]
        assert await session.locate("beside") == (beside,)
        assert ["ACTIVATE", "ACTIVATE", "REGISTER"] in together(running)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("refused", [Operation.ACTIVATE, Operation.REGISTER])
async def test_one_of_two_is_refused(refused: Operation, apart: bool) -> None:
    """The other is done all the same, and the session goes on."""
    async with talking() as (running, session):
        ((id_,),) = await seeds(session, "a")
        if apart:
            session._peer.send_apart()  # type: ignore[attr-defined]
        running.responder.refusals[refused] = ResultReason.PERMISSION_DENIED
        fault, beside = await finished(session, id_)
        running.responder.refusals.clear()
        denied = (Fault.DENIED, "permission_denied")
        assert words(fault) == (denied if refused is Operation.ACTIVATE else None)
        assert words(beside) == (denied if refused is Operation.REGISTER else None)
        assert of_finishing(running) == (APART if apart else TOGETHER)
        assert (await session.facts(id_)).state == ("Active" if fault is None else "Pre-Active")
        assert await session.locate("beside") == ((beside,) if isinstance(beside, str) else ())


async def test_a_server_without_batches_is_sent_both_apart_from_then_on() -> None:
    """The first time nothing was done."""
    async with talking(PROFILES["no batches"]) as (running, session):
        ((id_,),) = await seeds(session, "a")
        assert list(map(words, await finished(session, id_))) == 2 * [(Fault.REFUSED, "invalid_message")]
        assert len(running.responder.objects) == 1
        fault, beside = await finished(session, id_)
        assert (fault, await session.locate("beside")) == (None, (beside,))
        assert of_finishing(running)[:3] == TOGETHER + APART


@pytest.mark.parametrize("operation", [Operation.ACTIVATE, Operation.REGISTER])
async def test_an_operation_that_is_not_answered(operation: Operation, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been done: unanswered."""
    real = Client.batch

    async def forgotten(*arguments: Any, **options: Any) -> Any:
        activated, registered = await real(*arguments, **options)
        return (None, registered) if operation is Operation.ACTIVATE else (activated, None)

    async with talking() as (_, session):
        ((id_,),) = await seeds(session, "a")
        monkeypatch.setattr(Client, "batch", forgotten)
        found = await finished(session, id_)
        unanswered = (Fault.UNANSWERED, "malformed_answer")
        assert words(found[operation is Operation.REGISTER]) == unanswered
        assert words(found[operation is Operation.ACTIVATE]) is None


async def test_an_identifier_beside_that_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was registered and cannot be named is unanswered; what was activated is Active."""
    async with talking() as (_, session):
        ((id_,),) = await seeds(session, "a")
        monkeypatch.setattr(object_session, "text_of", lambda _: None)
        fault, beside = await finished(session, id_)
        assert (words(fault), words(beside)) == (None, (Fault.UNANSWERED, "malformed_answer"))


@pytest.mark.parametrize("fault", [testing.close, testing.silence])
async def test_a_finishing_whose_answer_is_lost(fault: testing.Fault) -> None:
    """It is not sent again, and that server is sent no two at once for a while, also when the caller gave up."""
    async with server() as running, objects() as used:
        way = reach(running.port)
        async with used.session(way, timeout_s=TIMEOUT_S) as session:
            ((id_,),) = await seeds(session, "a")
            running.faults[Operation.ACTIVATE] = fault
            if fault is testing.silence:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(SHORT_S):
                        await finished(session, id_)
            else:
                with fails(Fault.UNANSWERED, "connection_closed"):
                    await finished(session, id_)
        running.faults.clear()
        assert len(running.responder.objects) == 2
        async with used.session(way, timeout_s=TIMEOUT_S) as session:
            await written(session, "b")
        assert of_finishing(running) == [*TOGETHER, ALONE]
