"""The log: a line for each event, and one line in ten minutes for a failure that lasts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import structlog

from keystead.app.logs import REPEATED_S, FirstOfEach
from keystead.app.wiring import running
from keystead.core import events
from keystead.service.announcing import add_events
from keystead.service.ports.store import StoreError
from keystead.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structlog.typing import EventDict

    from keystead.service.ports.store import Transaction
    from tests.peers.keystead import Installation

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Clock:
    """A timer that stands until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def passed(processor: FirstOfEach, **line: object) -> EventDict | None:
    """Return the line that is written, None if it is dropped."""
    try:
        return processor(None, "warning", dict(line))
    except structlog.DropEvent:
        return None


def test_a_lasting_failure_is_one_line_in_ten_minutes() -> None:
    """By text, address and reason; the next line says how many were left out."""
    clock = Clock()
    processor = FirstOfEach(clock)
    line = {"event": "copies not settled yet", "address": "ks1:5696", "why": "connection_refused"}
    assert passed(processor, **line) == line
    clock.now = REPEATED_S - 1
    assert [passed(processor, **line) for _ in range(2)] == [None, None]
    for other in (line | {"address": "ks2:5696"}, line | {"why": "tls_timed_out"}, line | {"event": "other"}):
        assert passed(processor, **other) == other
    clock.now = REPEATED_S
    assert passed(processor, **line) == line | {"repeated": 2}
    assert passed(processor, **line) is None


@pytest.mark.parametrize("line", [{"event": "km.keyserver.notavailable", "address": "ks1:5696"}, {"event": "started"}])
def test_what_is_no_failure_of_an_address_is_never_dropped(line: dict[str, object]) -> None:
    """Events are changes, each is written."""
    processor = FirstOfEach()
    assert [passed(processor, **line) for _ in range(2)] == [line, line]


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    """Yield the lines of the log."""
    with structlog.testing.capture_logs() as found:
        yield found


async def test_each_event_is_a_line_once_it_is_stored(installation: Installation, lines: list[EventDict]) -> None:
    """With its parameters, at the level of its severity; none for a transaction that failed."""
    values = {"vserver": "vs0", "address": "ks1:5696", "public_key": "abc"}
    async with running(Settings(data=installation.data)) as open_:
        (node,) = await open_.store.read(lambda tx: tx.nodes())

        def announce(tx: Transaction) -> None:
            add_events(tx, [kind.happened(node.uuid, NOON, None, values) for kind in KINDS])

        def fail(tx: Transaction) -> None:
            announce(tx)
            raise StoreError("on purpose")

        with pytest.raises(StoreError):
            await open_.store.write(fail)
        await open_.store.write(announce)
    found = [line for line in lines if line["event"].startswith("km.")]
    assert [(line["event"], line["log_level"], line["address"]) for line in found] == [
        ("km.keyserver.confirmed", "error", "ks1:5696"),
        ("km.canary.visible", "info", "ks1:5696"),
    ]


KINDS = (events.SERVER_CONFIRMED, events.CANARY_VISIBLE)
