"""``/security/certificates/{uuid}/sign`` and ``/security/certificate-signing-request``: actions that store nothing.

The answer to a request for a CSR holds its private key, once: it is kept nowhere. Source: ONTAP REST API reference.
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
    """One of the words, in any case."""
    known = {*words, CRITICAL}

    def check(word: str) -> str:
        if word.lower() not in known:
            raise ValueError("not one of the words")
        return word.lower()

    return text_that("|".join([*words, CRITICAL]), check)


def _given(name: str, type_: Type, help_: str, **options: Any) -> Field:
    """A field that a body may hold."""
    return Field(name=name, type=type_, help=help_, post=True, **options)


def _answered(name: str, help_: str) -> Field:
    """A field of the answer only."""
    return Field(name=name, type=TEXT, help=help_, read=Read.KEY)


SIGNINGS = Resource(
    name="security_certificate_sign",
    help="A signature of a ``root_ca``: the answer's ``public_certificate`` is a TLS client's and server's, "
    "whatever else was requested. It is recorded in the audit log, and installed nowhere.",
    declared=(
        _given("signing_request", TEXT, "The certificate signing request, PEM.", required=True, read=Read.NEVER),
        _given(
            "expiry_time",
            EXPIRY,
            "1 to 3652 days from now, not after the authority's (365 days, or the authority's).",
            read=Read.NEVER,
        ),
        _given("hash_function", TEXT, "Of the signature (sha256).", read=Read.NEVER),
        _answered("public_certificate", "The signed certificate, PEM."),
    ),
    link=lambda _: COLLECTION,
)

SIGNING_REQUESTS = Resource(
    name="certificate_signing_request",
    help="A key and a request to certify it, made together and stored nowhere: the answer is the one place where the "
    "key is shown.",
    declared=(
        _given(
            "subject_name", text(1024), "``C=US,O=NTAP,CN=test.domain.com``; a backslash escapes a comma.", since="9.8"
        ),
        *alternative_fields(lambda new: new, "9.8"),
        _given("algorithm", one_of("rsa", "ec"), "Of the key (rsa).", since="9.8"),
        _given("hash_function", TEXT, "Of the signature (sha256).", since="9.8"),
        _given(
            "security_strength",
            integer(0, 65536),
            "Bits (112): RSA keys of 2048 (112) and 3072 (128), EC keys of 224 (112), 256 (128) and 384 (192).",
            since="9.8",
        ),
        _given("key_usages", _usage(KEY_USAGES), "Key usages; ``critical`` beside others.", many=True, since="9.8"),
        _given("key_usage", _usage(KEY_USAGES), "As ``key_usages``, as in ONTAP's examples.", many=True, since="9.8"),
        _given("extended_key_usages", _usage(EXTENDED_KEY_USAGES), "Extended key usages.", many=True, since="9.8"),
        _given(
            "extended_key_usage",
            _usage(EXTENDED_KEY_USAGES),
            "As above, as in ONTAP's examples.",
            many=True,
            since="9.8",
        ),
        _answered("csr", "The certificate signing request, PEM."),
        _answered("generated_private_key", "Its private key, PKCS #8 in PEM, not encrypted."),
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
            SIGNING_REQUESTS, _request, Form.ACT, "Make a key and a certificate signing request", _REQUEST_CODES
        )
    },
}
