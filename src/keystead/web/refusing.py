"""What a page shows of a refused form. The form is shown again, with the error and with what was typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystead.core.errors import ADVICE

if TYPE_CHECKING:
    from keystead.core.errors import OntapError
    from keystead.web.request import PageRequest


async def refusal(request: PageRequest, error: OntapError | None) -> dict[str, Any]:
    """Return what the macro ``refused`` shows; the refusal is recorded. None: nothing was refused."""
    if error is None:
        return {"error": None, "advice": ""}
    await request.services.audit.refuse(request.call, error)
    return {"error": error, "advice": ADVICE.get(error.kind, "")}
