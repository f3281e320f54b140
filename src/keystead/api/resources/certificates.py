"""``/security/certificates``: install, create, list, rename and delete certificates.

Source: ONTAP REST API reference. certificates_signing.py signs and creates certificate signing requests.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.codes import ONE_OWNER, PUBLIC_KEY, SUBJECT
from keystead.api.collections import Collection
from keystead.api.hal import segment
from keystead.api.resource import Field, Group, Resource
from keystead.api.resources.owner import owner_fields
from keystead.api.values import SECRET, TEXT, TIME, UUID, Type, integer, name, text
from keystead.core import errors
from keystead.core.certificates import subjects
from keystead.core.certificates.certificates import NewCertificate
from keystead.core.certificates.making import NewSelfSigned, parse_expiry
from keystead.core.certificates.subjects import AlternativeNames
from keystead.core.errors import OntapError
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.core.model import Certificate
    from keystead.core.query.query import Wanted
    from keystead.service.ports.page import Page

COLLECTION = "/api/security/certificates"


def certificate_link(uuid: str) -> str:
    """Return the path of a certificate."""
    return f"{COLLECTION}/{segment(uuid)}"


def text_that(shown: str, check: Callable[[str], Any]) -> Type:
    """Return the type of a text that ``check`` parses. ``check`` raises ValueError for an invalid text."""
    return Type(f"<{shown}>", lambda value: check(str(TEXT.parse(value))))


EXPIRY = text_that("ISO 8601 duration, date, or date and time with zone", parse_expiry)
_ALTERNATIVES = {
    "dns": (text_that("DNS name", subjects.dns_name), "DNS names."),
    "ip": (text_that("IP address", subjects.ip_address), "IP addresses."),
    "email": (text_that("email address", subjects.email_address), "Email addresses."),
    "uri": (text_that("URI", subjects.uri), "URIs."),
}
_CREATES = ("expiry_time", "key_size", "hash_function", "subject_alternatives")
_INSTALLS = ("private_key", "intermediate_certificates")


def alternative_fields(get: Callable[[Any], Any], since: str) -> tuple[Field | Group, ...]:
    """Return the fields of ``subject_alternatives``, the same in each resource. ``get`` reads AlternativeNames."""
    group = "subject_alternatives"
    return (
        Group(name=group, help="Subject alternative names.", get=get),
        *(
            Field(
                name=f"{group}.{kind}",
                type=type_,
                help=help_,
                get=lambda names, kind=kind: list(getattr(names, kind)) or None,  # type: ignore[misc]
                post=True,
                many=True,
                since=since,
            )
            for kind, (type_, help_) in _ALTERNATIVES.items()
        ),
    )


def _column(name: str, type_: Type, help_: str, **options: Any) -> Field:
    """Return a field that has the same name in the model and in the store."""
    return Field(name=name, type=type_, help=help_, get=attrgetter(name), column=name, **options)


CERTIFICATES = Resource(
    name="certificate",
    ontap="SecurityCertificate",
    help="An installed or self-signed certificate. A POST without ``public_certificate`` creates a self-signed one of "
    "type ``client``, ``server`` or ``root_ca``. Its private key never leaves the service.",
    declared=(
        _column("uuid", UUID, "The certificate's identifier.", read=Read.KEY),
        _column(
            "name",
            name(255),
            "The certificate's name, unique per SVM; generated if absent.",
            post=True,
            patch=True,
            since="9.8",
        ),
        _column(
            "type",
            text(32),
            "``client`` and ``server`` have a private key. ``client_ca`` and ``server_ca`` are trusted authorities. A "
            "``root_ca`` signs.",
            post=True,
            required=True,
        ),
        _column("common_name", text(255), "The subject's common name; required to create a certificate.", post=True),
        _column("public_certificate", TEXT, "The certificate, PEM.", post=True),
        Field(
            name="private_key",
            type=SECRET,
            help="The key of a client or server certificate, PEM, not encrypted; never shown.",
            read=Read.NEVER,
            post=True,
            secret=True,
        ),
        Field(
            name="intermediate_certificates",
            type=TEXT,
            help="The intermediate certificates as PEM, the issuer first; for client and server certificates.",
            read=Read.NEVER,
            post=True,
            many=True,
        ),
        *owner_fields(attrgetter("svm"), key=True),
        _column("ca", TEXT, "The issuer's common name."),
        _column("serial_number", text(40), "The serial number in hexadecimal.", refusal=errors.SERIAL_GIVEN),
        Field(
            name="expiry_time",
            type=TIME,
            given=EXPIRY,
            column="expiry_time",
            help="The time of expiry. A created certificate expires in 1 to 3652 days (365).",
            get=lambda certificate: certificate.expiry_time.isoformat(),
            post=True,
        ),
        _column(
            "key_size", integer(0, 65536), "Bits of the public key; 2048, 3072 or 4096 for a created one.", post=True
        ),
        _column("hash_function", TEXT, "The hash function of the signature, such as ``sha256``.", post=True),
        _column(
            "authority_key_identifier", TEXT, "The authority's key identifier in hexadecimal with colons.", since="9.8"
        ),
        _column(
            "subject_key_identifier", TEXT, "The subject's key identifier in hexadecimal with colons.", since="9.8"
        ),
        *alternative_fields(lambda certificate: subjects.alternatives_in(certificate.public_certificate), "9.15"),
    ),
    link=lambda certificate: certificate_link(certificate.uuid),
)


async def _create(request: Request, values: dict[str, Any], _: WriteQuery) -> Certificate:
    svm = values.pop("svm", {})
    owner = {"svm_uuid": svm.get("uuid"), "svm_name": svm.get("name")}
    certificates = request.services.certificates
    if "public_certificate" in values:
        _check_installs(values)
        installed = await certificates.install(request.call, NewCertificate(**values, **owner))
        request.warnings += request.services.attention.warnings_of(installed)
        return installed
    _check_creates(values)
    return await certificates.create(request.call, NewSelfSigned(**renamed(values), **owner))


def _check_installs(values: dict[str, Any]) -> None:
    """Refuse fields that describe a new certificate if the body holds a certificate."""
    for field in _CREATES:
        if field in values:
            raise OntapError(errors.FIELDS_EXCLUDE_EACH_OTHER, target=field, field=field, other="public_certificate")


def _check_creates(values: dict[str, Any]) -> None:
    """Raise an error if the body holds fields that need a certificate, because it holds no certificate."""
    if any(field in values for field in _INSTALLS):
        raise OntapError(errors.MISSING_VALUE, target="public_certificate", field="public_certificate")


def renamed(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a body under the names that core uses.

    ``expiry_time`` becomes ``expiry``. The alternative names become one value, ``alternatives``.
    """
    kept = dict(values)
    if "expiry_time" in kept:
        kept["expiry"] = kept.pop("expiry_time")
    if "subject_alternatives" in kept:
        kept["alternatives"] = AlternativeNames(**kept.pop("subject_alternatives"))
    return kept


async def _page(request: Request, page: Page) -> tuple[Certificate, ...]:
    return await request.services.certificates.page(request.call, page)


async def _show(request: Request, _: Wanted) -> Certificate:
    return await request.services.certificates.get(request.call, request.path_uuid())


async def _patch(request: Request, key: str, values: dict[str, Any], _: WriteQuery) -> None:
    await request.services.certificates.rename(request.call, key, values["name"])


async def _delete(request: Request, key: str, _: WriteQuery) -> None:
    await request.services.certificates.delete(request.call, key)


_CODES = {
    "POST": (
        *(errors.CERTIFICATE_TYPE, errors.INTERMEDIATES_FOR_CA, errors.KEY_FOR_CA, errors.PRIVATE_KEY_EMPTY),
        *(errors.CERTIFICATE_MALFORMED, errors.KEY_MALFORMED, errors.KEY_MISMATCH, errors.CERTIFICATE_EXPIRED),
        *(errors.CERTIFICATE_NOT_YET_VALID, errors.NOT_A_CA, errors.NO_COMMON_NAME, errors.VALIDITY_PERIOD),
        *(errors.SERIAL_GIVEN, errors.DUPLICATE_ENTRY, errors.TOO_MANY_REQUESTS),
        *(*PUBLIC_KEY, *SUBJECT, *ONE_OWNER),
    ),
    "PATCH": (errors.DUPLICATE_ENTRY,),
    "DELETE": (errors.CERTIFICATE_IN_USE,),
}

PATHS = Collection(
    resource=CERTIFICATES, page=_page, show=_show, create=_create, patch=_patch, delete=_delete, codes=_CODES
).paths(COLLECTION)
