"""The table of events: parameters, texts, and the visibility of parameters."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from string import Formatter

import pytest

from keystead.core.events import KINDS, NOT_AVAILABLE, EventKind, shown

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
VALUES = {
    "vserver": "vs0",
    "address": "ks1:5696",
    "keyserver_status": "not-responding",
    "node_states": "",
    "stage": "tls",
    "reason": "r",
}
EVENT = NOT_AVAILABLE.happened("node-1", NOW, None, VALUES)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_text_uses_only_parameters_that_everybody_sees(kind: EventKind) -> None:
    """The sentence of an event cannot tell what its parameters keep from some callers."""
    used = {name for _, name, _, _ in Formatter().parse(kind.text) if name}
    assert used - {"shown_by"} <= set(kind.parameters)  # which says the parameter key_server in words


def test_an_event_without_a_value_is_a_mistake() -> None:
    """An event that lacks the value of a parameter is refused."""
    with pytest.raises(KeyError):
        NOT_AVAILABLE.happened("node-1", NOW, None, {"vserver": "vs0"})


def test_what_a_failure_looked_like_is_for_the_whole_cluster_only() -> None:
    """A caller of an SVM does not see stage and reason, but sees every parameter of an unknown event."""
    assert dict(shown(EVENT, whole_cluster=True)) == VALUES
    assert [name for name, _ in shown(EVENT, whole_cluster=False)] == [
        "vserver",
        "address",
        "keyserver_status",
        "node_states",
    ]
    assert shown(replace(EVENT, name="km.gone"), whole_cluster=False) == EVENT.parameters


def test_the_order_of_events_is_that_of_time() -> None:
    """Lists of events are in the order of time, then node and index."""
    later = replace(EVENT, time=NOW.replace(hour=13), index=1)
    second = replace(EVENT, index=10)
    first = replace(EVENT, index=9)
    assert sorted([later, second, first], key=lambda event: event.key) == [first, second, later]
