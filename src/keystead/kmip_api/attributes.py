"""Attributes between messages and stored objects, in the 1.x and the 2.x form.

A stored attribute is an Attribute structure of KMIP 1.4. What the server itself knows of an object is made into
attributes here. KMIP 1.4 section 3, KMIP 2.1 section 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystead.core.applications.model import ObjectAttribute
from keystead.core.applications.refusals import ObjectRefusal, RefusalReason
from keystead.kmip.messages.attributes import (
    ATTRIBUTES,
    TAGS,
    Attribute,
    AttributeReference,
    Attributes,
    Name,
    RevocationReason,
    TemplateAttribute,
    VendorAttribute,
)
from keystead.kmip.ttlv import schema, tags
from keystead.kmip.ttlv.enums import State
from keystead.kmip.ttlv.errors import KMIPError
from keystead.kmip.ttlv.ttlv import DEFAULT_LIMITS
from keystead.kmip.ttlv.versions import V1_0, V1_1, V1_2, V1_3, V1_4, V2_0, Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from keystead.core.applications.model import ApplicationObject

NAME: Final = "Name"
ACTIVATION_DATE: Final = "Activation Date"
REVOCATION_REASON: Final = "Revocation Reason"

_OWN_PREFIXES: Final = ("x-", "y-")
"""How names of attributes outside the specification begin in 1.x."""

_SINCE: Final[Mapping[str, Version]] = {
    "Fresh": V1_1,
    **dict.fromkeys(("Alternative Name", "Key Value Present", "Key Value Location", "Original Creation Date"), V1_2),
    "Random Number Generator": V1_3,
    **dict.fromkeys(("PKCS#12 Friendly Name", "Description", "Comment", "Sensitive", "Always Sensitive"), V1_4),
    **dict.fromkeys(("Extractable", "Never Extractable"), V1_4),
    **dict.fromkeys(("Key Format Type", "NIST Key Type", "Protection Level", "Protection Period"), V2_0),
    **dict.fromkeys(("Protection Storage Mask", "Quantum Safe", "Short Unique Identifier"), V2_0),
}
"""The version in which an attribute came. Those that are not here are of 1.0."""

_UNTIL: Final = {"Operation Policy Name": V2_0}
"""The version in which an attribute was no more."""


def is_known(name: str, version: Version) -> bool:
    """Return True if this version has the attribute, or if it is the client's own."""
    if name not in ATTRIBUTES:
        return name.startswith(_OWN_PREFIXES) or version >= V2_0
    until = _UNTIL.get(name)
    return _SINCE.get(name, V1_0) <= version and (until is None or version < until)


# --- from messages ---


def given(template: TemplateAttribute | None, attributes: Attributes | None) -> tuple[Attribute, ...]:
    """Return the attributes of a request in either form.

    A Template-Attribute that names templates is refused, because Keystead has no templates.
    """
    if template is not None and template.name:
        raise ObjectRefusal(RefusalReason.ITEM_NOT_FOUND, "There are no templates here.")
    found = [*(template.attribute if template else ()), *(attributes.attributes if attributes else ())]
    return tuple(named(each) for each in found)


def named(given_: Attribute | VendorAttribute) -> Attribute:
    """Return an attribute of a message under its name in 1.x."""
    if isinstance(given_, VendorAttribute):
        return Attribute(_own_name(given_.vendor_identification, given_.attribute_name), None, given_.attribute_value)
    return given_


def the_one(attributes: Attributes | None) -> Attribute:
    """Return the only attribute of a 2.x structure. Raises ObjectRefusal."""
    found = attributes.attributes if attributes else ()
    if len(found) != 1:
        raise ObjectRefusal(RefusalReason.INVALID_FIELD, "One attribute is expected.")
    return named(found[0])


def referred(reference: int | AttributeReference) -> str:
    """Return the name of an attribute that a 2.x request refers to. Empty for a tag that is no attribute's."""
    if isinstance(reference, AttributeReference):
        return _own_name(reference.vendor_identification, reference.attribute_name)
    return tags.NAMES.get(reference, "")


def stored(attribute: Attribute, version: Version) -> ObjectAttribute:
    """Return an attribute as it is stored. Raises ObjectRefusal for one that this version lacks, or without a value."""
    name, value = attribute.attribute_name, attribute.attribute_value
    if not is_known(name, version):
        raise ObjectRefusal(RefusalReason.INVALID_FIELD, f"{name[:80]!r} is no attribute of this version.")
    if value is None:
        raise ObjectRefusal(RefusalReason.INVALID_FIELD, f"{name} has no value.")
    try:
        data = schema.encode(Attribute(name, None, value), V1_4)
    except KMIPError:
        raise ObjectRefusal(RefusalReason.INVALID_FIELD, f"The value of {name} is not one of its type.") from None
    text = value.name_value if isinstance(value, Name) else ""
    if name == NAME and not text:
        raise ObjectRefusal(RefusalReason.INVALID_FIELD, "A Name is not empty.")
    return ObjectAttribute(name, 0, data, text)


# --- to messages ---


def shown(of: ApplicationObject, version: Version) -> tuple[Attribute, ...]:
    """Return all attributes of an object that this version has, those of the server first."""
    values: list[Attribute] = [
        Attribute("Unique Identifier", None, of.identifier),
        Attribute("Object Type", None, of.object_type),
        Attribute("State", None, State[of.state.name]),
        *_facts(of),
        *(_decoded(each) for each in of.attributes if each.name not in of.facts),
    ]
    return tuple(each for each in values if is_known(each.attribute_name, version))


def chosen(attributes: Iterable[Attribute], names: Iterable[str]) -> tuple[Attribute, ...]:
    """Return the attributes with these names, or all if there are no names."""
    wanted = set(names)
    return tuple(each for each in attributes if not wanted or each.attribute_name in wanted)


def in_two(attributes: Iterable[Attribute]) -> Attributes:
    """Return attributes in the 2.x form."""
    return Attributes(tuple(_in_two(each) for each in attributes))


def references(names: Iterable[str]) -> tuple[int | AttributeReference, ...]:
    """Return references to attributes, in the 2.x form."""
    return tuple(TAGS[name] if name in TAGS else AttributeReference(*_vendor_and_name(name)) for name in names)


def _in_two(attribute: Attribute) -> Attribute | VendorAttribute:
    name = attribute.attribute_name
    if name in TAGS:
        return Attribute(name, None, attribute.attribute_value)
    return VendorAttribute(*_vendor_and_name(name), attribute.attribute_value)


def _facts(of: ApplicationObject) -> Iterator[Attribute]:
    for name, value in of.facts.items():
        yield Attribute(name, None, RevocationReason(value) if name == REVOCATION_REASON else value)
    if of.key.retired is not None:
        yield Attribute("Destroy Date", None, int(of.key.retired.timestamp()))


def _decoded(attribute: ObjectAttribute) -> Attribute:
    found = schema.decode(Attribute, attribute.value, V1_4, DEFAULT_LIMITS)
    return Attribute(found.attribute_name, attribute.index or None, found.attribute_value)


def _own_name(vendor: str, name: str) -> str:
    return f"{vendor}-{name}" if f"{vendor}-" in _OWN_PREFIXES else f"{vendor}:{name}"


def _vendor_and_name(name: str) -> tuple[str, str]:
    separator = "-" if name.startswith(_OWN_PREFIXES) else ":"
    vendor, _, own = name.partition(separator)
    return vendor, own


# --- searches ---


def matches(of: ApplicationObject, wanted: Iterable[Attribute], version: Version) -> bool:
    """Return True if an object has all these attributes (KMIP 1.4 section 4.9).

    A date that is given twice is a range. A usage mask matches if the object's mask has all its bits.
    """
    there: dict[str, list[Any]] = {}
    for each in shown(of, max(version, V1_4)):
        there.setdefault(each.attribute_name, []).append(each.attribute_value)
    asked: dict[str, list[Any]] = {}
    for each in wanted:
        asked.setdefault(each.attribute_name, []).append(each.attribute_value)
    return all(_has(there.get(name, []), name, values) for name, values in asked.items())


def _has(there: list[Any], name: str, asked: list[Any]) -> bool:
    if name.endswith(" Date") and len(asked) == 2:
        return any(min(asked) <= value <= max(asked) for value in there)
    if name == "Cryptographic Usage Mask":
        return any(value & mask == mask for value in there for mask in asked)
    return all(value in there for value in asked)
