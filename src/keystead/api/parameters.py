"""The URL parameters that all operations of a kind share, each with its meaning. query.py reads them.

Source: "Getting started with the ONTAP REST API".
"""

from __future__ import annotations

from keystead.api.values import BOOLEAN, TEXT, Parameter, integer

PAGE_LIMIT = 10_000  # records of one answer; this is ONTAP's limit
RETURN_TIMEOUT_S = 15  # how long a GET collects records, by default

_MAX_RECORDS = integer(1, 2**31 - 1)
_OFFSET = integer(0, 2**31 - 1)
_RETURN_TIMEOUT = integer(0, 120)

_CONTINUE_ON_FAILURE = Parameter(BOOLEAN, "Whether a write of several objects continues after a failure (false).")
_SERIAL_RECORDS = Parameter(BOOLEAN, "Accepted and ignored: records are always written one after the other.")
_IGNORE_UNKNOWN = Parameter(BOOLEAN, "Whether unknown fields and parameters are ignored instead of refused (false).")
_PRETTY = Parameter(BOOLEAN, "Whether the answer is indented (false).")

FIELDS = Parameter(
    TEXT,
    "The fields to show, separated by commas. A parent means all its members, ``a.{b,c}`` its members b and c, and"
    " ``!`` leaves a field out. ``*`` means all fields but costly ones, ``**`` all. Key fields are always shown.",
)
READ_PARAMETERS = {
    "return_records": Parameter(BOOLEAN, "``false`` returns only ``num_records`` (true)."),
    "return_timeout": Parameter(_RETURN_TIMEOUT, f"Maximum number of seconds to collect records ({RETURN_TIMEOUT_S})."),
    "max_records": Parameter(
        _MAX_RECORDS, f"Maximum number of records in one answer ({PAGE_LIMIT:,}, which is also the limit)."
    ),
    "ignore_unknown_fields": _IGNORE_UNKNOWN,
    "return_unmatched_nested_array_objects": Parameter(
        BOOLEAN, "``false`` leaves out array elements that do not match the filters (true)."
    ),
    "continue_on_failure": _CONTINUE_ON_FAILURE,
    "serial_records": _SERIAL_RECORDS,
    "pretty": _PRETTY,
}
"""The parameters that every GET accepts, even where they have no effect."""

LIST_PARAMETERS = {
    "order_by": Parameter(
        TEXT, "Fields separated by commas, each optionally followed by ``asc`` (the default) or ``desc``."
    ),
    "offset": Parameter(_OFFSET, "The number of records to skip."),
    "query": Parameter(
        TEXT, "Words that must all occur in the fields of ``query_fields``; ``|`` separates alternatives."
    ),
    "query_fields": Parameter(TEXT, "The fields that ``query`` searches, or ``*``."),
}
"""The further parameters that a GET of a collection accepts."""

WRITE_PARAMETERS = {
    "return_records": Parameter(
        BOOLEAN, "Whether the answer shows the written objects, at least their key fields (false)."
    ),
    "return_timeout": Parameter(
        _RETURN_TIMEOUT,
        f"Seconds to wait for a job (0), or to change objects by query ({RETURN_TIMEOUT_S}).",
    ),
    "continue_on_failure": _CONTINUE_ON_FAILURE,
    "serial_records": _SERIAL_RECORDS,
    "ignore_unknown_fields": _IGNORE_UNKNOWN,
    "pretty": _PRETTY,
}
"""The parameters that every write accepts."""
