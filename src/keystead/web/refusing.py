"""What a page shows of a refused form. The form is shown again, with the error and with what was typed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from keystead.core.errors import ADVICE
from keystead.core.errors.remedies import advice_of

if TYPE_CHECKING:
    from keystead.core.errors import OntapError
    from keystead.service.cluster.jobs import JobView
    from keystead.web.request import PageRequest

_LINK: Final = re.compile(r"\[([^\]]*)\]\([^)]*\)")


class RefusingServer(NamedTuple):
    """A key server that refuses: at which stage, the reason in words, and what to do."""

    server: str
    stage: str
    reason: str
    advice: str


async def refusal(request: PageRequest, error: OntapError | None) -> dict[str, Any]:
    """Return what the macro ``refused`` shows; the refusal is recorded. None: nothing was refused."""
    if error is None:
        return {"error": None, "advice": "", "servers": []}
    await request.services.audit.refuse(request.call, error)
    servers = refusing_servers(error)
    return {"error": error, "advice": "" if servers else plain(ADVICE.get(error.kind, "")), "servers": servers}


def plain(advice: str) -> str:
    """Return an advice without the marks of the reference page that it is written for."""
    return _LINK.sub(r"\1", advice).replace("`", "")


def refusing_servers(error: OntapError | JobView) -> list[RefusingServer]:
    """Return the key servers that an error, or that of a failed job, names, in its order.

    In its arguments the facts of each server follow its name.
    """
    found: list[dict[str, str]] = []
    for name, value in error.arguments:
        if name == "server":
            found.append({})
        if found:
            found[-1][name] = value
    return [
        RefusingServer(
            each["server"], each.get("stage", ""), each["reason"].replace("_", " "), plain(advice_of(each["reason"]))
        )
        for each in found
        if each.get("reason")
    ]
