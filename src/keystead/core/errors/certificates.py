"""Codes of certificates. Source: ONTAP pages of ``/security/certificates``."""

from __future__ import annotations

from keystead.core.errors.table import row

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
CERTIFICATE_TYPE = row(3735622, 400, "The certificate type is not supported.", "No such type, or not one stored here.")
NOT_A_CA = row(
    3735632,
    400,
    "Failed to extract Certificate Authority Information from the certificate.",
    "A server_ca certificate without the CA flag (X.509 basic constraints).",
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
    "A client certificate came without its private key.",
)
INTERMEDIATES_FOR_CA = row(
    3735696,
    400,
    "Intermediate certificates are not supported with client_ca and server_ca type certificates.",
    "intermediate_certificates came with a CA certificate.",
)
KEY_SIZE = row(
    3735700, 400, "The specified key size is not supported.", "An RSA key of less than 2048 or more than 8192 bits."
)
CERTIFICATE_NOT_YET_VALID = row(
    52559972, 400, "The certificates start date is later than the current date.", "notBefore lies in the future."
)
CERTIFICATE_EXPIRED = row(52559973, 400, "The certificate has expired.", "notAfter lies in the past.")
CERTIFICATE_MALFORMED = row(
    52559975,
    400,
    "Failed to read the certificate due to incorrect formatting.",
    "The text is not exactly one certificate in PEM.",
)
KEY_MISMATCH = row(
    52559976, 400, "The certificate and private key do not match.", "The key does not belong to the certificate."
)
KEY_MALFORMED = row(
    52560123, 400, "Failed to read the key due to incorrect formatting.", "Not an unencrypted RSA or EC key in PEM."
)
