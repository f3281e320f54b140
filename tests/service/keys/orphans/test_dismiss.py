"""Orphans that an administrator dismisses: until when, what is recorded, and that nothing is destroyed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.model import KeyForm
from keystead.core.model import AuditRecord
from keystead.kmip.testing.server import close
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.service.ports.page import Page
from tests.service.keys.orphans.test_adopt import NAME, adopt, leave, of
from tests.service.worlds.keepers import PAIRS, Keeping, again, keeping, of_kind, only
from tests.service.worlds.keys import CALL, KeyWorld, asked
from tests.service.worlds.learning import on_sqlite

if TYPE_CHECKING:
    from keystead.core.errors import ErrorKind
    from keystead.kmip.testing.server import Exchange
    from keystead.service.context import Call

OTHER_NAME = "keystead-99999999-k1234567890abcdef-2"


async def dismiss(kept: Keeping, uid: str, *, undo: bool = False, call: Call = CALL) -> None:
    """Dismiss an object on the first server, as a call does."""
    server = (await kept.world.servers(kept.manager))[0]
    work = kept.dismissals.undo if undo else kept.dismissals.dismiss
    await work(call, kept.manager, server.uuid, uid)


async def refusal(kept: Keeping, uid: str, *, call: Call = CALL) -> ErrorKind:
    """Return why a dismissal is refused."""
    with pytest.raises(OntapError) as raised:
        await dismiss(kept, uid, call=call)
    return raised.value.kind


async def dismissed(kept: Keeping) -> list[str]:
    """Return the identifiers of the dismissed objects."""
    found = await kept.unclaimed.list(CALL, kept.manager)
    return [each.of.unique_identifier for each in found if each.of.dismissal is not None]


async def records(kept: Keeping) -> list[str]:
    """Return what the audit says about dismissals."""
    found = await kept.world.store.read(lambda tx: tx.page(AuditRecord, Page(limit=100)))
    return sorted(each.message for each in found if "unclaimed object" in each.message)


async def test_a_dismissal_and_its_undoing(key_world: KeyWorld) -> None:
    """It lasts over scans, names the object and its digest in the audit, and is undone. Nothing is destroyed."""
    servers = await key_world.start(1)
    kept = await keeping(key_world, *servers)
    (uid,) = await leave(kept, 0)
    await kept.scan()
    await dismiss(kept, uid)
    assert await kept.scan() == [(0, NAME)]
    (found,) = await kept.unclaimed.list(CALL, kept.manager)
    assert found.of.dismissal is not None
    assert found.of.dismissal.account == CALL.caller.account
    hexadecimal = found.of.dismissal.digest.hex()
    assert hexadecimal not in repr(found)
    await dismiss(kept, uid, undo=True)
    await dismiss(kept, uid, undo=True)
    assert await dismissed(kept) == []
    what = f"unclaimed object {NAME} ({uid}) on 127.0.0.1:{servers[0].port}, digest {hexadecimal}"
    assert await records(kept) == [f"dismissed {what}", f"undid the dismissal of {what}"]
    assert "DESTROY" not in asked(servers[0])


@on_sqlite
@pytest.mark.parametrize("change", ["material", "name", "gone and back"])
async def test_a_dismissal_ends_when_the_object_changes(key_world: KeyWorld, change: str) -> None:
    """Other material, another object under the identifier, or an object that was away: it is listed as a new one."""
    servers = await key_world.start(1)
    kept = await keeping(key_world, *servers)
    (uid,) = await leave(kept, 0)
    await kept.scan()
    await dismiss(kept, uid)
    store = servers[0].responder.store
    if change == "material":
        store.rot(uid)
    elif change == "name":
        (other,) = await leave(kept, 0, OTHER_NAME)
        store.objects[uid] = store.objects.pop(other)
    else:
        away = store.objects.pop(uid)
        assert await kept.scan() == []
        store.objects[uid] = away
    assert await kept.scan() == [(0, OTHER_NAME if change == "name" else NAME)]
    assert await dismissed(kept) == []


@on_sqlite
async def test_what_cannot_be_read_stays_dismissed(key_world: KeyWorld) -> None:
    """A refusal, or a server that does not answer, does not say that the object changed."""
    servers = await key_world.start(1)
    kept = await keeping(key_world, *servers)
    (uid,) = await leave(kept, 0)
    await kept.scan()
    await dismiss(kept, uid)
    (server,) = servers
    canary = {id_ for id_, stored in server.responder.objects.items() if NAME not in stored.names}
    server.responder.store.rot(uid)

    async def refuse(exchange: Exchange) -> None:
        requested: Any = server.requests[-1].batch_item[0].request_payload
        if requested.unique_identifier not in canary:
            server.responder.refusals[Operation.GET] = ResultReason.PERMISSION_DENIED
        await exchange.stream.send(exchange.answer)
        server.responder.refusals.clear()

    for fault in (refuse, only(server, canary)):
        server.request_faults[Operation.GET] = fault
        await kept.scan()
        assert await dismissed(kept) == [uid]
        await again(kept, end=False)
    server.request_faults.clear()
    await kept.scan()
    assert await dismissed(kept) == []


@on_sqlite
async def test_a_pair_is_dismissed_as_a_whole(key_world: KeyWorld) -> None:
    """Either part names both, and a change of one ends the dismissal of both."""
    servers = await key_world.start(1, [of_kind(PAIRS)])
    kept = await keeping(key_world, *servers)
    ids = await leave(kept, 0, form=KeyForm.SYMMETRIC_KEY_PAIR)
    await kept.scan()
    await dismiss(kept, ids[1])
    await kept.scan()
    assert await dismissed(kept) == list(ids)
    servers[0].responder.store.rot(ids[0])
    await kept.scan()
    assert await dismissed(kept) == []


@on_sqlite
async def test_what_cannot_be_dismissed(key_world: KeyWorld) -> None:
    """Refuse what is not listed, what is gone, and a key that is in use; an SVM sees nothing."""
    servers = await key_world.start(1)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    (copy,) = await key_world.copies(key.uuid)
    (uid,) = await leave(kept, 0)
    assert await refusal(kept, uid) is errors.ENTRY_NOT_FOUND
    await kept.scan()
    assert await refusal(kept, copy.unique_identifiers[0]) is errors.ENTRY_NOT_FOUND
    manager = await key_world.store.read(lambda tx: tx.key_manager(kept.manager))
    assert manager is not None
    assert manager.svm is not None
    assert await refusal(kept, uid, call=of(manager.svm)) is errors.ENTRY_NOT_FOUND
    servers[0].request_faults[Operation.GET_ATTRIBUTES] = close
    assert await refusal(kept, uid) is errors.NOT_PUSHED
    servers[0].request_faults.clear()
    await again(kept, end=False)
    servers[0].responder.store.forget(uid)
    assert await refusal(kept, uid) is errors.NOT_PUSHED
    assert await records(kept) == []


@on_sqlite
async def test_a_dismissed_object_can_be_adopted(key_world: KeyWorld) -> None:
    """An administrator may think better of it."""
    kept = await keeping(key_world, *await key_world.start(1))
    (uid,) = await leave(kept, 0)
    await kept.scan()
    await dismiss(kept, uid)
    key = await adopt(kept, 0, uid)
    assert (await key_world.key(key.uuid)).name == "adopted"
    assert await kept.scan() == []
