"""The errors that the rules of a family may answer, for the API's description: each operation names those of its own.

Errors of every call, of bodies and of lists are added by the form of an operation (openapi.py).
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

ONE_OWNER = (errors.SVM_NOT_FOUND, errors.INVALID_VALUE)
"""Of a body that names an SVM."""

PUBLIC_KEY = (errors.KEY_SIZE, errors.HASH_FUNCTION)
"""Of a key or signature that is to be made."""

SUBJECT = (errors.COMMON_NAME_INVALID, errors.SUBJECT_MALFORMED)
"""Of the name in a certificate or request."""
