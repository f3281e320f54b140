"""``/certificates/install`` and ``/certificates/request``: install a certificate, or make a request for one.

A private key is read from a form, and never shown again. Only the page of a new request shows its key, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystead.core import errors
from keystead.core.certificates.making import NewRequest
from keystead.core.certificates.subjects import AlternativeNames, dns_name, ip_address
from keystead.core.console_paths import CERTIFICATES
from keystead.core.errors import OntapError
from keystead.core.model import CertificateType
from keystead.web.certificates import INSTALLABLE, certificate_path, new_certificate, shown_again
from keystead.web.declaration import Page
from keystead.web.refusing import refusal
from keystead.web.rendering import page, redirect
from keystead.web.shell import shell
from keystead.web.ways import command, ways

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.responses import Response

    from keystead.service.configuration.certificates import MadeRequest
    from keystead.web.request import PageRequest
    from keystead.web.ways import Ways

INSTALL: Final = f"{CERTIFICATES}/install"
REQUEST: Final = f"{CERTIFICATES}/request"
INSTALL_FIELDS: Final = ("type", "name", "svm", "public_certificate")
REQUEST_FIELDS: Final = ("subject_name", "dns", "ip", "kind")

KINDS: Final = {
    "rsa-112": "RSA, 2048 bits",
    "rsa-128": "RSA, 3072 bits",
    "ec-128": "EC, 256 bits",
    "ec-192": "EC, 384 bits",
}
"""Kinds of keys of a request: the algorithm and the security strength."""

_API: Final = "/api/security/certificates"
_REQUESTS: Final = "/api/security/certificate-signing-request"


# --- install ---


async def install_form(request: PageRequest) -> Response:
    """Show the form to install a certificate."""
    return await _install_form(request, {"type": CertificateType.CLIENT.value})


async def install(request: PageRequest) -> Response:
    """Install the certificate and show it; or show the form again, with the reason."""
    try:
        made = await request.services.certificates.install(request.call, new_certificate(request.form))
    except OntapError as error:
        return await _install_form(request, request.form, error)
    return redirect(certificate_path(made.uuid))


async def _install_form(request: PageRequest, typed: Mapping[str, str], error: OntapError | None = None) -> Response:
    context = {
        "typed": shown_again(typed, INSTALL_FIELDS),
        "types": INSTALLABLE,
        "ways": _install_ways(request, typed),
        **await refusal(request, error),
    }
    status = error.kind.status if error else 200
    return page("install_certificate.html", await shell(request, CERTIFICATES) | context, status)


def _install_ways(request: PageRequest, typed: Mapping[str, str]) -> Ways:
    type_ = typed.get("type", "")
    has_key = type_ in {CertificateType.CLIENT, CertificateType.SERVER}
    cli = command(
        *("security", "certificate", "install"),
        vserver=typed.get("svm"),
        type=type_ if type_ in set(INSTALLABLE) else CertificateType.CLIENT.value,
        cert="certificate.pem",
        key="private.key" if has_key else None,
    )
    body: dict[str, Any] = {"type": type_, "public_certificate": "PEM"}
    return ways(request, cli, "POST", _API, body | ({"private_key": "PEM"} if has_key else {}))


# --- request ---


async def request_form(request: PageRequest) -> Response:
    """Show the form to make a certificate signing request."""
    return await _request_form(request, {})


async def make_request(request: PageRequest) -> Response:
    """Make a private key and its request, and show both once; or show the form again, with the reason."""
    try:
        made = await request.services.certificates.request(request.call, _new_request(request.form))
    except OntapError as error:
        return await _request_form(request, request.form, error)
    return await _request_form(request, request.form, made=made)


def _new_request(typed: Mapping[str, str]) -> NewRequest:
    """Return the request that was typed. Raises 262185 (400) for a name or a kind that is none."""
    kind = typed.get("kind", "")
    if kind not in KINDS:
        raise OntapError(errors.INVALID_VALUE, target="kind", field="kind", reason="there is no such kind of key")
    algorithm, _, strength = kind.partition("-")
    names = AlternativeNames(dns=_names(typed, "dns", dns_name), ip=_names(typed, "ip", ip_address))
    return NewRequest(
        typed.get("subject_name", "").strip(), names, algorithm=algorithm, security_strength=int(strength)
    )


def _names(typed: Mapping[str, str], field: str, check: Callable[[str], str]) -> tuple[str, ...]:
    try:
        return tuple(check(name) for name in typed.get(field, "").replace(",", " ").split())
    except ValueError:
        reason = "separate the names by commas or blanks"
        raise OntapError(errors.INVALID_VALUE, target=field, field=field, reason=reason) from None


async def _request_form(
    request: PageRequest,
    typed: Mapping[str, str],
    error: OntapError | None = None,
    made: MadeRequest | None = None,
) -> Response:
    shown = shown_again(typed, REQUEST_FIELDS)
    subject = shown["subject_name"] or "CN=client"
    cli = command(
        *("security", "certificate", "generate-csr"), subject=subject, csr_file="client.csr", key_file="client.key"
    )
    context = {
        "typed": shown,
        "kinds": KINDS,
        "csr": made.csr if made else "",
        "private_key": made.private_key.reveal().decode() if made else "",
        "ways": ways(request, cli, "POST", _REQUESTS, {"subject_name": subject}),
        **await refusal(request, error),
    }
    status = error.kind.status if error else 200
    return page("certificate_request.html", await shell(request, CERTIFICATES) | context, status)


_INSTALLS: Final = (("POST", _API),)
_ASKS: Final = (("POST", _REQUESTS),)

PAGES: Final = (
    Page(INSTALL, install_form, needs=_INSTALLS),
    Page(INSTALL, install, needs=_INSTALLS, method="POST"),
    Page(REQUEST, request_form, needs=_ASKS),
    Page(REQUEST, make_request, needs=_ASKS, method="POST"),
)
