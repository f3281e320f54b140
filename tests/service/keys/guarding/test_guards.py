"""The guards of keys: which servers may go, move, or be reached in another way, and what is known after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.service.keys.guarding import pages as key_pages
from tests.service.keys.guarding.certificates import IDENTITIES
from tests.service.keys.guarding.moves import MOVES
from tests.service.keys.guarding.removals import REMOVALS
from tests.service.keys.guarding.secondaries import SECONDARIES
from tests.service.worlds.guards import Before, built
from tests.service.worlds.keys import CALL, KeyWorld, on_sqlite

if TYPE_CHECKING:
    from tests.service.worlds.guards import Case

TABLES = {"removal": REMOVALS, "secondary": SECONDARIES, "move": MOVES, "identity": IDENTITIES}

CASES = [
    pytest.param(engine, case, id=f"{kind}: {case.name}-{engine}")
    for kind, table in TABLES.items()
    for case in table
    for engine in ("sqlite", "postgresql")[: 1 + case.both]
]


@pytest.mark.parametrize(("database_url", "case"), CASES, indirect=["database_url"])
async def test_guards(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    """Keys are readable as before, or nothing changes: one row of the tables, step by step."""
    monkeypatch.setattr(key_pages, "PAGE", case.before.page)
    guards = await built(key_world, case.before)
    for number, each in enumerate(case.steps, 1):
        try:
            await each.does(guards)
        except BaseException as failure:
            failure.add_note(f"step {number} of {case.name!r}: {each.text}")
            raise


@on_sqlite
async def test_there_is_no_key_manager(key_world: KeyWorld) -> None:
    """Raise 4 for the detached servers of a key manager that is not there."""
    guards = await built(key_world, Before("a", keys=()))
    with pytest.raises(OntapError) as raised:
        await guards.changing.guard.detached(CALL, "no key manager")
    assert raised.value.kind is errors.ENTRY_NOT_FOUND
