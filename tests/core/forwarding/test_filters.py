"""keystead.core.forwarding.filters: which events a filter includes, and how rules are written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from keystead.core import errors
from keystead.core.errors import ErrorKind, OntapError
from keystead.core.forwarding.filters import (
    MOST_FILTERS,
    MOST_RULES,
    SYSTEM_DEFINED,
    Filter,
    Rule,
    new_filter,
    with_rule,
    with_rules,
    without_rule,
)
from keystead.core.model import Event

LOST = "km.keyserver.notavailable"
ANY_RULE = {"type": "include", "message_criteria": {"severities": "alert"}}
THREE = Filter("three", (Rule("include", "a.*"), Rule("exclude", "b.*"), Rule("include", "c.*")))


def event(name: str = LOST, severity: str = "alert") -> Event:
    """An event of the cluster."""
    return Event("n1", 1, datetime(2026, 1, 1, tzinfo=UTC), name, severity, None, (), "text")


def rule(**criteria: str) -> dict[str, Any]:
    """The body of a rule that includes."""
    return {"type": "include", "message_criteria": criteria}


@pytest.mark.parametrize(
    ("rules", "included"),
    [
        ((), False),
        ((Rule("include"),), True),
        ((Rule("exclude"), Rule("include")), False),
        ((Rule("include", "km.*"), Rule("exclude")), True),
        ((Rule("include", "km.keyserver"),), False),
        ((Rule("include", "*available", "error,alert"),), True),
        ((Rule("include", LOST, "error,notice"),), False),
        ((Rule("exclude", severities="debug"), Rule("include", "k*r.n*e")), True),
    ],
)
def test_the_first_rule_that_matches_decides(rules: tuple[Rule, ...], included: bool) -> None:
    """Name and severity must both match; what no rule matches is excluded."""
    assert Filter("f", rules).includes(event()) is included


@pytest.mark.parametrize(
    ("name", "severities"),
    [("important-events", {"emergency", "alert"}), ("no-info-debug-events", {"emergency", "alert", "error", "notice"})],
)
def test_the_systems_filters(name: str, severities: set[str]) -> None:
    """As ONTAP has them."""
    found = next(each for each in SYSTEM_DEFINED if each.name == name)
    every = ("emergency", "alert", "error", "notice", "informational", "debug")
    assert {each for each in every if found.includes(event(severity=each))} == severities


def test_rules_as_they_are_written() -> None:
    """A criterion that is not given matches all; letters are folded; rules with an index are ordered by it."""
    made = new_filter("f1", [rule(name_pattern="KM.*"), rule(severities="Alert, ERROR")], ())
    assert made.rules == (Rule("include", "km.*"), Rule("include", "*", "alert,error"))
    ordered = with_rules(made, [rule(name_pattern="b") | {"index": 2}, rule(name_pattern="a") | {"index": 1}])
    assert [each.name_pattern for each in ordered.rules] == ["a", "b"]


def test_the_last_rule_may_be_written_back() -> None:
    """Clients send what they have read, with the rule that excludes the rest."""
    rest = {"type": "exclude", "message_criteria": {"name_pattern": "*", "severities": "*"}}
    assert with_rules(Filter("f1"), [rule(name_pattern="a"), rest]).rules == (Rule("include", "a"),)


def test_rules_one_by_one() -> None:
    """Add at a place or at the end, change what is named, and delete."""
    added, index = with_rule(THREE, rule(name_pattern="d") | {"index": 2})
    assert ([each.name_pattern for each in added.rules], index) == (["a.*", "d", "b.*", "c.*"], 2)
    assert with_rule(THREE, ANY_RULE)[1] == 4
    changed = without_rule(THREE, 2, {"type": "include", "message_criteria": {"severities": "debug"}})
    assert changed.rules[1] == Rule("include", "b.*", "debug")
    assert without_rule(THREE, 1).rules == THREE.rules[1:]


@pytest.mark.parametrize(
    ("criteria", "kind"),
    [
        ({}, errors.EMS_RULE_EMPTY),
        ({"snmp_trap_types": "*"}, errors.EMS_RULE_EMPTY),
        ({"severities": "nosuch"}, errors.INVALID_VALUE),
        ({"severities": ""}, errors.INVALID_VALUE),
        ({"severities": "alert,*"}, errors.INVALID_VALUE),
        ({"name_pattern": ""}, errors.INVALID_VALUE),
        ({"name_pattern": "a b"}, errors.INVALID_VALUE),
        ({"name_pattern": "[a]"}, errors.INVALID_VALUE),
        ({"name_pattern": "x" * 200}, errors.INVALID_VALUE),
    ],
)
def test_bad_rules(criteria: dict[str, str], kind: ErrorKind) -> None:
    """Each is refused."""
    with pytest.raises(OntapError) as caught:
        new_filter("f1", [rule(**criteria)], ())
    assert caught.value.kind is kind


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda: new_filter("a b", (), ()), errors.EMS_NAME_INVALID),
        (lambda: new_filter("three", (), [THREE]), errors.DUPLICATE_ENTRY),
        (
            lambda: new_filter("f", (), [Filter(f"f{number}") for number in range(MOST_FILTERS)]),
            errors.EMS_NAME_INVALID,
        ),
        (lambda: new_filter("ff", (), [Filter(f"f{number}") for number in range(MOST_FILTERS)]), errors.INVALID_VALUE),
        (lambda: with_rules(THREE, [ANY_RULE] * (MOST_RULES + 1)), errors.INVALID_VALUE),
        (lambda: with_rules(SYSTEM_DEFINED[0], []), errors.EMS_SYSTEM_FILTER),
        (lambda: with_rule(SYSTEM_DEFINED[0], ANY_RULE), errors.EMS_SYSTEM_FILTER),
        (lambda: without_rule(SYSTEM_DEFINED[0], 1), errors.EMS_SYSTEM_FILTER),
        (lambda: with_rule(THREE, ANY_RULE | {"index": 5}), errors.EMS_RULE_INDEX),
        (lambda: without_rule(THREE, 4), errors.EMS_RULE_INDEX),
        (lambda: without_rule(THREE, 0, {}), errors.EMS_RULE_INDEX),
    ],
)
def test_what_is_refused(call: Any, kind: ErrorKind) -> None:
    """Names, numbers, places, and the system's filters."""
    with pytest.raises(OntapError) as caught:
        call()
    assert caught.value.kind is kind
