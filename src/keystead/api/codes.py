"""The errors that each family of operations may answer, for the API's description.

Each operation names the errors of its own rules. description/openapi.py adds the errors of every call, of bodies and of
lists, by the form of the operation.
"""

from __future__ import annotations

from keystead.core import errors

PROBING = (
    *(errors.KMIP_VERSIONS, errors.SERVER_CA_REFUSED, errors.CLIENT_CERTIFICATE_REFUSED, errors.TLS_ENGINE),
    *(errors.NETWORK, errors.KMIP_COMMAND, errors.TOO_MANY_REQUESTS, errors.TOO_BUSY, errors.SHUTTING_DOWN),
)
"""Errors of operations that probe key servers."""

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
"""Errors of operations that add primary key servers."""

NEW_KEY = (
    *(errors.NOT_ENABLED, errors.CERTIFICATE_NOT_INSTALLED, errors.NO_KEY_SERVERS, errors.KEY_SERVERS_UNREADABLE),
    *(errors.KEY_TAG_INVALID, errors.KEY_TAG_BLANKS, errors.NOT_PUSHED, errors.TOO_FEW_COPIES),
    *(errors.TOO_BUSY, errors.SHUTTING_DOWN),
)
"""Errors of operations that create a key."""

OF_THE_CLUSTER = (errors.ENTRY_NOT_FOUND,)
"""Errors of operations on objects of the cluster. A call that is confined to an SVM does not see these objects."""

ONE_OWNER = (errors.SVM_NOT_FOUND, errors.INVALID_VALUE)
"""Errors of a body that names an SVM."""

PUBLIC_KEY = (errors.KEY_SIZE, errors.HASH_FUNCTION)
"""Errors of operations that generate a key pair or a signature."""

SUBJECT = (errors.COMMON_NAME_INVALID, errors.SUBJECT_MALFORMED)
"""Errors of the subject name in a certificate or request."""

# --- errors by the form of an operation -------------------------------------------------------------------------------

EVERY_CALL = (
    *(errors.AUTHENTICATION_FAILED, errors.NOT_AUTHORIZED, errors.INTERNAL_ERROR, errors.SHUTTING_DOWN),
    *(errors.STORAGE_FAILED, errors.OUTCOME_UNKNOWN),
    *(errors.UNEXPECTED_ARGUMENT, errors.FIELD_TWICE, errors.INVALID_VALUE, errors.INVALID_FIELD_VALUE),
    *(errors.FIELDS_EXCLUDE_EACH_OTHER, errors.SVM_NOT_FOUND),
)
"""Errors of every call. The last two belong to the headers that name an SVM, too."""

PATH = (errors.INVALID_PATH_VALUE, errors.ENTRY_NOT_FOUND, errors.API_NOT_FOUND, errors.METHOD_NOT_SUPPORTED)
"""Errors of a path that holds a value. A value with a slash makes another path."""

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

JOB = (errors.JOB_INTERRUPTED, errors.JOB_CANCELLED, errors.TOO_MANY_REQUESTS)

RECORDS = (*JOB, errors.RECORD_FAILED, errors.RECORDS_LEFT, errors.RECORDS_PARTIAL, errors.FIELD_NOT_READABLE)
"""Errors of a job that writes several objects, and of its rollback."""

MANY = (*LIST, *BODY, *RECORDS, errors.QUERY_REQUIRED)
"""Errors of a PATCH of all objects that a query or ``records`` selects."""

MANY_GONE = (*MANY, errors.BODY_NOT_ALLOWED)
"""Errors of a DELETE of all objects that a query or ``records`` selects."""
