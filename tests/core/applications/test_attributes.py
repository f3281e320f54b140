"""The rules of an object's attributes."""

from __future__ import annotations

import pytest

from keystead.core.applications.attributes import LONGEST, MOST, RULES, Action, AttributeChange, at_creation, changed
from keystead.core.applications.model import ObjectAttribute
from keystead.core.applications.refusals import ObjectRefusal, RefusalReason


def named(*texts: str) -> list[ObjectAttribute]:
    """Return values of Name."""
    return [ObjectAttribute("Name", 0, text.encode(), text) for text in texts]


def test_indexes_are_given_and_stay() -> None:
    """A deleted value leaves a gap, and its index is not given to another value while a later one exists."""
    first = at_creation(named("a", "b", "c"))
    assert [each.index for each in first] == [0, 1, 2]
    after = changed(first, AttributeChange(Action.DELETE, "Name", 1))
    assert [(each.index, each.text) for each in after] == [(0, "a"), (2, "c")]
    added = changed(after, AttributeChange(Action.ADD, "Name", value=b"d", text="d"))
    assert [(each.index, each.text) for each in added] == [(0, "a"), (2, "c"), (3, "d")]
    modified = changed(added, AttributeChange(Action.MODIFY, "Name", 2, b"e", "e"))
    assert [each.text for each in modified] == ["a", "e", "d"]


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if not rule.set_at_creation])
def test_what_the_server_sets(name: str) -> None:
    """No client may set, add, change or delete it."""
    with pytest.raises(ObjectRefusal) as refused:
        at_creation([ObjectAttribute(name, 0, b"x")])
    assert refused.value.reason is RefusalReason.ATTRIBUTE_READ_ONLY
    there = (ObjectAttribute(name, 0, b"x"),)
    for action in Action:
        with pytest.raises(ObjectRefusal):
            changed(there, AttributeChange(action, name, value=b"y"))


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.set_at_creation and not rule.several])
def test_what_has_one_value(name: str) -> None:
    """A second value is refused."""
    (one,) = at_creation([ObjectAttribute(name, 0, b"x")])
    with pytest.raises(ObjectRefusal):
        at_creation([one, one])
    with pytest.raises(ObjectRefusal):
        changed((one,), AttributeChange(Action.ADD, name, value=b"y"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (AttributeChange(Action.MODIFY, "Name", 7, b"y"), RefusalReason.INDEX_OUT_OF_BOUNDS),
        (AttributeChange(Action.DELETE, "Object Group"), RefusalReason.ITEM_NOT_FOUND),
        (AttributeChange(Action.ADD, "Name", 0, b"y"), RefusalReason.INVALID_FIELD),
        (AttributeChange(Action.DELETE, "Name", current=b"other"), RefusalReason.ITEM_NOT_FOUND),
        (AttributeChange(Action.DELETE, "Cryptographic Usage Mask"), RefusalReason.ATTRIBUTE_READ_ONLY),
        (AttributeChange(Action.ADD, "x-large", value=bytes(LONGEST)), RefusalReason.INVALID_FIELD),
    ],
)
def test_what_is_refused(change: AttributeChange, reason: RefusalReason) -> None:
    """With the specification's reason."""
    with pytest.raises(ObjectRefusal) as refused:
        changed(at_creation(named("a")), change)
    assert refused.value.reason is reason


def test_set_adds_or_modifies() -> None:
    """KMIP 2.x has one operation for both."""
    added = changed((), AttributeChange(Action.SET, "Contact Information", value=b"x"))
    assert [each.value for each in added] == [b"x"]
    assert [each.value for each in changed(added, AttributeChange(Action.SET, "Contact Information", value=b"y"))] == [
        b"y"
    ]


def test_too_many() -> None:
    """The number of values has a limit."""
    with pytest.raises(ObjectRefusal):
        at_creation(named(*map(str, range(MOST + 1))))
