"""Who may set, change and delete which attribute of an object, and how many values it has. Pure.

Source: the tables of KMIP 1.4 section 3. An attribute that is not in the table is the client's own: it may have several
values, and the client may set, change and delete them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from keystead.core.applications.model import ObjectAttribute
from keystead.core.applications.refusals import ObjectRefusal, RefusalReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MOST: Final = 256
"""Most attribute values of one object."""

LONGEST: Final = 32 * 1024
"""Most bytes of all encoded attribute values of one object, so that they fit into a descriptor."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule of an attribute: whether it may have several values, and what the client may do with it."""

    several: bool = False
    set_at_creation: bool = True
    add: bool = True
    change: bool = True
    delete: bool = True


_OF_SERVER: Final = Rule(set_at_creation=False, add=False, change=False, delete=False)
_OF_CREATION: Final = Rule(add=False, change=False, delete=False)
_FREE: Final = Rule()
_SEVERAL: Final = Rule(several=True)

RULES: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(
        (
            *("Unique Identifier", "Object Type", "State", "Initial Date", "Destroy Date", "Compromise Date"),
            *("Compromise Occurrence Date", "Revocation Reason", "Last Change Date", "Digest", "Lease Time"),
            *("Archive Date", "Fresh", "Key Value Present", "Original Creation Date", "Random Number Generator"),
            *("Certificate Type", "Certificate Length", "X.509 Certificate Identifier", "X.509 Certificate Subject"),
            *("X.509 Certificate Issuer", "Digital Signature Algorithm", "Always Sensitive", "Never Extractable"),
        ),
        _OF_SERVER,
    ),
    **dict.fromkeys(("Cryptographic Algorithm", "Cryptographic Length"), _OF_CREATION),
    "Cryptographic Usage Mask": Rule(delete=False),
    "Operation Policy Name": _FREE,
    **dict.fromkeys(("Activation Date", "Deactivation Date", "Process Start Date", "Protect Stop Date"), _FREE),
    **dict.fromkeys(("Contact Information", "Description", "Comment", "Sensitive", "Extractable"), _FREE),
    **dict.fromkeys(("Key Format Type", "Protection Storage Mask", "Usage Limits"), _FREE),
    "Cryptographic Domain Parameters": _FREE,
    **dict.fromkeys(("Name", "Alternative Name", "Object Group", "Link", "Cryptographic Parameters"), _SEVERAL),
    "Application Specific Information": _SEVERAL,
}


def rule_of(name: str) -> Rule:
    """Return the rule of an attribute."""
    return RULES.get(name, _SEVERAL)


class Action(StrEnum):
    """What an attribute operation does."""

    ADD = "add"
    MODIFY = "modify"
    DELETE = "delete"
    SET = "set"


@dataclass(frozen=True, slots=True)
class AttributeChange:
    """A change of one attribute.

    ``index`` None means the first value. ``value`` is empty for a deletion; ``text`` is as in :class:`ObjectAttribute`.
    ``SET`` (KMIP 2.x) adds or modifies the only value. ``current`` is the value that is meant (KMIP 2.x), instead of an
    index; empty if none is named.
    """

    action: Action
    name: str
    index: int | None = None
    value: bytes = b""
    text: str = ""
    current: bytes = b""


def at_creation(given: Iterable[ObjectAttribute]) -> tuple[ObjectAttribute, ...]:
    """Return the attributes of a new object, with indexes. Raise ObjectRefusal for one that the client may not set."""
    found: tuple[ObjectAttribute, ...] = ()
    for each in given:
        name, rule = each.name, rule_of(each.name)
        if not rule.set_at_creation:
            raise ObjectRefusal(RefusalReason.ATTRIBUTE_READ_ONLY, f"{name} is set by the server.")
        if not rule.several and _values(found, name):
            raise ObjectRefusal(RefusalReason.ATTRIBUTE_SINGLE_VALUED, f"{name} has one value.")
        found = (*found, replace(each, index=_next_index(found, name)))
    return checked(found)


def changed(attributes: tuple[ObjectAttribute, ...], change: AttributeChange) -> tuple[ObjectAttribute, ...]:
    """Return the attributes after a change. Raise ObjectRefusal if a rule forbids it, or there is no such value."""
    name, rule, there = change.name, rule_of(change.name), _values(attributes, change.name)
    action = change.action
    if action is Action.SET:
        action = Action.MODIFY if there else Action.ADD
    allowed = {Action.ADD: rule.add, Action.MODIFY: rule.change, Action.DELETE: rule.delete}[action]
    if not allowed:
        raise ObjectRefusal(RefusalReason.ATTRIBUTE_READ_ONLY, f"{name} cannot be changed so by a client.")
    if action is Action.ADD:
        if change.index is not None:
            raise ObjectRefusal(RefusalReason.INVALID_FIELD, "A new attribute value gets its index from the server.")
        if there and not rule.several:
            raise ObjectRefusal(RefusalReason.ATTRIBUTE_SINGLE_VALUED, f"The object has a {name} already.")
        return checked((*attributes, ObjectAttribute(name, _next_index(attributes, name), change.value, change.text)))
    meant = _meant(there, change)
    if action is Action.DELETE:
        return tuple(each for each in attributes if each is not meant)
    new = replace(meant, value=change.value, text=change.text)
    return checked(tuple(new if each is meant else each for each in attributes))


def checked(attributes: tuple[ObjectAttribute, ...]) -> tuple[ObjectAttribute, ...]:
    """Return the attributes. Raise ObjectRefusal if they are too many or too long."""
    if len(attributes) > MOST or sum(len(each.value) for each in attributes) > LONGEST:
        limit = f"An object has at most {MOST} attribute values, of {LONGEST} bytes in all."
        raise ObjectRefusal(RefusalReason.INVALID_FIELD, limit)
    return attributes


def _values(attributes: tuple[ObjectAttribute, ...], name: str) -> list[ObjectAttribute]:
    return [each for each in attributes if each.name == name]


def _next_index(attributes: tuple[ObjectAttribute, ...], name: str) -> int:
    return max((each.index + 1 for each in _values(attributes, name)), default=0)


def _meant(there: list[ObjectAttribute], change: AttributeChange) -> ObjectAttribute:
    """Return the value that a change means. Raise ObjectRefusal if there is none."""
    if change.current:
        there = [each for each in there if each.value == change.current]
    elif change.index is not None:
        there = [each for each in there if each.index == change.index]
    if not there:
        reason = RefusalReason.INDEX_OUT_OF_BOUNDS if change.index else RefusalReason.ITEM_NOT_FOUND
        raise ObjectRefusal(reason, f"The object has no such {change.name}.")
    return there[0]
