"""Filters of events: rules in order, of which the first that matches an event includes or excludes it. Pure.

What no rule matches is excluded. ONTAP shows this as a last rule of each filter, and so does Keystead. Source: ONTAP
REST API reference, ``/support/ems/filters``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from keystead.core import errors
from keystead.core.errors import OntapError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from keystead.core.model import Event

ANY: Final = "*"
SEVERITIES: Final = ("emergency", "alert", "error", "notice", "informational", "debug")

MOST_FILTERS: Final = 50
MOST_RULES: Final = 128

_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9_])", re.ASCII)
_PATTERN: Final = re.compile(r"[a-z0-9._*-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule. ``name_pattern`` may have wildcards; ``severities`` are joined by commas, or ``*``."""

    type: str
    name_pattern: str = ANY
    severities: str = ANY

    def matches(self, event: Event) -> bool:
        """Return True if the rule says something about the event."""
        severe = self.severities == ANY or event.severity in self.severities.split(",")
        return severe and fnmatchcase(event.name, self.name_pattern)


REST: Final = Rule("exclude")
"""The last rule of each filter. It is shown, and not stored."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter with the rules that were written. ``system_defined`` filters are never changed."""

    name: str
    rules: tuple[Rule, ...] = ()
    system_defined: bool = False

    def includes(self, event: Event) -> bool:
        """Return True if the first rule that matches includes the event."""
        return next((rule.type == "include" for rule in self.rules if rule.matches(event)), False)


SYSTEM_DEFINED: Final = (
    Filter("important-events", (Rule("include", severities="emergency,alert"),), system_defined=True),
    Filter("no-info-debug-events", (Rule("include", severities="emergency,alert,error,notice"),), system_defined=True),
)
"""ONTAP's own filters, except the one for SNMP traps."""


def new_filter(name: str, rules: Sequence[Mapping[str, Any]], others: Iterable[Filter]) -> Filter:
    """Return the filter that the body of a POST describes. ``others`` are all filters that there are."""
    known = [each.name for each in others]
    if not _NAME.fullmatch(name):
        raise OntapError(errors.EMS_NAME_INVALID, target="name")
    if name in known:
        raise OntapError(errors.DUPLICATE_ENTRY, target="name")
    if len(known) >= MOST_FILTERS:
        raise _invalid("name", f"there are {MOST_FILTERS} filters already")
    return with_rules(Filter(name), rules)


def with_rules(of: Filter, rules: Sequence[Mapping[str, Any]]) -> Filter:
    """Return a filter with other rules, in the order of their indexes. Raises 983113 for one that is the system's."""
    ordered = sorted(enumerate(rules, 1), key=lambda each: each[1].get("index", each[0]))
    return _with(of, [_rule(values) for _, values in ordered])


def with_rule(of: Filter, values: Mapping[str, Any]) -> tuple[Filter, int]:
    """Return a filter with one more rule, and its index: the one that is wanted, or the last. Raises 983092."""
    index = values.get("index", len(of.rules) + 1)
    _check_index(index, len(of.rules) + 1)
    rules = [*of.rules]
    rules.insert(index - 1, _rule(values))
    return _with(of, rules), index


def without_rule(of: Filter, index: int, values: Mapping[str, Any] | None = None) -> Filter:
    """Return a filter without one of its rules, or with other ``values`` of this rule. Raises 983092."""
    _check_index(index, len(of.rules))
    rule = of.rules[index - 1]
    before = {"type": rule.type, "message_criteria": {"name_pattern": rule.name_pattern, "severities": rule.severities}}
    changed = [] if values is None else [_rule(_merged(before, values))]
    return _with(of, [*of.rules[: index - 1], *changed, *of.rules[index:]])


def _merged(before: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    criteria = before["message_criteria"] | values.get("message_criteria", {})
    return {**before, **values, "message_criteria": criteria}


def _with(of: Filter, rules: Sequence[Rule]) -> Filter:
    if of.system_defined:
        raise OntapError(errors.EMS_SYSTEM_FILTER, target="name")
    written = [*rules]
    while written and written[-1] == REST:  # clients write back what they have read
        written.pop()
    if len(written) > MOST_RULES:
        raise _invalid("rules", f"a filter has at most {MOST_RULES} rules")
    return Filter(of.name, tuple(written))


def _rule(values: Mapping[str, Any]) -> Rule:
    criteria = values.get("message_criteria") or {}
    pattern, severities = criteria.get("name_pattern", ANY).lower(), criteria.get("severities", ANY).lower()
    if not {"name_pattern", "severities"} & criteria.keys():
        raise OntapError(errors.EMS_RULE_EMPTY, target="message_criteria")
    if not _PATTERN.fullmatch(pattern):
        raise _invalid("message_criteria.name_pattern", "the name of an event, in which * stands for any text")
    named = [each.strip() for each in severities.split(",")]
    if severities != ANY and not set(named) <= {*SEVERITIES}:
        raise _invalid("message_criteria.severities", f"* or some of {', '.join(SEVERITIES)}, with commas between them")
    return Rule(values["type"], pattern, ",".join(named))


def _check_index(index: int, most: int) -> None:
    if not 1 <= index <= most:
        raise OntapError(errors.EMS_RULE_INDEX, target="index")


def _invalid(field: str, reason: str) -> OntapError:
    return OntapError(errors.INVALID_VALUE, target=field, field=field, reason=reason)
