"""Codes of certificates. Source: ONTAP pages of ``/security/certificates``."""

from __future__ import annotations

from keystead.core.errors.table import row

COMMON_NAME_ABSENT = row(
    3735558,
    400,
    "Failed to extract information about Common Name from the certificate.",
    "A signing request has neither a common name nor a subject alternative name.",
)
COMMON_NAME_INVALID = row(
    3735588,
    400,
    "The common name (CN) extracted from the certificate is not valid.",
    "A common name is too long, or a subject holds control characters or blanks at its ends.",
)
NO_COMMON_NAME = row(
    3735676,
    400,
    "Cannot continue the installation without a value for the common name. Since the subject field in the certificate"
    ' is empty, the field "common_name" must have a value to continue with the installation.',
    "The certificate's subject is empty and no common_name was given.",
)
KEY_FOR_CA = row(
    3735618, 400, "Cannot accept private key for server_ca or client_ca.", "A private key came with a CA certificate."
)
CERTIFICATE_TYPE = row(
    3735622, 400, "The certificate type is not supported.", "No such type; or a root_ca that was to be installed."
)
NOT_SIGNED = row(
    3735626,
    400,
    "Failed to generate signed Certificate.",
    "The signing request cannot be read, or asks for what is not certified; `arguments` name the reason.",
)
CA_UNUSABLE = row(
    3735628,
    400,
    "Failed to use CA certificate for signing.",
    "The certificate is no root_ca, has expired or is not yet valid.",
)
COMMON_NAME_OF_CA = row(
    3735629,
    400,
    "Failed to sign the certificate because Common Name of signing certificate and Common Name of CA certificate are"
    " same.",
    "A signing request has a common name of the root_ca, whatever its case and blanks.",
)
OUTLIVES_CA = row(
    3735630,
    400,
    "Failed to sign the certificate because expiry date of signing certificate exceeds the expiry date of CA"
    " certificate.",
    "expiry_time lies after the root_ca's.",
)
NOT_A_CA = row(
    3735632,
    400,
    "Failed to extract Certificate Authority Information from the certificate.",
    "A CA certificate without the CA flag (X.509 basic constraints), or an issuer's name with control characters.",
)
SERIAL_GIVEN = row(
    3735645, 400, "Cannot specify a value for serial. It is generated automatically.", "serial_number in the body."
)
CERTIFICATE_IN_USE = row(
    3735683,
    400,
    "Cannot remove this certificate while external key manager is configured.",
    "A key manager refers to the certificate.",
)
PRIVATE_KEY_EMPTY = row(
    3735693,
    400,
    "The certificate installation failed as private key was empty.",
    "A client or server certificate came without its private key.",
)
INTERMEDIATES_FOR_CA = row(
    3735696,
    400,
    "Intermediate certificates are not supported with client_ca and server_ca type certificates.",
    "intermediate_certificates came with a CA certificate.",
)
KEY_SIZE = row(
    3735700,
    400,
    "The specified key size is not supported.",
    "An RSA key has less than 2048 or more than 8192 bits, or a public exponent of more than 64 bits. Or a key was to"
    " be made with other than 2048, 3072 or 4096 bits.",
)
VALIDITY_PERIOD = row(
    3735701,
    400,
    "Invalid expiration period. The allowed range for expiration time is between 1 and 3652 days.",
    "expiry_time is too near or too far.",
)
SECURITY_STRENGTH = row(
    3735713, 400, "Security strength bits length is not supported.", "security_strength is not 112, 128 or 192."
)
NO_NAME_TO_CERTIFY = row(
    3735715,
    400,
    "Certificate creation requires a common name or SAN extensions.",
    "A request for a CSR has neither a common name in subject_name nor subject_alternatives.",
)
ONLY_CRITICAL = row(
    3735750,
    400,
    'Cannot supply "critical" as the only value in a list of extension values.',
    "key_usages or extended_key_usages says `critical` and nothing else.",
)
CERTIFICATE_NOT_YET_VALID = row(
    52559972, 400, "The certificates start date is later than the current date.", "notBefore lies in the future."
)
CERTIFICATE_EXPIRED = row(52559973, 400, "The certificate has expired.", "notAfter lies in the past.")
CERTIFICATE_MALFORMED = row(
    52559975,
    400,
    "Failed to read the certificate due to incorrect formatting.",
    "The text is not exactly one certificate in PEM, or TLS refuses the certificate because its digest or curve is too"
    " weak.",
)
KEY_MISMATCH = row(
    52559976, 400, "The certificate and private key do not match.", "The key does not belong to the certificate."
)
KEY_MALFORMED = row(
    52560123,
    400,
    "Failed to read the key due to incorrect formatting.",
    "Not exactly one unencrypted RSA, EC (named curve) or Edwards key in PEM, or its numbers are no key's.",
)
HASH_FUNCTION = row(
    52560173,
    400,
    "The hash function is not supported for digital signatures.",
    "hash_function is not sha224, sha256, sha384 or sha512.",
)
SUBJECT_MALFORMED = row(
    52560423,
    400,
    "Failed to read the relative distinguished names.",
    "subject_name is not a list of key=value pairs with commas between them.",
)
