"""Codes of destinations and filters of events. Source: ``/support/ems`` in the ONTAP REST API reference."""

from __future__ import annotations

from keystead.core.errors.table import row

EMS_RULE_INDEX = row(
    983092,
    400,
    "The index of the rule provided is outside the allowed range for the filter provided.",
    "A filter has no such rule, or a new one would leave a gap.",
)
EMS_NAME_INVALID = row(
    983094,
    400,
    "The name provided is invalid. The name must contain between 2 and 64 characters and start and end with an"
    " alphanumeric symbol or _(underscore). The allowed special characters are _(underscore) and -(hyphen).",
    "The name of a destination or filter of events.",
)
EMS_SYSTEM_FILTER = row(
    983113, 400, "Default filters cannot be modified or removed.", "The filter is one of the system's."
)
DESTINATION_LIMIT = row(
    983117, 400, "The number of destinations has reached maximum capacity.", "There are 20 destinations already."
)
EMS_RULE_EMPTY = row(
    983126,
    400,
    "A rule requires at least one name_pattern, severities, snmp_trap_types, or parameter pattern be specified.",
    "A rule has neither `name_pattern` nor `severities`.",
)
EMS_URL_SCHEME = row(
    983129,
    400,
    "The rest-api destination must contain a valid scheme: https://.",
    "A webhook is called over HTTPS only.",
)
EMS_URL_INVALID = row(
    983130,
    400,
    "The rest-api destination provided contains an invalid URL.",
    "It is no URL of a host, is longer than 2048 characters, or has a fragment, a user or a password.",
)
EMS_CERTIFICATE_INCOMPLETE = row(
    983142,
    400,
    "The security certificate information provided is incomplete. Provide the certificate and serial number.",
    "`certificate.ca` and `certificate.serial_number` belong together.",
)
EMS_CERTIFICATE_NOT_OF_TYPE = row(
    983143,
    400,
    "Cannot provide security certificate information to a destination of type other than 'rest-api'.",
    "Only webhooks are shown a client certificate.",
)
EMS_CERTIFICATE_NOT_FOUND = row(
    983144,
    400,
    "The security certificate provided does not exist.",
    "The cluster has no client certificate of this authority with this serial number, or not its private key.",
)
EMS_FILTER_NOT_FOUND = row(
    983149,
    400,
    "New filters could not be added. Reason for failure: {reason}.",
    "A destination names a filter that does not exist.",
)
EMS_TYPE_FIXED = row(
    983179, 400, "The type of an existing destination cannot be changed.", "Delete it, and create another one."
)
EMS_NOT_OF_TYPE = row(
    983184,
    400,
    "A property cannot be configured on the requested destination type.",
    "`syslog` is for destinations of type `syslog`.",
)
