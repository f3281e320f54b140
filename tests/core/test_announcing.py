"""The rules of what is announced about key servers, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keystead.core import events
from keystead.core.announcing import AnnouncedState, begun, ended, event_values
from keystead.core.model import Node, Observation, Release, State, Svm

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SVM = Svm("svm-1", "vs0")
UP = Observation("node-1", "server-1", "", State.AVAILABLE, NOW)
DOWN = replace(UP, state=State.NOT_RESPONDING, stage="connect", reason="refused")
SLOW = replace(DOWN, stage="tls", reason="timed_out")
UNKNOWN = replace(UP, state=State.UNKNOWN, reason="look_failed")
SHOWN, HIDDEN = replace(UP, keys_visible=True), replace(UP, keys_visible=False)
WELL = AnnouncedState("server-1", "")
LOST = replace(WELL, reason="refused")
WITHOUT_KEYS = replace(WELL, keys_hidden=True)


@pytest.mark.parametrize(
    ("known", "before", "after", "names"),
    [
        (WELL, None, UP, []),
        (WELL, None, DOWN, ["km.keyserver.notavailable"]),
        (WELL, UP, DOWN, ["km.keyserver.notavailable"]),
        (WELL, UNKNOWN, DOWN, ["km.keyserver.notavailable"]),
        (WELL, UP, UNKNOWN, []),
        (LOST, UP, DOWN, []),
        (LOST, UP, SLOW, []),
        (LOST, None, SLOW, []),
        (LOST, DOWN, SLOW, ["km.keyserver.notavailable"]),
        (LOST, SLOW, DOWN, []),
        (LOST, UNKNOWN, DOWN, []),
        (LOST, UNKNOWN, SLOW, ["km.keyserver.notavailable"]),
        (LOST, DOWN, replace(DOWN, latency_ms=5), []),
        (WELL, None, SHOWN, []),
        (WELL, UP, HIDDEN, ["km.canary.notvisible"]),
        (WITHOUT_KEYS, UP, HIDDEN, []),
        (WITHOUT_KEYS, HIDDEN, replace(DOWN, keys_visible=False), ["km.keyserver.notavailable"]),
    ],
)
def test_what_begins(known: AnnouncedState, before: Observation | None, after: Observation, names: list[str]) -> None:
    """A loss that is not announced yet; another reason of it, if this node gave one before; keys that are hidden."""
    assert [kind.name for kind in begun(known, before, after)] == names


@pytest.mark.parametrize(
    ("known", "seen", "names"),
    [
        (LOST, [UP], ["km.keyserver.available"]),
        (LOST, [UP, UNKNOWN], ["km.keyserver.available"]),
        (LOST, [UP, DOWN], []),
        (LOST, [UNKNOWN], []),
        (LOST, [], []),
        (WELL, [UP], []),
        (WITHOUT_KEYS, [SHOWN, UP], ["km.canary.visible"]),
        (WITHOUT_KEYS, [SHOWN, HIDDEN], []),
        (WITHOUT_KEYS, [UP], []),
        (replace(LOST, keys_hidden=True), [SHOWN], ["km.keyserver.available", "km.canary.visible"]),
    ],
)
def test_what_ends(known: AnnouncedState, seen: list[Observation], names: list[str]) -> None:
    """What was announced, once no node says it any more, and one says the opposite."""
    assert [kind.name for kind in ended(known, seen)] == names


def test_what_is_announced_after_events() -> None:
    """Each of the two conditions stands until it is announced as over."""
    lost = WELL.after([events.NOT_AVAILABLE], "refused")
    assert (lost, lost.is_bad) == (LOST, True)
    both = lost.after([events.CANARY_HIDDEN], "refused")
    assert both.after([events.AVAILABLE], "") == WITHOUT_KEYS
    assert both.after([events.AVAILABLE, events.CANARY_VISIBLE], "") == WELL
    assert not WELL.is_bad


def test_an_event_says_what_it_is_about() -> None:
    """It has ONTAP's parameters in order, what each node says, stage and reason; and ONTAP's sentence."""
    nodes = [Node(f"node-{number}", f"n{number}", Release(9, 18, 1)) for number in (1, 2, 3)]
    seen = {"node-1": DOWN, "node-2": UP}
    values = event_values(DOWN, "vs0", "ks1:5696", nodes, seen)
    event = events.NOT_AVAILABLE.happened("node-1", NOW + timedelta(seconds=7), SVM, values)
    assert (event.node, event.severity, event.svm) == ("node-1", "alert", SVM)
    assert event.parameters == (
        ("vserver", "vs0"),
        ("address", "ks1:5696"),
        ("keyserver_status", "not-responding"),
        ("node_states", "n1 not_responding, n2 available, n3 unknown"),
        ("stage", "connect"),
        ("reason", "refused"),
    )
    assert event.log_message == (
        'The external key management server "ks1:5696" is not available for Vserver "vs0", status: "not-responding".'
    )
