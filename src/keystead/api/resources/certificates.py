"""``/security/certificates``: client and server CA certificates for KMIP. Source: ONTAP REST API reference."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.hal import Reply, segment
from keystead.api.operations import Paths, created, listing, showing
from keystead.api.query import read_write
from keystead.api.resource import Field, Resource, column
from keystead.api.resources.owner import owner_fields
from keystead.api.values import SECRET, TEXT, TIME, UUID, integer, name, text
from keystead.core import errors
from keystead.core.certificates import NewCertificate
from keystead.core.query import Read

if TYPE_CHECKING:
    from keystead.api.request import Request
    from keystead.api.values import Type
    from keystead.core.model import Certificate
    from keystead.core.query import Wanted

COLLECTION = "/api/security/certificates"


def certificate_link(uuid: str) -> str:
    """The path of a certificate."""
    return f"{COLLECTION}/{segment(uuid)}"


def _column(name: str, type_: Type, help_: str, **options: Any) -> Field:
    """A field that the model and the store know by the same name."""
    return Field(name=name, type=type_, help=help_, get=attrgetter(name), equals=column(name), **options)


CERTIFICATES = Resource(
    name="certificate",
    help="An installed certificate: ``client`` with its private key, or ``server_ca``.",
    declared=(
        _column("uuid", UUID, "The certificate's identifier.", read=Read.KEY),
        _column("name", name(255), "Its name, unique per SVM; made up when absent.", post=True, since="9.8"),
        _column("type", text(32), "``client`` or ``server_ca``.", post=True, required=True),
        _column("common_name", text(255), "The subject's common name.", post=True),
        _column("public_certificate", TEXT, "The certificate, PEM.", post=True, required=True),
        Field(
            name="private_key",
            type=SECRET,
            help="The key of a client certificate, PEM, not encrypted; never shown.",
            read=Read.NEVER,
            post=True,
            secret=True,
        ),
        Field(
            name="intermediate_certificates",
            type=TEXT,
            help="PEM texts, the issuer first; for client certificates.",
            read=Read.NEVER,
            post=True,
            many=True,
        ),
        *owner_fields(attrgetter("svm"), key=True),
        _column("ca", TEXT, "The issuer's common name."),
        _column("serial_number", text(40), "Hexadecimal.", refusal=errors.SERIAL_GIVEN),
        Field(
            name="expiry_time",
            type=TIME,
            help="When it expires.",
            get=lambda certificate: certificate.expiry_time.isoformat(),
        ),
        _column("key_size", integer(0, 65536), "Bits of the public key."),
        _column("hash_function", TEXT, "Of the signature, such as ``sha256``."),
        _column("authority_key_identifier", TEXT, "Hexadecimal with colons.", since="9.8"),
        _column("subject_key_identifier", TEXT, "Hexadecimal with colons.", since="9.8"),
    ),
    link=lambda certificate: certificate_link(certificate.uuid),
    absent=frozenset({"subject_alternatives", "azure"}),
)


async def _install(request: Request) -> Reply:
    query = read_write(CERTIFICATES, request.parameters(), "POST")
    values = await request.values(CERTIFICATES)
    svm = values.pop("svm", {})
    new = NewCertificate(**values, svm_uuid=svm.get("uuid"), svm_name=svm.get("name"))
    certificate = await request.services.certificates.install(request.call, new)
    return created(CERTIFICATES, request, query, [certificate])


async def _show(request: Request, _: Wanted) -> Certificate:
    return await request.services.certificates.get(request.call, request.path_uuid())


async def _delete(request: Request) -> Reply:
    uuid = request.path_uuid()
    read_write(CERTIFICATES, request.parameters(), "DELETE")
    await request.empty_body()
    await request.services.certificates.delete(request.call, uuid)
    return Reply(200, {})


PATHS: Paths = {
    COLLECTION: {
        "GET": listing(CERTIFICATES, lambda request, page: request.services.certificates.page(request.call, page)),
        "POST": _install,
    },
    f"{COLLECTION}/{{uuid}}": {"GET": showing(CERTIFICATES, _show), "DELETE": _delete},
}
