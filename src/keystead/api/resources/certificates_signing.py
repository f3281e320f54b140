"""``/security/certificates/{uuid}/sign`` and ``/security/certificate-signing-request``: actions that store nothing.

The answer to a request for a CSR holds its private key. This is the only time, because the key is stored nowhere.
Source: ONTAP REST API reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystead.api.codes import PUBLIC_KEY, SUBJECT
from keystead.api.declared import Form, Paths
from keystead.api.hal import Reply
from keystead.api.operations import acting
from keystead.api.resource import Field, Resource
from keystead.api.resources.certificates import COLLECTION, EXPIRY, alternative_fields, renamed, text_that
from keystead.api.values import TEXT, integer, one_of, text
from keystead.core import errors
from keystead.core.certificates.making import CRITICAL, EXTENDED_KEY_USAGES, KEY_USAGES, NewRequest
from keystead.core.certificates.signing import SigningOrder
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.api.values import Type

REQUESTS = "/api/security/certificate-signing-request"


def _usage(words: Iterable[str]) -> Type:
    """Return the type of one of these words or ``critical``, in any case."""
    known = {*words, CRITICAL}

    def check(word: str) -> str:
        if word.lower() not in known:
            raise ValueError("not one of the words")
        return word.lower()

    return text_that("|".join([*words, CRITICAL]), check)


def _given(name: str, type_: Type, help_: str, **options: Any) -> Field:
    """Return a field that a body may hold."""
    return Field(name=name, type=type_, help=help_, post=True, **options)


def _answered(name: str, help_: str) -> Field:
    """Return a field that only the answer holds."""
    return Field(name=name, type=TEXT, help=help_, read=Read.KEY)


SIGNINGS = Resource(
    name="security_certificate_sign",
    help="A signature by a ``root_ca``. The answer's ``public_certificate`` is always for a TLS client and server; "
    "other requested usages are ignored. It is recorded in the audit log and installed nowhere.",
    declared=(
        _given("signing_request", TEXT, "The certificate signing request, PEM.", required=True, read=Read.NEVER),
        _given(
            "expiry_time",
            EXPIRY,
            "1 to 3652 days from now, but not after the authority's expiry (365 days, or the authority's expiry).",
            read=Read.NEVER,
        ),
        _given("hash_function", TEXT, "The hash function of the signature (sha256).", read=Read.NEVER),
        _answered("public_certificate", "The signed certificate, PEM."),
    ),
    link=lambda _: COLLECTION,
)

SIGNING_REQUESTS = Resource(
    name="certificate_signing_request",
    help="A new key and its certificate signing request. Both are stored nowhere: only this answer shows the key.",
    declared=(
        _given(
            "subject_name", text(1024), "``C=US,O=NTAP,CN=test.domain.com``; a backslash escapes a comma.", since="9.8"
        ),
        *alternative_fields(lambda new: new, "9.8"),
        _given("algorithm", one_of("rsa", "ec"), "The algorithm of the key (rsa).", since="9.8"),
        _given("hash_function", TEXT, "The hash function of the signature (sha256).", since="9.8"),
        _given(
            "security_strength",
            integer(0, 65536),
            "Bits (112): RSA keys of 2048 (112) and 3072 (128), EC keys of 224 (112), 256 (128) and 384 (192).",
            since="9.8",
        ),
        _given(
            "key_usages",
            _usage(KEY_USAGES),
            "Key usages; ``critical`` only together with others.",
            many=True,
            since="9.8",
        ),
        _given(
            "key_usage",
            _usage(KEY_USAGES),
            "The same as ``key_usages``, under the name in ONTAP's examples.",
            many=True,
            since="9.8",
        ),
        _given("extended_key_usages", _usage(EXTENDED_KEY_USAGES), "Extended key usages.", many=True, since="9.8"),
        _given(
            "extended_key_usage",
            _usage(EXTENDED_KEY_USAGES),
            "The same as ``extended_key_usages``, under the name in ONTAP's examples.",
            many=True,
            since="9.8",
        ),
        _answered("csr", "The certificate signing request, PEM."),
        _answered("generated_private_key", "The private key, PKCS #8 in PEM, not encrypted."),
    ),
    link=lambda _: REQUESTS,
)


async def _sign(request: Request, values: dict[str, Any], _: WriteQuery) -> Reply:
    order = SigningOrder(**renamed(values))
    signed = await request.services.certificates.sign(request.call, request.path_uuid(), order)
    return Reply(200, {"public_certificate": signed})


async def _request(request: Request, values: dict[str, Any], _: WriteQuery) -> Reply:
    for plural in ("key_usages", "extended_key_usages"):
        words = values.pop(plural, ()) + values.pop(plural.removesuffix("s"), ())
        if words:
            values[plural] = words
    new = NewRequest(**renamed(values))
    made = await request.services.certificates.request(request.call, new)
    defaults = {
        "algorithm": new.algorithm,
        "hash_function": new.hash_function,
        "security_strength": new.security_strength,
    }
    key = made.private_key.reveal().decode()
    return Reply(200, defaults | values | {"csr": made.csr, "generated_private_key": key})


_SIGN_CODES = (
    *(errors.CA_UNUSABLE, errors.COMMON_NAME_OF_CA, errors.COMMON_NAME_ABSENT, errors.NOT_SIGNED, errors.OUTLIVES_CA),
    *(errors.VALIDITY_PERIOD, errors.NOT_A_CA, *PUBLIC_KEY, *SUBJECT),
)
_REQUEST_CODES = (
    *(errors.NO_NAME_TO_CERTIFY, errors.ONLY_CRITICAL, errors.SECURITY_STRENGTH, errors.TOO_MANY_REQUESTS),
    *(*PUBLIC_KEY, *SUBJECT),
)

PATHS: Paths = {
    f"{COLLECTION}/{{uuid}}/sign": {
        "POST": acting(SIGNINGS, _sign, Form.ACT, "Sign a certificate signing request", _SIGN_CODES)
    },
    REQUESTS: {
        "POST": acting(
            SIGNING_REQUESTS, _request, Form.ACT, "Create a key and a certificate signing request", _REQUEST_CODES
        )
    },
}
