"""keystead.service.accounts.accounts: what several writers at once cannot do, and what a change is recorded as."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from keystead.core import errors
from keystead.core.accounts import AccountChange, NewAccount
from keystead.core.errors import OntapError
from keystead.core.model import Account, Event
from keystead.core.secret import Secret
from keystead.service.ports.page import Page
from keystead.service.ports.store import StoreError
from tests.service.conftest import CALL

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from keystead.core.errors import ErrorKind
    from tests.service.conftest import World

PASSWORD = Secret("correct-horse-9")


def new(name: str, password: Secret = PASSWORD) -> NewAccount:
    """Return an administrator of the cluster, as a caller asks for one."""
    return NewAccount(name, frozenset({"password"}), password=password)


async def kinds(*work: Coroutine[object, object, object]) -> list[ErrorKind | None]:
    """Return how calls end that are made at once: None is success."""
    ended = await asyncio.gather(*work, return_exceptions=True)
    assert all(isinstance(end, OntapError) or not isinstance(end, BaseException) for end in ended), ended
    return [end.kind if isinstance(end, OntapError) else None for end in ended]


async def test_a_name_is_taken_once(world: World) -> None:
    """Of many that create the same account at once one succeeds, and its password is the one that counts."""
    accounts, passwords = world.services.accounts, [Secret(f"correct-horse-{number}") for number in range(5)]
    ended = await kinds(*(accounts.create(CALL, new("joe-smith", password)) for password in passwords))
    assert sorted(ended, key=str) == [errors.DUPLICATE_ENTRY] * 4 + [None]
    winner = passwords[ended.index(None)]
    assert (await world.services.logins.authenticate("joe-smith", winner, "192.0.2.1")).account == "joe-smith"


@pytest.mark.parametrize("how", ["delete", "lock", "demote"])
async def test_administrators_cannot_remove_each_other(world: World, how: str) -> None:
    """All of them at once: one remains."""
    accounts = world.services.accounts
    names = ["admin", *(f"admin-{number}" for number in range(3))]
    for name in names[1:]:
        await accounts.create(CALL, new(name))
    changes = {"lock": AccountChange(locked=True), "demote": AccountChange(role="readonly")}
    if how == "delete":
        ended = await kinds(*(accounts.delete(CALL, None, name) for name in names))
    else:
        ended = await kinds(*(accounts.change(CALL, None, name, changes[how]) for name in names))
    assert sorted(ended, key=str) == [errors.LAST_ADMIN, None, None, None]
    found = await world.store.read(lambda tx: tx.page(Account, Page().within(role="admin", locked=False)))
    assert [account.name for account in found] == [names[ended.index(errors.LAST_ADMIN)]]


async def test_an_account_that_goes_while_its_password_is_hashed(world: World) -> None:
    """The change finds it gone, and does not bring it back."""
    accounts = world.services.accounts
    await accounts.create(CALL, new("joe-smith"))
    change = accounts.change(CALL, None, "joe-smith", AccountChange(password=Secret("another-horse-7")))
    ended = await kinds(change, accounts.delete(CALL, None, "joe-smith"))
    assert ended == [errors.ENTRY_NOT_FOUND, None]
    assert await world.store.read(lambda tx: tx.account("joe-smith")) is None


async def test_changes_and_refusals_name_the_accounts_svm(world: World) -> None:
    """In the audit log, so that the SVM's own readers find them."""
    svm = await world.services.svms.create(CALL, "vs1")
    accounts = world.services.accounts
    await accounts.create(CALL, NewAccount("joe-smith", frozenset({"certificate"}), owner_name="vs1"))
    with pytest.raises(OntapError) as refused:
        await accounts.change(CALL, svm.uuid, "joe-smith", AccountChange(password=PASSWORD))
    assert refused.value.svm == svm
    await accounts.delete(CALL, svm.uuid, "joe-smith")
    (node,) = await world.store.read(lambda tx: tx.nodes())
    records = await world.store.read(lambda tx: tx.audit_records(node.uuid, 1, 1000))
    assert [(record.svm, record.message) for record in records[-2:]] == [
        ("vs1", "created account joe-smith, role vsadmin"),
        ("vs1", "deleted account joe-smith"),
    ]


async def test_a_grant_of_key_reading_is_announced_with_the_change(world: World) -> None:
    """For each owner, once for each way in; refused changes announce nothing."""
    svm = await world.services.svms.create(CALL, "vs1")
    accounts = world.services.accounts
    reader = NewAccount("vs1-reader", frozenset({"certificate"}), owner_name="vs1", role="key-reader")
    await accounts.create(CALL, reader)
    await accounts.create(CALL, new("joe-smith"))
    await accounts.change(CALL, None, "joe-smith", AccountChange(role="key-reader", password=Secret("another-1")))
    await accounts.change(CALL, None, "joe-smith", AccountChange(comment="nothing new"))
    with pytest.raises(OntapError):
        await accounts.change(CALL, None, "joe-smith", AccountChange(password=Secret("short")))
    await accounts.reset_password("vs1-reader", "vs1", PASSWORD)
    found = await world.store.read(lambda tx: tx.page(Event, Page()))
    assert [(each.name, each.svm, dict(each.parameters)) for each in sorted(found, key=lambda event: event.index)] == [
        ("km.keyreader.granted", svm, {"vserver": "vs1", "account": "vs1-reader", "change": "created"}),
        (
            "km.keyreader.granted",
            None,
            {"vserver": "keystead", "account": "joe-smith", "change": "role, password"},
        ),
        ("km.account.passwordreset", svm, {"vserver": "vs1", "account": "vs1-reader"}),
        ("km.keyreader.granted", svm, {"vserver": "vs1", "account": "vs1-reader", "change": "password"}),
    ]
    assert {each.severity for each in found} == {"alert"}


async def test_a_grant_that_cannot_be_announced_is_none(world: World) -> None:
    """Change and event are one transaction."""
    with world.open.store.database.writer.begin() as connection:
        connection.execute(text("ALTER TABLE events RENAME TO gone"))
    reader = NewAccount("reader", frozenset({"password"}), role="key-reader", password=PASSWORD)
    with pytest.raises(StoreError):
        await world.services.accounts.create(CALL, reader)
    assert await world.store.read(lambda tx: tx.account("reader")) is None
