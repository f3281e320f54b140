"""The parameters of the URL that all operations of a kind have, each with what it means. query.py reads them.

Source: "Getting started with the ONTAP REST API".
"""

from __future__ import annotations

from keystead.api.values import BOOLEAN, TEXT, Parameter, integer

PAGE_LIMIT = 10_000  # records of one answer, ONTAP's own cap
RETURN_TIMEOUT_S = 15  # how long a GET collects records, by default

_MAX_RECORDS = integer(1, 2**31 - 1)
_OFFSET = integer(0, 2**31 - 1)
_RETURN_TIMEOUT = integer(0, 120)

_CONTINUE_ON_FAILURE = Parameter(BOOLEAN, "Whether a write of several objects goes on when one of them fails (false).")
_SERIAL_RECORDS = Parameter(BOOLEAN, "Accepted: records are always written one after the other.")
_IGNORE_UNKNOWN = Parameter(BOOLEAN, "Whether unknown fields and parameters are ignored, not refused (false).")
_PRETTY = Parameter(BOOLEAN, "Whether the answer is indented (false).")

FIELDS = Parameter(
    TEXT,
    "The fields to show: names with commas between them (a parent means its members, ``a.{b,c}`` its members b and c,"
    " ``!`` leaves out), ``*`` all but costly ones, ``**`` all. Key fields are always shown.",
)
READ_PARAMETERS = {
    "return_records": Parameter(BOOLEAN, "``false`` answers ``num_records`` only (true)."),
    "return_timeout": Parameter(_RETURN_TIMEOUT, f"Seconds to collect records ({RETURN_TIMEOUT_S})."),
    "max_records": Parameter(_MAX_RECORDS, f"Records of one answer; {PAGE_LIMIT:,} at most, and when absent."),
    "ignore_unknown_fields": _IGNORE_UNKNOWN,
    "return_unmatched_nested_array_objects": Parameter(
        BOOLEAN, "``false`` leaves out the elements of arrays that do not match the filters (true)."
    ),
    "continue_on_failure": _CONTINUE_ON_FAILURE,
    "serial_records": _SERIAL_RECORDS,
    "pretty": _PRETTY,
}
"""What every GET accepts, also where it means nothing."""

LIST_PARAMETERS = {
    "order_by": Parameter(TEXT, "Fields with commas between them, each followed by ``asc`` (the default) or ``desc``."),
    "offset": Parameter(_OFFSET, "How many records to leave out first."),
    "query": Parameter(TEXT, "Words that must all be found in the fields of ``query_fields``; ``|`` between choices."),
    "query_fields": Parameter(TEXT, "The fields that ``query`` looks at, or ``*``."),
}
"""What a GET of a collection accepts as well."""

WRITE_PARAMETERS = {
    "return_records": Parameter(BOOLEAN, "Whether the answer shows what was written: its key fields, or more (false)."),
    "return_timeout": Parameter(
        _RETURN_TIMEOUT,
        f"Seconds: how long a job is waited for (0), or objects are changed by query ({RETURN_TIMEOUT_S}).",
    ),
    "continue_on_failure": _CONTINUE_ON_FAILURE,
    "serial_records": _SERIAL_RECORDS,
    "ignore_unknown_fields": _IGNORE_UNKNOWN,
    "pretty": _PRETTY,
}
"""What every write accepts."""
