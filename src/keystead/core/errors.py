"""THE error table: every ONTAP code that this service answers with, its HTTP status, its text and its true cause.

Texts are the words of the ONTAP 9.6 page of ``POST /security/key-managers/{uuid}/key-servers`` for its 13 codes, and
of the ONTAP REST API reference for the others. The statuses of 6553..., 6606..., 3735... and 5255... codes are ours:
NetApp's pages do not state them. Other modules use the names below, never a number; ``docs/reference/errors.md`` is
generated from this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One row of the table. ``text`` may hold ``{name}`` fields that :class:`OntapError` fills in."""

    code: int
    status: int
    text: str
    cause: str


TABLE: list[ErrorKind] = []


def _row(code: int, status: int, text: str, cause: str) -> ErrorKind:
    kind = ErrorKind(code, status, text, cause)
    TABLE.append(kind)
    return kind


# --- common codes: "Getting started with the ONTAP REST API", error table ---------------------------------------------
DUPLICATE_ENTRY = _row(1, 409, "duplicate entry", "An object with this name exists in the same scope.")
INVALID_PATH_VALUE = _row(
    2, 404, '"{value}" is an invalid value for field "{field}" ({type})', "The path holds a malformed value."
)
METHOD_NOT_SUPPORTED = _row(3, 405, "The operation is not supported.", "The resource has no such method.")
API_NOT_FOUND = _row(3, 404, "API not found", "No resource has this path.")
ENTRY_NOT_FOUND = _row(4, 404, "entry doesn't exist", "The object named in the path does not exist for this account.")
NOT_AUTHORIZED = _row(6, 403, "not authorized for that command", "The account's role does not allow this call.")
INTERNAL_ERROR = _row(262145, 500, "An unexpected error occurred.", "A fault inside the service; its log has details.")
SHUTTING_DOWN = _row(
    262145, 503, "The service is shutting down.", "The service was stopped before this call could finish: retry."
)
TOO_BUSY = _row(
    262145,
    503,
    "The service is too busy to finish in time. Retry the request later.",
    "The turn to probe came late.",
)
TOO_MANY_REQUESTS = _row(
    262160, 429, "Too many requests. Retry the request later.", "More calls of this account wait than are allowed."
)
UNEXPECTED_ARGUMENT = _row(262179, 400, 'Unexpected argument "{field}".', "No such field or query parameter.")
INVALID_VALUE = _row(
    262185, 400, 'Invalid value for field "{field}". Reason: {reason}', "The value breaks a rule named in the text."
)
FIELDS_EXCLUDE_EACH_OTHER = _row(
    262186,
    400,
    'Field "{field}" cannot be used with field "{other}".',
    "Two fields exclude each other.",
)
FIELD_TWICE = _row(262188, 400, 'Field "{field}" was specified twice.', "A JSON object or a query names a field twice.")
FIELD_NOT_SETTABLE = _row(
    262196, 400, 'Field "{field}" cannot be set in this operation', "The field is read-only, or not for this method."
)
INVALID_FIELD_VALUE = _row(
    262197, 400, '"{value}" is an invalid value for field "{field}" ({type})', "Wrong type, range or form of a value."
)
INVALID_SECRET_VALUE = _row(
    262197, 400, 'Invalid value for field "{field}" ({type})', "As above, for a field whose value is never quoted."
)
INVALID_FIELDS_VALUE = _row(
    262197, 400, 'The value "{value}" is invalid for field "fields" (<field,...>)', "`fields` names an unknown field."
)
BODY_NOT_ALLOWED = _row(262198, 400, "A request body is not allowed for this method.", "A GET or HEAD with a body.")
INVALID_JSON = _row(
    262199, 400, "Invalid JSON input: {reason} at line {line}, column {column}.", "The body is not strict JSON."
)
BODY_TOO_LARGE = _row(262200, 413, "The request body exceeds the limit of {limit} bytes.", "The body is too large.")
JSON_OUT_OF_RANGE = _row(262200, 400, "Invalid JSON input: {reason}.", "A number, string or nesting is out of range.")
BODY_TOO_SLOW = _row(262201, 408, "The request body did not arrive in time.", "The client sent its body too slowly.")
UNSUPPORTED_CONTENT = _row(
    262201, 415, "The request body must be JSON.", "A request with an Origin header must declare a JSON body."
)
SECRET_IN_URL = _row(262202, 400, 'Field "{field}" must not be in the URL.', "A secret was given as a query parameter.")
POST_FILTER = _row(
    262211, 400, 'POST does not support filtering on an attribute in the URL: "{field}".', "A field in a POST's query."
)
MISSING_VALUE = _row(262212, 400, 'The request is missing the required value "{field}".', "A required field is absent.")
VALUE_TWICE = _row(
    262222, 400, 'Value "{value}" for field "{field}" is listed more than once.', "A list names the same thing twice."
)
FIELD_NOT_READABLE = _row(
    262249, 400, 'Field "{field}" cannot be read in this operation.', "`fields` names a field that is never shown."
)
FIELD_NOT_QUERYABLE = _row(
    262250, 400, 'Field "{field}" cannot be queried in this operation.', "A filter on a field that cannot be filtered."
)
ARRAY_EXPECTED = _row(262254, 400, 'Field "{field}" must be an array.', "A JSON value that must be an array is not.")
ARRAY_NOT_EXPECTED = _row(262255, 400, 'Field "{field}" must not be an array.', "An array where one value belongs.")
SVM_NOT_FOUND = _row(2621462, 400, 'SVM "{name}" does not exist.', "The SVM named in the body does not exist.")
AUTHENTICATION_FAILED = _row(6691623, 401, "User is not authorized.", "No credential, or one that is not valid.")

# --- key servers and key managers: the 13 codes of the 9.6 page, then those of later releases -------------------------
KEY_SERVER_LIMIT = _row(
    65536038,
    400,
    "A maximum of 4 active key servers are allowed.",
    "The key manager's primary key servers and the new ones would be more than four.",
)
ALREADY_SECONDARY = _row(
    65536042,
    400,
    "Cannot add key server because it is already a secondary key server.",
    "A new primary is a secondary of a primary of this key manager.",
)
CERTIFICATE_NOT_INSTALLED = _row(
    65536821,
    400,
    "Certificate is not installed.",
    "A client or server CA certificate that the key manager refers to is not in the certificate store.",
)
CLUSTER_VERSION = _row(
    65536822,
    400,
    "Multitenant key management is not supported in the current cluster version.",
    "A node of the cluster runs a release below 9.6.0 and the key manager belongs to an SVM.",
)
KEY_MANAGER_EXISTS = _row(
    65536823, 400, "The SVM has key manager already configured.", "The SVM, or the cluster, has a key manager."
)
METROCLUSTER = _row(
    65536824,
    400,
    "Multitenant key management is not supported in MetroCluster configurations.",
    "The cluster is marked as MetroCluster and the key manager belongs to an SVM.",
)
NOT_ENABLED = _row(
    65536828,
    400,
    "External key management is not enabled for the SVM.",
    "The uuid names a key manager that is not an enabled external one.",
)
KEY_SERVERS_UNREADABLE = _row(
    65536834,
    500,
    "Failed to get existing key-server details for the SVM.",
    "The table of key servers could not be read; the service's log has details.",
)
MISSING_USERNAME = _row(65536845, 400, "Missing username.", "A password was given without a username.")
MISSING_PASSWORD = _row(65536846, 400, "Missing password.", "A username was given without a password.")
KMIP_VERSIONS = _row(
    65536852,
    400,
    "Failed to query supported KMIP protocol versions.",
    "TLS is up, but the server does not answer DiscoverVersions, or shares no KMIP version with us.",
)
KEY_SERVER_EXISTS = _row(
    65536870,
    400,
    "Key management servers already configured.",
    "A new server is a primary key server of this key manager already, perhaps spelled differently.",
)
DUPLICATE_KEY_SERVERS = _row(
    65536871, 400, "Duplicate key management servers exist.", "The request names the same server twice."
)
EXTERNAL_INCOMPLETE = _row(
    65536876,
    400,
    "External key management requires client and server CA certificates installed and with one or more key servers"
    " provided.",
    "A key manager was to be created without client certificate, server CA certificates or key servers.",
)
KMIP_COMMAND = _row(
    65536921,
    400,
    "Unable to execute the command on the KMIP server.",
    "After DiscoverVersions the server refused a request, or the configured username and password.",
)
TOO_MANY_SECONDARIES = _row(
    65537400, 400, "Exceeded maximum number of secondary key servers.", "More than three secondaries for a primary."
)
SECONDARY_IS_OWN_PRIMARY = _row(
    65538407,
    400,
    "A secondary key server is a duplicate of the associated primary key server.",
    "A secondary names its own primary.",
)
DUPLICATE_SECONDARIES = _row(
    65538408, 400, "The list of secondary key servers contains duplicates.", "A list names the same secondary twice."
)
SECONDARY_MALFORMED = _row(
    65538413,
    400,
    "A secondary key server address is not formatted correctly.",
    "A secondary is not a host name or address, or carries a port (secondaries use their primary's).",
)
SECONDARY_IS_PRIMARY = _row(
    65538502,
    400,
    "A secondary key server is also a primary key server.",
    "A secondary names another primary of this key manager or of the request.",
)
SERVER_CA_REFUSED = _row(
    66060338,
    400,
    "Failed to establish secure connection for a key management server due to incorrect server_ca certificates.",
    "We do not accept the certificate that the server shows.",
)
CLIENT_CERTIFICATE_REFUSED = _row(
    66060339,
    400,
    "Failed to establish secure connection for a key management server due to incorrect client certificates.",
    "The server does not accept our client certificate, or it cannot be used.",
)
TLS_ENGINE = _row(
    66060340,
    400,
    "Failed to establish secure connection for a key management server due to Cryptsoft error.",
    "Any other fault of the TLS or KMIP engine: no TLS at all, no common version or cipher.",
)
NETWORK = _row(
    66060341,
    400,
    "Failed to establish secure connection for a key management server due to network configuration issues.",
    "The address is not allowed, does not resolve or answer, or the connection broke before our certificate went out.",
)

# --- certificates: POST and DELETE /security/certificates -------------------------------------------------------------
NO_COMMON_NAME = _row(
    3735676,
    400,
    "Cannot continue the installation without a value for the common name. Since the subject field in the certificate"
    ' is empty, the field "common_name" must have a value to continue with the installation.',
    "The certificate's subject is empty and no common_name was given.",
)
KEY_FOR_CA = _row(
    3735618, 400, "Cannot accept private key for server_ca or client_ca.", "A private key came with a CA certificate."
)
CERTIFICATE_TYPE = _row(3735622, 400, "The certificate type is not supported.", "No such type, or not one stored here.")
NOT_A_CA = _row(
    3735632,
    400,
    "Failed to extract Certificate Authority Information from the certificate.",
    "A server_ca certificate without the CA flag (X.509 basic constraints).",
)
SERIAL_GIVEN = _row(
    3735645, 400, "Cannot specify a value for serial. It is generated automatically.", "serial_number in the body."
)
CERTIFICATE_IN_USE = _row(
    3735683,
    400,
    "Cannot remove this certificate while external key manager is configured.",
    "A key manager refers to the certificate.",
)
PRIVATE_KEY_EMPTY = _row(
    3735693,
    400,
    "The certificate installation failed as private key was empty.",
    "A client certificate came without its private key.",
)
INTERMEDIATES_FOR_CA = _row(
    3735696,
    400,
    "Intermediate certificates are not supported with client_ca and server_ca type certificates.",
    "intermediate_certificates came with a CA certificate.",
)
KEY_SIZE = _row(
    3735700, 400, "The specified key size is not supported.", "An RSA key of less than 2048 or more than 8192 bits."
)
CERTIFICATE_NOT_YET_VALID = _row(
    52559972, 400, "The certificates start date is later than the current date.", "notBefore lies in the future."
)
CERTIFICATE_EXPIRED = _row(52559973, 400, "The certificate has expired.", "notAfter lies in the past.")
CERTIFICATE_MALFORMED = _row(
    52559975,
    400,
    "Failed to read the certificate due to incorrect formatting.",
    "The text is not exactly one certificate in PEM.",
)
KEY_MISMATCH = _row(
    52559976, 400, "The certificate and private key do not match.", "The key does not belong to the certificate."
)
KEY_MALFORMED = _row(
    52560123, 400, "Failed to read the key due to incorrect formatting.", "Not an unencrypted RSA or EC key in PEM."
)

_ONBOARD = "the Onboard Key Manager is not built"
_FIPS = "there is no FIPS mode"
_NO_ROOT_CA = "there are no root_ca certificates yet"
_NO_SSL = "deletion has no SSL configuration to remove"

NOT_RAISED: dict[int, str] = {
    65536600: "nodes need no quorum of their own: they keep their state in one database",
    65536214: "no cluster key encryption key is made",
    65536216: "no cluster key encryption key is made",
    65536878: "no volume encryption keys are kept yet",
    65536895: "there is no MetroCluster partner",
    **dict.fromkeys((65536310, 65536900, 65536903, 65536906, 65536907, 65536916, 65536920), _ONBOARD),
    3735553: "self-signed certificates are not made yet: public_certificate is required",
    3735558: "a subject without common name is named by its whole subject; an empty one is 3735676",
    3735588: "any common name that a certificate can hold is accepted",
    **dict.fromkeys((3735589, 3735590), _NO_SSL),
    **dict.fromkeys((3735627, 3735650), _NO_ROOT_CA),
    3735644: "there are no server chains: certificates of type server are not kept",
    3735646: "a failed write stores nothing and is an internal error",
    **dict.fromkeys((3735664, 3735665, 52559974), _FIPS),
    3735679: "there are no pre-installed certificates",
    52363365: "memory exhaustion ends the process, not the call",
    52363366: "an error of ONTAP's own implementation",
}
"""Codes that ONTAP 9.6 documents for the calls built here and that nothing can cause, each with the reason."""


class OntapError(Exception):
    """An answer other than success: a row of the table, the field at fault and machine-readable arguments.

    ``values`` fill the text's fields; they must not hold secrets or anything that a key server sent.
    """

    def __init__(
        self,
        kind: ErrorKind,
        *,
        target: str | None = None,
        arguments: Iterable[tuple[str, str]] = (),
        retry_after: int | None = None,
        **values: object,
    ) -> None:
        self.kind = kind
        self.target = target
        self.arguments = tuple(arguments)
        self.retry_after = retry_after
        self.svm = ""  # the SVM that the call is about, for the audit record, once it is known
        self.message = kind.text.format(**values) if values else kind.text
        super().__init__(f"{kind.code}: {self.message}")
