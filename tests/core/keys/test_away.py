"""Key servers that cannot be read now, as tables of what the nodes observed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keystead.core.availability import SILENT_AFTER
from keystead.core.keys.away import Away, away, readable_hosts
from keystead.core.model import ONTAP_LEVEL, KeyServer, Node, Observation, State
from keystead.core.server_address import ServerAddress

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
UP, DOWN, UNKNOWN = State.AVAILABLE, State.NOT_RESPONDING, State.UNKNOWN
SERVER = KeyServer("a", "km", 0, ServerAddress("a.example", 5696), 25, 10, "", ("second",))


def node(uuid: str, silent_for: timedelta = timedelta()) -> Node:
    """Return a node whose last sign of life is this old."""
    return Node(uuid, f"name of {uuid}", ONTAP_LEVEL, heard_at=NOON - silent_for)


def seen(by: str, host: str, state: State, *, visible: bool | None = None) -> Observation:
    """Return what a node observed of an address of the server."""
    return Observation(by, "a", host, state, NOON, keys_visible=visible)


@pytest.mark.parametrize(
    ("observations", "reason"),
    [
        pytest.param([seen("1", "", UP, visible=True)], None, id="answers and shows its keys"),
        pytest.param([seen("1", "", UP)], None, id="was not asked for its keys yet"),
        pytest.param([seen("1", "", UP, visible=False)], Away.KEYS_HIDDEN, id="hides its keys"),
        pytest.param(
            [seen("1", "", UP, visible=True), seen("2", "", UP, visible=False)],
            Away.KEYS_HIDDEN,
            id="hides its keys from one node",
        ),
        pytest.param([seen("1", "", DOWN, visible=True)], Away.NOT_RESPONDING, id="does not respond"),
        pytest.param([seen("1", "", DOWN), seen("2", "", UP)], None, id="responds to one of two nodes"),
        pytest.param([], Away.UNKNOWN, id="nobody looked"),
        pytest.param([seen("1", "", UNKNOWN, visible=True)], Away.UNKNOWN, id="unknown"),
        pytest.param([seen("3", "", UP, visible=True)], Away.UNKNOWN, id="only a silent node looked"),
        pytest.param([seen("1", "", DOWN), seen("1", "second", UP, visible=True)], None, id="the secondary shows keys"),
        pytest.param(
            [seen("1", "", DOWN), seen("1", "second", UP)], Away.KEYS_HIDDEN, id="the secondary may lack them"
        ),
        pytest.param(
            [seen("1", "", DOWN), seen("1", "second", DOWN, visible=True)], Away.NOT_RESPONDING, id="both are lost"
        ),
        pytest.param([seen("1", "removed", UP, visible=True)], Away.UNKNOWN, id="an address of before"),
    ],
)
def test_whether_a_server_can_be_read_now(observations: list[Observation], reason: Away | None) -> None:
    """One address that answers and shows its keys is enough; a node that is silent says nothing."""
    nodes = [node("1"), node("2"), node("3", SILENT_AFTER + timedelta(seconds=1))]
    assert away([SERVER], observations, nodes) == ({} if reason is None else {"a": reason})


@pytest.mark.parametrize(
    ("observations", "host"),
    [
        pytest.param([seen("1", "", UP)], "", id="the primary"),
        pytest.param([seen("1", "", UP), seen("1", "second", UP, visible=True)], "", id="the primary first"),
        pytest.param([seen("1", "", DOWN), seen("1", "second", UP, visible=True)], "second", id="the secondary"),
        pytest.param([seen("1", "", DOWN), seen("1", "second", UP)], None, id="neither"),
        pytest.param([], None, id="nobody looked"),
    ],
)
def test_where_a_server_can_be_read_now(observations: list[Observation], host: str | None) -> None:
    """At its primary, else at a secondary; exactly the servers that are not away."""
    found = readable_hosts([SERVER], observations, [node("1")])
    assert found == ({} if host is None else {"a": host})
    assert bool(found) is not bool(away([SERVER], observations, [node("1")]))
