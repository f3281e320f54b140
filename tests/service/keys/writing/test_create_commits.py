"""When the outcome of a commit is unknown nothing is destroyed, and the key is found committed or aborted later."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from keystead.core import errors
from keystead.core.keys.model import AttemptState, KeyState, Presence
from keystead.service.ports.store import StoreError
from tests.peers.database_link import database_link
from tests.service.worlds.keys import asked, held, nothing_was_ended, on_sqlite

if TYPE_CHECKING:
    from tests.peers.database_link import Lost
    from tests.peers.postgres import PostgresServer
    from tests.service.worlds.keys import KeyWorld

INTENT, END, NOTE = 1, 2, 3
"""The commits of a creation, in order."""

PENDING, COMMITTED = KeyState.PENDING, KeyState.COMMITTED


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("commit", "lost", "state", "sent"),
    [
        (INTENT, "request", None, False),
        (INTENT, "answer", PENDING, False),
        (END, "request", PENDING, True),
        (END, "answer", COMMITTED, True),
        (NOTE, "request", COMMITTED, True),
        (NOTE, "answer", COMMITTED, True),
    ],
)
async def test_a_link_that_breaks_in_a_commit(
    key_world: KeyWorld, postgres: PostgresServer, commit: int, lost: Lost, state: KeyState | None, sent: bool
) -> None:
    """Nothing is sent unless the intent's commit is known; a key is found pending, or committed and whole."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    with database_link(postgres, key_world.home.database) as (url, link):
        node = await key_world.node(url)
        link.cut(commit, lost)
        if commit == NOTE:
            await node.create(manager)
        else:
            with pytest.raises(StoreError, match="during the commit"):
                await node.create(manager)
        key = await key_world.named(manager)
        assert (key.state if key else None) is state
        assert [bool(held(server)) for server in servers] == [sent, sent]
        assert nothing_was_ended(*servers)
        if key is None or state is PENDING:
            assert key is None or await key_world.abort(key.uuid)
            assert (await node.create(manager)).state is COMMITTED
            return
        assert not await key_world.abort(key.uuid)
        assert await key_world.presences(key.uuid) == 2 * [Presence.PRESENT]
        error = await node.refused(manager)
        assert (error.kind, error.arguments[0]) == (errors.DUPLICATE_ENTRY, ("key_id", key.key_id))


@on_sqlite
@pytest.mark.parametrize("commit", [INTENT, END, NOTE])
async def test_a_disk_that_fails_in_a_commit(key_world: KeyWorld, commit: int) -> None:
    """What SQLite could not write did not happen: no intent, and nothing sent; or no end, and nothing destroyed."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    node = await key_world.node()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    commits = []

    def no_room(_: object) -> None:
        commits.append(1)
        if len(commits) == commit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))

    def room(_: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    event.listen(node.store.database.writer, "commit", no_room)
    event.listen(node.store.database.writer, "handle_error", room)
    try:
        if commit == NOTE:
            await node.create(manager)
        else:
            with pytest.raises(StoreError):
                await node.create(manager)
    finally:
        room(None)
    key = await key_world.named(manager)
    assert (key.state if key else None) is {INTENT: None, END: PENDING, NOTE: COMMITTED}[commit]
    assert [len(asked(server)) > 0 for server in servers] == 2 * [commit != INTENT]
    assert nothing_was_ended(*servers)
    if key is not None:
        (attempt,) = await key_world.attempts(key.uuid)
        assert attempt.state is (AttemptState.COMMITTED if commit == NOTE else AttemptState.PENDING)
