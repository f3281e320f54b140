"""The search for exceptions that nobody retrieved finds one: a search that finds nothing proves nothing."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.peers.unretrieved import Unretrieved

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


async def test_an_exception_that_nobody_retrieves_is_found(unretrieved: Unretrieved) -> None:
    """With its text and traceback."""

    async def fails() -> None:
        raise ValueError("lost on the way")

    task = asyncio.create_task(fails())
    await asyncio.wait({task})
    del task
    gc.collect()
    (said,) = unretrieved.take()
    assert "Task exception was never retrieved" in said
    assert "lost on the way" in said


async def test_an_exception_that_is_retrieved_is_not_found(unretrieved: Unretrieved) -> None:
    """Nor another thing that asyncio logs."""
    future = asyncio.get_running_loop().create_future()
    future.set_exception(ValueError("retrieved"))
    assert isinstance(future.exception(), ValueError)
    del future
    gc.collect()
    asyncio.get_running_loop().call_exception_handler({"message": "something else"})
    assert unretrieved.take() == []
