"""``/audit``: who did what, the newest first, and whether the records are as they were written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystead.core.errors import OntapError
from keystead.service.audit.chains import VERIFIED_AT_ONCE
from keystead.web.declaration import Page
from keystead.web.events import AUDIT, OUTCOMES, audit_page, audit_row, audit_values, chain_rows, older_records
from keystead.web.lists import AFTER
from keystead.web.refusing import refusal
from keystead.web.rendering import page, redirect
from keystead.web.shell import shell

if TYPE_CHECKING:
    from starlette.responses import Response

    from keystead.web.request import PageRequest

ROWS: Final = 50
SETTINGS: Final = "/api/security/audit"
"""The options of the audit log. Who may read them sees the chains, and who may change them may verify the chains."""


async def audit(request: PageRequest) -> Response:
    """Show a page of the audit log."""
    return await _shown(request)


async def verify(request: PageRequest) -> Response:
    """Verify the chains, and show what was found."""
    try:
        await request.services.audit_chains.verify(request.call)
    except OntapError as error:
        return await _shown(request, error)
    return redirect(AUDIT)


async def _shown(request: PageRequest, error: OntapError | None = None) -> Response:
    """Show a page of the audit log. ``error`` says why the chains were not verified."""
    asked, services = request.http.query_params, request.services
    found = await services.audit_messages.page(request.call, audit_page(asked, ROWS + 1))
    sees_chains = request.call.scope is None and request.may("GET", SETTINGS)
    chains = await services.audit_chains.state(request.call) if sees_chains else None
    context = {
        "rows": [audit_row(message) for message in found[:ROWS]],
        "wanted": audit_values(asked),
        "outcomes": OUTCOMES,
        "is_first": AFTER not in asked,
        "next": older_records(asked, found[ROWS - 1]) if len(found) > ROWS else "",
        "chains": chains,
        "chain_rows": chain_rows(chains) if chains else [],
        "can_verify": request.may("PATCH", SETTINGS),
        "limit": VERIFIED_AT_ONCE,
        **await refusal(request, error),
    }
    return page("audit.html", await shell(request, AUDIT) | context, error.kind.status if error else 200)


PAGES: Final = (
    Page(AUDIT, audit, needs=(("GET", "/api/security/audit/messages"),)),
    Page(f"{AUDIT}/verify", verify, needs=(("PATCH", SETTINGS),), method="POST"),
)
