"""Callers of a cluster that call all the time, and the keys that they create and read."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import click
import psycopg

if TYPE_CHECKING:
    from keystead.cli.client import Api

Connect = Callable[[], contextlib.AbstractContextManager[Any]]


class Callers:
    """Threads that call without a pause, each on a connection that it keeps until a call fails.

    Each has a way to connect, and what it calls with a connection.
    """

    def __init__(self, *callers: tuple[Connect, Callable[[Any], object]]) -> None:
        self.done: list[tuple[float, float]] = []
        """When each call that succeeded began and ended."""
        self.failed: list[tuple[float, str]] = []
        """When each call that failed began, and why."""
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=each, daemon=True) for each in callers]

    def __enter__(self) -> Self:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for each in self._threads:
            each.join()

    def longest_gap(self, since: float) -> tuple[float, float]:
        """Return begin and end of the longest time without a call that succeeded, of those that end after a moment."""
        pairs = itertools.pairwise(sorted(end for _, end in self.done))
        return max((pair for pair in pairs if pair[1] > since), key=lambda pair: pair[1] - pair[0])

    def _work(self, connect: Connect, call: Callable[[Any], object]) -> None:
        while not self._ending.is_set():
            started = time.monotonic()
            try:
                with connect() as connection:
                    while not self._ending.is_set():
                        started = time.monotonic()
                        call(connection)
                        self.done.append((started, time.monotonic()))
            except (click.ClickException, psycopg.Error) as error:
                self.failed.append((started, str(error)))
                time.sleep(0.02)


class Keys:
    """The keys of one key manager, as callers create and read them."""

    def __init__(self, key_manager: str) -> None:
        self.created: list[str] = []
        self._path = f"/security/key-managers/{key_manager}/volume-keys"
        self._known: dict[str, str] = {}
        self._numbers = itertools.count()

    def create(self, api: Api) -> None:
        """Create another one."""
        (key,) = api.create(self._path, {"name": f"vol{next(self._numbers)}"})
        self.created.append(key["key_id"])

    def read_all(self, api: Api) -> None:
        """Read all that were created, so that the node has them in memory."""
        self._known = {key: self._material(api, key) for key in self.created}

    def read_one(self, api: Api) -> None:
        """Read one of those again. Raise ClickException if it is another key."""
        key = random.choice(list(self._known))  # noqa: S311 - no secret
        if self._material(api, key) != self._known[key]:
            raise click.ClickException(f"{key} is another key")

    def _material(self, api: Api, key: str) -> str:
        return str(api.call("POST", f"{self._path}/{key}/retrieve")["material"])
