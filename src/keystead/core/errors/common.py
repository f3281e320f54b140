"""Codes of every call. Source: "Getting started with the ONTAP REST API", error table."""

from __future__ import annotations

from keystead.core.errors.table import row

DUPLICATE_ENTRY = row(1, 409, "duplicate entry", "An object with this name exists in the same scope.")
INVALID_PATH_VALUE = row(
    2, 404, '"{value}" is an invalid value for field "{field}" ({type})', "The path holds a malformed value."
)
METHOD_NOT_SUPPORTED = row(3, 405, "The operation is not supported.", "The resource has no such method.")
API_NOT_FOUND = row(3, 404, "API not found", "No resource has this path.")
ENTRY_NOT_FOUND = row(4, 404, "entry doesn't exist", "The object named in the path does not exist for this account.")
NOT_AUTHORIZED = row(6, 403, "not authorized for that command", "The account's role does not allow this call.")
IN_USE = row(
    8,
    409,
    "entry is in use",
    "An SVM that owns keys, certificates, key managers or accounts cannot be deleted, nor a filter that a destination"
    " uses.",
)
INTERNAL_ERROR = row(
    262145,
    500,
    "An unexpected error occurred.",
    "The database is damaged, or a fault inside the service; its log has details.",
)
SHUTTING_DOWN = row(
    262145, 503, "The service is shutting down.", "The service was stopped before this call could finish: retry."
)
TOO_BUSY = row(
    262145,
    503,
    "The service is too busy to finish in time. Retry the request later.",
    "The probe waited too long for its turn, or other calls kept changing the configuration that was being proved.",
)
STORAGE_FAILED = row(
    262145,
    503,
    "The service cannot use its database now: {reason}.",
    "The database does not answer, has no primary or is too busy; or its disk is full, or fails. Nothing was changed.",
)
OUTCOME_UNKNOWN = row(
    262145,
    500,
    "The change may have been made: look before you repeat it.",
    "The connection to the database broke during a commit, or no standby confirmed it in time.",
)
TOO_MANY_REQUESTS = row(
    262160, 429, "Too many requests. Retry the request later.", "More calls of this account wait than are allowed."
)
UNEXPECTED_ARGUMENT = row(262179, 400, 'Unexpected argument "{field}".', "No such field or query parameter.")
INVALID_VALUE = row(
    262185, 400, 'Invalid value for field "{field}". Reason: {reason}', "The value breaks a rule named in the text."
)
FIELDS_EXCLUDE_EACH_OTHER = row(
    262186,
    400,
    'Field "{field}" cannot be used with field "{other}".',
    "Two fields exclude each other.",
)
FIELD_TWICE = row(262188, 400, 'Field "{field}" was specified twice.', "A JSON object or a query names a field twice.")
NO_VALUES = row(262190, 400, "You must provide one or more values to apply your changes.", "A PATCH without a field.")
EXPRESSION_WITHOUT_VALUE = row(
    262194,
    400,
    'The expression for field "{field}" is missing a value at position {position}.',
    'An operator of a filter has nothing to compare with; an empty text is written `""`.',
)
FIELD_NOT_SETTABLE = row(
    262196, 400, 'Field "{field}" cannot be set in this operation', "The field is read-only, or not for this method."
)
INVALID_FIELD_VALUE = row(
    262197, 400, '"{value}" is an invalid value for field "{field}" ({type})', "Wrong type, range or form of a value."
)
INVALID_SECRET_VALUE = row(
    262197, 400, 'Invalid value for field "{field}" ({type})', "As above, for a field whose value is never quoted."
)
INVALID_FIELDS_VALUE = row(
    262197,
    400,
    'The value "{value}" is invalid for field "{field}" (<field,...>)',
    "`fields` or `query_fields` names an unknown field.",
)
BODY_NOT_ALLOWED = row(262198, 400, "A request body is not allowed for this method.", "A GET or HEAD with a body.")
INVALID_JSON = row(
    262199, 400, "Invalid JSON input: {reason} at line {line}, column {column}.", "The body is not strict JSON."
)
BODY_TOO_LARGE = row(262200, 413, "The request body exceeds the limit of {limit} bytes.", "The body is too large.")
JSON_OUT_OF_RANGE = row(262200, 400, "Invalid JSON input: {reason}.", "A number, string or nesting is out of range.")
BODY_TOO_SLOW = row(262201, 408, "The request body did not arrive in time.", "The client sent its body too slowly.")
UNSUPPORTED_CONTENT = row(
    262201, 415, "The request body must be JSON.", "A request with an Origin header must declare a JSON body."
)
SECRET_IN_URL = row(262202, 400, 'Field "{field}" must not be in the URL.', "A secret was given as a query parameter.")
POST_FILTER = row(
    262211, 400, 'POST does not support filtering on an attribute in the URL: "{field}".', "A field in a POST's query."
)
MISSING_VALUE = row(262212, 400, 'The request is missing the required value "{field}".', "A required field is absent.")
QUERY_REQUIRED = row(
    262212,
    400,
    "{method} of a collection requires at least one field in the query, or records in the body.",
    "A PATCH or DELETE would have changed all objects.",
)
ALL_FIELDS_OF_CLI = row(
    262220,
    400,
    "A call of a path below /private/cli must name the fields: * is not allowed.",
    "`fields` is `*` or `**` at `/private/cli/security/certificate`.",
)
VALUE_TWICE = row(
    262222, 400, 'Value "{value}" for field "{field}" is listed more than once.', "A list names the same thing twice."
)
FIELD_NOT_READABLE = row(
    262249, 400, 'Field "{field}" cannot be read in this operation.', "`fields` names a field that is never shown."
)
FIELD_NOT_QUERYABLE = row(
    262250, 400, 'Field "{field}" cannot be queried in this operation.', "A filter on a field that cannot be filtered."
)
ARRAY_EXPECTED = row(262254, 400, 'Field "{field}" must be an array.', "A JSON value that must be an array is not.")
ARRAY_NOT_EXPECTED = row(262255, 400, 'Field "{field}" must not be an array.', "An array where one value belongs.")
FIELD_NOT_ORDERED = row(
    262268, 400, 'The field "{field}" is not supported as an order_by= field.', "It is unknown, computed or an array."
)
QUERY_QUOTE = row(
    262272, 400, "The specified query contains an unmatched quote.", "A quote or brace of `query` is not closed."
)
QUERY_INCOMPLETE = row(
    262273,
    400,
    'Both "query_fields" and "query" must be specified if either one is specified.',
    "A cross-field query lacks one of its two parameters.",
)
QUERY_EMPTY = row(
    262274,
    400,
    "The specified query is either empty or is equivalent to an empty query.",
    "`query` holds nothing but blanks and wildcards.",
)
QUERY_WITHOUT_FIELDS = row(
    262275,
    400,
    "At least one field must be specified for the cross-field query.",
    "`query_fields` names nothing, or leaves everything out again.",
)
QUERY_FIELD_TWICE = row(
    262276,
    400,
    'The field "{field}" was specified twice for the "query_fields" parameter.',
    "`query_fields` names a field twice.",
)
QUERY_ONLY_IN_GET = row(
    262277,
    400,
    'The "query_fields" and "query" parameters may only be specified for GET requests.',
    "A cross-field query in a write.",
)
FIELDS_BRACES = row(
    262286,
    400,
    'Mismatching braces found in the "{field}" query at position {position}.',
    "A brace is not closed, not opened, or does not follow `name.`.",
)
RECORD_FAILED = row(
    262287,
    400,
    '{method} of record "{record}" failed. Reason: {reason}',
    "One of several records could not be written; what was done before it is rolled back.",
)
RECORDS_LEFT = row(
    262288,
    400,
    "The records operation failed and was left in a partially completed state.",
    "A record could not be written, and what was done before it could not be rolled back entirely.",
)
RECORDS_DONE = row(262289, 200, "{done} of {all} records complete.", "The message of a running job.")
RECORDS_REMAINING = row(
    262290, 200, "Rolling back: {left} of {all} records remaining.", "The message of a job that rolls back."
)
RECORDS_PARTIAL = row(
    262292,
    400,
    "The records operation was partially completed. The following failures were encountered: {failures}",
    "With continue_on_failure, and always in a DELETE: the other records were written.",
)
JOB_RUNNING = row(
    262293,
    400,
    "Job is still running. Wait for the job to complete and then try the operation again.",
    "The results of an unfinished job were asked for.",
)
JOB_ELSEWHERE = row(
    262294, 400, "Job is not associated with this API.", "job_results_uuid names a job of another collection, or none."
)
SVM_NOT_FOUND = row(2621462, 400, 'SVM "{name}" does not exist.', "The SVM named in the body does not exist.")
AUTHENTICATION_FAILED = row(6691623, 401, "User is not authorized.", "No credential, or one that is not valid.")
