"""``/private/cli/security/certificate``: the certificates as ONTAP's command ``security certificate show`` names them.

Only for reading, because older scripts read them here. Source: ONTAP command reference; a dash of the command line is
an underscore in answers, and either in requests.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from keystead.api.operations import listing
from keystead.api.resource import Field, Resource
from keystead.api.resources.certificates import CERTIFICATES, certificate_link
from keystead.api.values import BOOLEAN, TEXT, TIME, UUID
from keystead.core import errors
from keystead.core.certificates.certificates import is_self_signed
from keystead.core.errors import OntapError
from keystead.core.query.query import Read, quoted

if TYPE_CHECKING:
    from keystead.api.declared import Paths
    from keystead.api.request import Request
    from keystead.core.model import Certificate
    from keystead.service.ports.page import Page

PATH: Final = "/api/private/cli/security/certificate"
_LISTS: Final = ("fields", "order_by", "$orderBy", "query_fields")
"""The parameters that hold names of fields."""


class _Shown(NamedTuple):
    """A certificate, and the name of its owner: an SVM or the cluster."""

    of: Certificate
    vserver: str


def _as_rest(name: str, rest: str, read: Read = Read.NORMAL) -> Field:
    """Return a field that has the value of a field of ``/security/certificates``."""
    same = CERTIFICATES.fields[rest]
    return Field(
        name=name,
        type=same.type,
        help=f"``{rest}`` of ``/security/certificates``.",
        get=lambda view: next(CERTIFICATES.values(view.of, rest), None),
        read=read,
        column=same.column,
    )


CLI_CERTIFICATES = Resource(
    name="cli_certificate",
    help="A certificate as ONTAP's command ``security certificate show`` names its values. Only for reading, for older"
    " scripts. Names may have dashes.",
    declared=(
        Field(
            name="vserver",
            type=TEXT,
            help="The owner's name: an SVM or the cluster.",
            get=attrgetter("vserver"),
            read=Read.KEY,
        ),
        _as_rest("common_name", "common_name", Read.KEY),
        _as_rest("serial", "serial_number", Read.KEY),
        _as_rest("ca", "ca", Read.KEY),
        _as_rest("type", "type", Read.KEY),
        _as_rest("cert_name", "name"),
        _as_rest("size", "key_size"),
        Field(
            name="start",
            type=TIME,
            help="The time from which it is valid.",
            get=lambda view: view.of.not_before.isoformat(),
            column="not_before",
        ),
        _as_rest("expiration", "expiry_time"),
        _as_rest("public_cert", "public_certificate"),
        _as_rest("hash_function", "hash_function"),
        Field(
            name="self_signed",
            type=BOOLEAN,
            help="Whether its own key signed it.",
            get=lambda view: is_self_signed(view.of.public_certificate),
        ),
    ),
    link=lambda view: certificate_link(view.of.uuid),
    order=("uuid", UUID, attrgetter("of.uuid")),
    absent=frozenset(
        {"subtype", "country", "state", "locality", "organization", "unit", "email_addr", "protocol", "is_root"}
    ),
)


def cli_parameters(request: Request) -> dict[str, str]:
    """Return the URL's parameters with underscores in the names of fields. Raise 262220 for ``fields=*``."""
    spelled: dict[str, str] = {}
    for name, value in request.parameters().items():
        plain = name.replace("-", "_")
        if plain in spelled:
            raise OntapError(errors.FIELD_TWICE, target=quoted(name), field=quoted(name))
        spelled[plain] = value.replace("-", "_") if plain in _LISTS else value
    if {"*", "**"} & {field.strip() for field in spelled.get("fields", "").split(",")}:
        raise OntapError(errors.ALL_FIELDS_OF_CLI, target="fields")
    return spelled


async def _page(request: Request, page: Page) -> list[_Shown]:
    found = await request.services.certificates.page(request.call, page)
    cluster = (await request.services.cluster.get(request.call)).cluster
    return [_Shown(each, each.svm.name if each.svm else cluster.name) for each in found]


PATHS: Paths = {
    PATH: {"GET": listing(CLI_CERTIFICATES, _page, (errors.ALL_FIELDS_OF_CLI,), parameters=cli_parameters)},
}
