"""Attributes of Managed Objects, in the 1.x and in the 2.x form (KMIP 1.4 sections 2.1.1 and 3, KMIP 2.1 section 4).

In both forms an attribute is an :class:`Attribute` with the specification's name and a typed value. In 1.x it is
encoded as Attribute {Name, Index, Value}, where the name decides the value's type. In 2.x it is one item under the
attribute's own tag inside Attributes. A name that is not in :data:`ATTRIBUTES` keeps its value as a raw item.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystead.kmip.ttlv import enums, tags
from keystead.kmip.ttlv.errors import LocalProtocolError
from keystead.kmip.ttlv.forms import Form, NestedReader
from keystead.kmip.ttlv.kinds import Either, Raw, Select
from keystead.kmip.ttlv.schema import Structure, Writer, as_kind, field, structure
from keystead.kmip.ttlv.ttlv import Item, ItemType
from keystead.kmip.ttlv.versions import V1_1, V1_2, V1_4, Version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystead.kmip.ttlv.forms import Decode

IDENTIFIER: Final = Either(ItemType.TEXT_STRING, Raw())
"""Unique Identifier: ``str``.

In 2.x it may also be an Enumeration (the ID Placeholder) or an Integer; these stay raw.
"""


@structure(tags.NAME)
class Name(Structure):
    """Name (KMIP 1.4 section 3.2)."""

    name_value: str = field(tags.NAME_VALUE, ItemType.TEXT_STRING)
    name_type: int = field(tags.NAME_TYPE, enums.NameType)


@structure(tags.CRYPTOGRAPHIC_PARAMETERS)
class CryptographicParameters(Structure):
    """Cryptographic Parameters (KMIP 1.4 section 3.6)."""

    block_cipher_mode: int | None = field(tags.BLOCK_CIPHER_MODE, enums.BlockCipherMode, default=None)
    padding_method: int | None = field(tags.PADDING_METHOD, enums.PaddingMethod, default=None)
    hashing_algorithm: int | None = field(tags.HASHING_ALGORITHM, enums.HashingAlgorithm, default=None)
    key_role_type: int | None = field(tags.KEY_ROLE_TYPE, enums.KeyRoleType, default=None)
    digital_signature_algorithm: int | None = field(
        tags.DIGITAL_SIGNATURE_ALGORITHM, ItemType.ENUMERATION, default=None, since=V1_2
    )
    cryptographic_algorithm: int | None = field(
        tags.CRYPTOGRAPHIC_ALGORITHM, enums.CryptographicAlgorithm, default=None, since=V1_2
    )
    random_iv: bool | None = field(tags.RANDOM_IV, ItemType.BOOLEAN, default=None, since=V1_2)
    iv_length: int | None = field(tags.IV_LENGTH, ItemType.INTEGER, default=None, since=V1_2)
    tag_length: int | None = field(tags.TAG_LENGTH, ItemType.INTEGER, default=None, since=V1_2)
    fixed_field_length: int | None = field(tags.FIXED_FIELD_LENGTH, ItemType.INTEGER, default=None, since=V1_2)
    invocation_field_length: int | None = field(
        tags.INVOCATION_FIELD_LENGTH, ItemType.INTEGER, default=None, since=V1_2
    )
    counter_length: int | None = field(tags.COUNTER_LENGTH, ItemType.INTEGER, default=None, since=V1_2)
    initial_counter_value: int | None = field(tags.INITIAL_COUNTER_VALUE, ItemType.INTEGER, default=None, since=V1_2)
    salt_length: int | None = field(tags.SALT_LENGTH, ItemType.INTEGER, default=None, since=V1_4)
    mask_generator: int | None = field(tags.MASK_GENERATOR, ItemType.ENUMERATION, default=None, since=V1_4)
    mask_generator_hashing_algorithm: int | None = field(
        tags.MASK_GENERATOR_HASHING_ALGORITHM, enums.HashingAlgorithm, default=None, since=V1_4
    )
    p_source: bytes | None = field(tags.P_SOURCE, ItemType.BYTE_STRING, default=None, since=V1_4)
    trailer_field: int | None = field(tags.TRAILER_FIELD, ItemType.INTEGER, default=None, since=V1_4)


@structure(tags.CRYPTOGRAPHIC_DOMAIN_PARAMETERS)
class CryptographicDomainParameters(Structure):
    """Cryptographic Domain Parameters (KMIP 1.4 section 3.7)."""

    qlength: int | None = field(tags.QLENGTH, ItemType.INTEGER, default=None)
    recommended_curve: int | None = field(tags.RECOMMENDED_CURVE, ItemType.ENUMERATION, default=None)


@structure(tags.DIGEST)
class Digest(Structure):
    """Digest (KMIP 1.4 section 3.17)."""

    hashing_algorithm: int = field(tags.HASHING_ALGORITHM, enums.HashingAlgorithm)
    digest_value: bytes | None = field(tags.DIGEST_VALUE, ItemType.BYTE_STRING, default=None)
    key_format_type: int | None = field(tags.KEY_FORMAT_TYPE, enums.KeyFormatType, default=None, since=V1_1)


@structure(tags.USAGE_LIMITS)
class UsageLimits(Structure):
    """Usage Limits (KMIP 1.4 section 3.21)."""

    usage_limits_total: int = field(tags.USAGE_LIMITS_TOTAL, ItemType.LONG_INTEGER)
    usage_limits_count: int | None = field(tags.USAGE_LIMITS_COUNT, ItemType.LONG_INTEGER, default=None)
    usage_limits_unit: int = field(tags.USAGE_LIMITS_UNIT, ItemType.ENUMERATION, kw_only=True)


@structure(tags.LINK)
class Link(Structure):
    """Link (KMIP 1.4 section 3.35)."""

    link_type: int = field(tags.LINK_TYPE, enums.LinkType)
    linked_object_identifier: str | Item = field(tags.LINKED_OBJECT_IDENTIFIER, IDENTIFIER)


@structure(tags.APPLICATION_SPECIFIC_INFORMATION)
class ApplicationSpecificInformation(Structure):
    """Application Specific Information (KMIP 1.4 section 3.36). The server may generate missing data."""

    application_namespace: str = field(tags.APPLICATION_NAMESPACE, ItemType.TEXT_STRING)
    application_data: str | None = field(tags.APPLICATION_DATA, ItemType.TEXT_STRING, default=None)


@structure(tags.ALTERNATIVE_NAME)
class AlternativeName(Structure):
    """Alternative Name (KMIP 1.4 section 3.40)."""

    alternative_name_value: str = field(tags.ALTERNATIVE_NAME_VALUE, ItemType.TEXT_STRING)
    alternative_name_type: int = field(tags.ALTERNATIVE_NAME_TYPE, ItemType.ENUMERATION)


@structure(tags.REVOCATION_REASON)
class RevocationReason(Structure):
    """Revocation Reason (KMIP 1.4 section 3.31)."""

    revocation_reason_code: int = field(tags.REVOCATION_REASON_CODE, enums.RevocationReasonCode)
    revocation_message: str | None = field(tags.REVOCATION_MESSAGE, ItemType.TEXT_STRING, default=None)


_BOOLEAN: Final = as_kind(ItemType.BOOLEAN)
_DATE: Final = as_kind(ItemType.DATE_TIME)
_ENUMERATION: Final = as_kind(ItemType.ENUMERATION)
_INTEGER: Final = as_kind(ItemType.INTEGER)
_INTERVAL: Final = as_kind(ItemType.INTERVAL)
_RAW: Final = Raw()
_TEXT: Final = as_kind(ItemType.TEXT_STRING)
_NAME_PARTS: Final = ("CN", "O", "OU", "Email", "C", "ST", "L", "UID", "Serial Number", "Title", "DC", "DN Qualifier")

ATTRIBUTES: Final[dict[str, Any]] = {
    "Unique Identifier": IDENTIFIER,
    "Name": Name,
    "Object Type": enums.ObjectType,
    "Cryptographic Algorithm": enums.CryptographicAlgorithm,
    "Cryptographic Length": _INTEGER,
    "Cryptographic Parameters": CryptographicParameters,
    "Cryptographic Domain Parameters": CryptographicDomainParameters,
    "Certificate Type": enums.CertificateType,
    "Certificate Length": _INTEGER,
    "Certificate Identifier": _RAW,
    "Certificate Subject": _RAW,
    "Certificate Issuer": _RAW,
    "X.509 Certificate Identifier": _RAW,
    "X.509 Certificate Subject": _RAW,
    "X.509 Certificate Issuer": _RAW,
    **{f"Certificate {whose} {part}": _TEXT for whose in ("Subject", "Issuer") for part in _NAME_PARTS},
    "Digital Signature Algorithm": _ENUMERATION,
    "Digest": Digest,
    "Operation Policy Name": _TEXT,
    "Cryptographic Usage Mask": _INTEGER,
    "Lease Time": _INTERVAL,
    "Usage Limits": UsageLimits,
    "State": enums.State,
    "Initial Date": _DATE,
    "Activation Date": _DATE,
    "Process Start Date": _DATE,
    "Protect Stop Date": _DATE,
    "Deactivation Date": _DATE,
    "Destroy Date": _DATE,
    "Compromise Occurrence Date": _DATE,
    "Compromise Date": _DATE,
    "Revocation Reason": RevocationReason,
    "Archive Date": _DATE,
    "Object Group": _TEXT,
    "Fresh": _BOOLEAN,
    "Link": Link,
    "Application Specific Information": ApplicationSpecificInformation,
    "Contact Information": _TEXT,
    "Last Change Date": _DATE,
    "Alternative Name": AlternativeName,
    "Key Value Present": _BOOLEAN,
    "Key Value Location": _RAW,
    "Original Creation Date": _DATE,
    "Random Number Generator": _RAW,
    "PKCS#12 Friendly Name": _TEXT,
    "Description": _TEXT,
    "Comment": _TEXT,
    "Sensitive": _BOOLEAN,
    "Always Sensitive": _BOOLEAN,
    "Extractable": _BOOLEAN,
    "Never Extractable": _BOOLEAN,
    "Key Format Type": enums.KeyFormatType,
    "NIST Key Type": _ENUMERATION,
    "Protection Level": _ENUMERATION,
    "Protection Period": _INTERVAL,
    "Protection Storage Mask": _INTEGER,
    "Quantum Safe": _BOOLEAN,
    "Short Unique Identifier": as_kind(ItemType.BYTE_STRING),
    "Rotate Automatic": _BOOLEAN,
    "Rotate Date": _DATE,
    "Rotate Generation": _INTEGER,
    "Rotate Interval": _INTERVAL,
    "Rotate Latest": _BOOLEAN,
    "Rotate Name": _RAW,
    "Rotate Offset": _INTERVAL,
}
"""Attribute name to the kind of its value. Enumerations without a class, and masks, are plain ``int``.

Raw values have the tag Attribute Value in 1.x, and the attribute's own tag in 2.x.
"""

TAGS: Final = {name: tag for tag, name in tags.NAMES.items() if name in ATTRIBUTES}
"""Attribute name to its tag in 2.x. :data:`tags.NAMES` is the reverse."""


@structure(tags.ATTRIBUTE)
class Attribute(Structure):
    """One attribute. In 1.x it is this structure. In 2.x it is an item under the attribute's own tag, without index."""

    attribute_name: str = field(tags.ATTRIBUTE_NAME, ItemType.TEXT_STRING)
    attribute_index: int | None = field(tags.ATTRIBUTE_INDEX, ItemType.INTEGER, default=None)
    attribute_value: Any = field(tags.ATTRIBUTE_VALUE, Select(ATTRIBUTES, "attribute_name"), default=None)


@structure(tags.ATTRIBUTE)
class VendorAttribute(Structure):
    """An attribute outside the specification, in 2.x (KMIP 2.1 section 4.60)."""

    vendor_identification: str = field(tags.VENDOR_IDENTIFICATION, ItemType.TEXT_STRING)
    attribute_name: str = field(tags.ATTRIBUTE_NAME, ItemType.TEXT_STRING)
    attribute_value: Item = field(tags.ATTRIBUTE_VALUE, Raw())


@structure(tags.ATTRIBUTE_REFERENCE)
class AttributeReference(Structure):
    """The name of an attribute outside the specification, in 2.x (KMIP 2.1 section 7.5)."""

    vendor_identification: str = field(tags.VENDOR_IDENTIFICATION, ItemType.TEXT_STRING)
    attribute_name: str = field(tags.ATTRIBUTE_NAME, ItemType.TEXT_STRING)


REFERENCE: Final = Either(AttributeReference, ItemType.ENUMERATION)
"""Attribute Reference: the tag's number for an attribute of the specification, otherwise an AttributeReference."""


class _Tagged:
    """The kind of items in Attributes: a known attribute under its own tag, or a vendor attribute under Attribute."""

    def forms(self, tag: int, version: Version) -> Iterator[Form]:
        """Yield the forms of a value."""
        yield from as_kind(VendorAttribute).forms(tag, version)
        for name, kind in ATTRIBUTES.items():
            for form in as_kind(kind).forms(TAGS[name], version):
                yield Form(form.key, None, _AttributeReader(name, form.reader()))

    def writer(self, tag: int, version: Version) -> Writer:
        """Return the encoder of a value."""
        writers = {name: as_kind(kind).writer(TAGS[name], version) for name, kind in ATTRIBUTES.items()}
        write_vendor = as_kind(VendorAttribute).writer(tag, version)

        def write(value: Any, owner: Structure) -> bytes:
            if not isinstance(value, Attribute):
                return write_vendor(value, owner)
            if value.attribute_name not in writers:
                raise LocalProtocolError("an attribute that KMIP 2.x does not have; use a VendorAttribute")
            return writers[value.attribute_name](value.attribute_value, owner)

        return write


class _AttributeReader:
    """A reader of an attribute's own item, which adds the attribute's name to the value."""

    def __init__(self, name: str, own: NestedReader) -> None:
        self.decode: Decode = lambda *arguments: Attribute(name, attribute_value=own.decode(*arguments))


@structure(tags.ATTRIBUTES)
class Attributes(Structure):
    """Attributes of the 2.x form, in the order in which they came (KMIP 2.1 section 7.1)."""

    attributes: tuple[Attribute | VendorAttribute, ...] = field(tags.ATTRIBUTE, _Tagged(), default=())


@structure(tags.TEMPLATE_ATTRIBUTE)
class TemplateAttribute(Structure):
    """Template-Attribute of the 1.x form (KMIP 1.4 section 2.1.8)."""

    name: tuple[Name, ...] = field(tags.NAME, Name, default=())
    attribute: tuple[Attribute, ...] = field(tags.ATTRIBUTE, Attribute, default=())


def attribute(name: str, value: Any) -> Attribute:
    """Return an attribute by the specification's name, such as ``attribute("Cryptographic Length", 256)``."""
    return Attribute(name, attribute_value=value)


def name_attribute(text: str) -> Attribute:
    """Return the attribute Name, of the type Uninterpreted Text String."""
    return attribute("Name", Name(text, enums.NameType.UNINTERPRETED_TEXT_STRING))
