"""Why an operation on an application's object is refused, in KMIP's words (KMIP 1.4 section 11)."""

from __future__ import annotations

from enum import StrEnum


class RefusalReason(StrEnum):
    """The Result Reasons that Keystead gives, by the names of the specification's enumeration."""

    ITEM_NOT_FOUND = "item_not_found"
    AUTHENTICATION_NOT_SUCCESSFUL = "authentication_not_successful"
    INVALID_FIELD = "invalid_field"
    FEATURE_NOT_SUPPORTED = "feature_not_supported"
    OPERATION_NOT_SUPPORTED = "operation_not_supported"
    ILLEGAL_OPERATION = "illegal_operation"
    PERMISSION_DENIED = "permission_denied"
    MISSING_DATA = "missing_data"
    INDEX_OUT_OF_BOUNDS = "index_out_of_bounds"
    KEY_FORMAT_TYPE_NOT_SUPPORTED = "key_format_type_not_supported"
    INVALID_MESSAGE = "invalid_message"
    RESPONSE_TOO_LARGE = "response_too_large"
    GENERAL_FAILURE = "general_failure"
    OBJECT_DESTROYED = "object_destroyed"
    ATTRIBUTE_READ_ONLY = "attribute_read_only"
    ATTRIBUTE_SINGLE_VALUED = "attribute_single_valued"
    NON_UNIQUE_NAME_ATTRIBUTE = "non_unique_name_attribute"


class ObjectRefusal(Exception):  # noqa: N818 - becomes a Result Reason, never a Python error
    """A refusal: its reason, and a message for the person who reads the application's log. Nothing was changed."""

    def __init__(self, reason: RefusalReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def not_found() -> ObjectRefusal:
    """Return the refusal for an object that does not exist, or that belongs to another application."""
    return ObjectRefusal(RefusalReason.ITEM_NOT_FOUND, "This application has no such object.")
