"""``/certificates``: all certificates by their end; one certificate, what its end would mean, and its deletion."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from keystead.core.certificates.facts import certificate_facts
from keystead.core.console_paths import CERTIFICATES
from keystead.core.errors import OntapError
from keystead.core.model import CertificateType
from keystead.web.certificates import (
    HORIZON,
    TICKS,
    TYPES,
    certificate_path,
    effects,
    entries,
    filtered,
    users,
)
from keystead.web.declaration import Page
from keystead.web.lists import first_row
from keystead.web.overview import tone_of_end
from keystead.web.refusing import refusal
from keystead.web.rendering import page, redirect
from keystead.web.shell import ATTENTION, shell
from keystead.web.ways import command, vserver, ways

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from keystead.core.availability import UsedCertificate
    from keystead.core.model import Certificate
    from keystead.web.request import PageRequest
    from keystead.web.ways import Ways

ROWS: Final = 200
"""How many certificates a page shows."""

API: Final = "/api/security/certificates"
ONE: Final = f"{API}/-"
MANAGERS: Final = "/api/security/key-managers"


async def certificates(request: PageRequest) -> Response:
    """Show all certificates, the next to end first."""
    now, asked = datetime.now(UTC), request.http.query_params
    uses = await request.services.certificate_uses.all(request.call)
    found = filtered(entries(uses, await _shown(request), now), asked)
    start = first_row(asked.get("from", ""))
    context = {
        "entries": found[start : start + ROWS],
        "count": len(found),
        "earlier": start,
        "next": start + ROWS if len(found) > start + ROWS else 0,
        "wanted": {name: asked.get(name, "") for name in ("type", "svm")},
        "types": TYPES,
        "horizon": HORIZON.days,
        "ticks": TICKS,
    }
    return page("certificates.html", await shell(request, CERTIFICATES) | context)


async def _shown(request: PageRequest) -> Sequence[UsedCertificate]:
    """Return the certificates that key servers showed, as far as the account may see them."""
    if not request.may("GET", ATTENTION):
        return ()
    return (await request.services.attention.overview(request.call)).certificates


async def certificate(request: PageRequest) -> Response:
    """Show one certificate."""
    return await _one(request)


async def delete(request: PageRequest) -> Response:
    """Delete the certificate with its private key, and show the others."""
    try:
        await request.services.certificates.delete(request.call, request.value("uuid"))
    except OntapError as error:
        return await _one(request, error)
    return redirect(CERTIFICATES)


async def _one(request: PageRequest, error: OntapError | None = None) -> Response:
    """Show one certificate. ``error`` says why a form was refused."""
    use, found = await request.services.certificate_uses.one(request.call, request.value("uuid"))
    of, now = use.certificate, datetime.now(UTC)
    may_delete = request.may("DELETE", f"{API}/{of.uuid}")
    can_follow = of.type is CertificateType.CLIENT and any(each.as_client for each in use.key_managers)
    context = {
        "of": of,
        "type": TYPES[of.type],
        "path": certificate_path(of.uuid),
        "facts": certificate_facts(of.public_certificate),
        "left": of.expiry_time - now,
        "tone": tone_of_end(of.expiry_time - now),
        "use": use,
        "used_by": users(use),
        "effects": effects(found, of.expiry_time, now),
        "may_delete": may_delete,
        "delete_ways": _delete_ways(request, of) if may_delete else [],
        "can_follow": can_follow and request.may("POST", API) and request.may("PATCH", f"{MANAGERS}/-"),
        **await refusal(request, error),
    }
    return page("certificate.html", await shell(request, CERTIFICATES) | context, error.kind.status if error else 200)


def _delete_ways(request: PageRequest, of: Certificate) -> Ways:
    words = ("security", "certificate", "delete")
    cli = command(*words, vserver=vserver(of.svm), name=of.name)
    return ways(request, cli, "DELETE", f"{API}/{of.uuid}")


PAGES: Final = (
    Page(CERTIFICATES, certificates, needs=(("GET", API), ("GET", MANAGERS))),
    Page(f"{CERTIFICATES}/{{uuid}}", certificate, needs=(("GET", ONE), ("GET", MANAGERS))),
    Page(f"{CERTIFICATES}/{{uuid}}/delete", delete, needs=(("DELETE", ONE),), method="POST", asks_password=True),
)
