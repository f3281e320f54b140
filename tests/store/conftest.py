"""A store with something in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.store import samples

if TYPE_CHECKING:
    from keystead.store import SqlStore


@pytest.fixture
async def filled(store: SqlStore) -> SqlStore:
    """Return a store that holds the samples."""
    await store.write(samples.fill)
    return store
