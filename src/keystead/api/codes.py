"""The errors that the rules of a family may answer, for the API's description: each operation names those of its own.

Errors of every call, of bodies and of lists are added by the form of an operation (description/openapi.py).
"""

from __future__ import annotations

from keystead.core import errors

PROBING = (
    *(errors.KMIP_VERSIONS, errors.SERVER_CA_REFUSED, errors.CLIENT_CERTIFICATE_REFUSED, errors.TLS_ENGINE),
    *(errors.NETWORK, errors.KMIP_COMMAND, errors.TOO_MANY_REQUESTS, errors.TOO_BUSY, errors.SHUTTING_DOWN),
)
"""Of what proves key servers."""

MULTITENANT = (errors.CLUSTER_VERSION, errors.METROCLUSTER)

SECONDARIES = (
    *(errors.SECONDARIES_RELEASE, errors.TOO_MANY_SECONDARIES, errors.SECONDARY_MALFORMED),
    *(errors.SECONDARY_IS_OWN_PRIMARY, errors.DUPLICATE_SECONDARIES, errors.SECONDARY_IS_PRIMARY),
)

CREDENTIAL = (errors.MISSING_USERNAME, errors.MISSING_PASSWORD)

NEW_SERVERS = (
    *MULTITENANT,
    *SECONDARIES,
    *CREDENTIAL,
    *(errors.CERTIFICATE_NOT_INSTALLED, errors.DUPLICATE_KEY_SERVERS, errors.KEY_SERVER_EXISTS),
    *(errors.ALREADY_SECONDARY, errors.KEY_SERVER_LIMIT, errors.KEY_SERVERS_UNREADABLE),
    *PROBING,
)
"""Of primary key servers that are to be added."""

NEW_KEY = (
    *(errors.NOT_ENABLED, errors.CERTIFICATE_NOT_INSTALLED, errors.NO_KEY_SERVERS, errors.KEY_SERVERS_UNREADABLE),
    *(errors.KEY_TAG_INVALID, errors.KEY_TAG_BLANKS, errors.NOT_PUSHED, errors.TOO_FEW_COPIES),
    *(errors.TOO_BUSY, errors.SHUTTING_DOWN),
)
"""Of a key that is to be created."""

OF_THE_CLUSTER = (errors.ENTRY_NOT_FOUND,)
"""Of what is the cluster's own: a call that is confined to an SVM does not see it."""

ONE_OWNER = (errors.SVM_NOT_FOUND, errors.INVALID_VALUE)
"""Of a body that names an SVM."""

PUBLIC_KEY = (errors.KEY_SIZE, errors.HASH_FUNCTION)
"""Of a key or signature that is to be made."""

SUBJECT = (errors.COMMON_NAME_INVALID, errors.SUBJECT_MALFORMED)
"""Of the name in a certificate or request."""

# --- what the form of an operation brings -----------------------------------------------------------------------------

EVERY_CALL = (
    *(errors.AUTHENTICATION_FAILED, errors.NOT_AUTHORIZED, errors.INTERNAL_ERROR, errors.SHUTTING_DOWN),
    errors.STORAGE_FAILED,
    *(errors.UNEXPECTED_ARGUMENT, errors.FIELD_TWICE, errors.INVALID_VALUE, errors.INVALID_FIELD_VALUE),
    *(errors.FIELDS_EXCLUDE_EACH_OTHER, errors.SVM_NOT_FOUND),
)
"""The last two are also of the headers that name an SVM."""

PATH = (errors.INVALID_PATH_VALUE, errors.ENTRY_NOT_FOUND, errors.API_NOT_FOUND, errors.METHOD_NOT_SUPPORTED)
"""Of a path that holds a value; with a slash in it, it is another path."""

FILTERS = (errors.FIELD_NOT_QUERYABLE, errors.EXPRESSION_WITHOUT_VALUE)

READ = (
    *(errors.BODY_NOT_ALLOWED, errors.INVALID_FIELDS_VALUE, errors.FIELD_NOT_READABLE, errors.FIELDS_BRACES),
    *FILTERS,
)

LIST = (
    *READ,
    *(errors.FIELD_NOT_ORDERED, errors.VALUE_TWICE, errors.MISSING_VALUE, errors.QUERY_QUOTE),
    *(errors.QUERY_INCOMPLETE, errors.QUERY_EMPTY, errors.QUERY_WITHOUT_FIELDS, errors.QUERY_FIELD_TWICE),
)

RESULTS = (errors.JOB_RUNNING, errors.JOB_ELSEWHERE)

WRITE = (
    *(errors.INVALID_JSON, errors.JSON_OUT_OF_RANGE, errors.BODY_TOO_LARGE, errors.BODY_TOO_SLOW),
    *(errors.UNSUPPORTED_CONTENT, errors.SECRET_IN_URL, errors.QUERY_ONLY_IN_GET),
)

BODY = (
    *WRITE,
    *(errors.FIELD_NOT_SETTABLE, errors.INVALID_SECRET_VALUE, errors.ARRAY_EXPECTED, errors.ARRAY_NOT_EXPECTED),
    *(errors.MISSING_VALUE, errors.VALUE_TWICE),
)

POST = (*BODY, errors.POST_FILTER)

DELETE = (*WRITE, errors.BODY_NOT_ALLOWED)

JOB = (errors.JOB_INTERRUPTED, errors.TOO_MANY_REQUESTS)

RECORDS = (*JOB, errors.RECORD_FAILED, errors.RECORDS_LEFT, errors.RECORDS_PARTIAL, errors.FIELD_NOT_READABLE)
"""Of a job that writes several objects, and of how it is taken back."""

MANY = (*LIST, *BODY, *RECORDS, errors.QUERY_REQUIRED)
"""Of what changes all objects that a query or ``records`` names."""

MANY_GONE = (*MANY, errors.BODY_NOT_ALLOWED)
"""The same, of DELETE."""
