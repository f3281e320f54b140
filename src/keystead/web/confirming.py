"""The question for the password before what matters is done. The form that was sent waits in hidden fields.

No page repeats a secret. So a form with secrets has a field of its own for the password, as long as it must be shown.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from keystead.core import errors
from keystead.core.audit import is_secret
from keystead.core.errors import OntapError
from keystead.core.secret import Secret
from keystead.web.rendering import page
from keystead.web.request import TOKEN_FIELD
from keystead.web.shell import shell

if TYPE_CHECKING:
    from starlette.responses import Response

    from keystead.web.request import PageRequest

FIELD: Final = "own_password"
"""The field with the password of who asks: here, and in forms with secrets."""

_NOT_SHOWN: Final = {errors.AUTHENTICATION_FAILED, errors.TOO_MANY_REQUESTS}


async def confirmation(request: PageRequest) -> Response | None:
    """Return the page that asks for the password, None if it was shown just now or lately. Raises OntapError."""
    now = datetime.now(UTC)
    if request.is_confirmed(now):
        return None
    password, failed = request.form.get(FIELD, ""), None
    if password:
        try:
            await request.services.sessions.confirm(request.session, Secret(password), request.caller.location)
        except OntapError as error:
            if error.kind not in _NOT_SHOWN:
                raise
            failed = error
        else:
            request.session = replace(request.session, confirmed=now)
            return None
    secrets = [name for name in request.form if is_secret(name)]
    fields = {name: value for name, value in request.form.items() if name not in {TOKEN_FIELD, *secrets}}
    context = {"fields": fields, "failed": failed, "drops_secrets": bool({*secrets} - {FIELD})}
    return page("confirm.html", await shell(request, "") | context, failed.kind.status if failed else 200)
