"""One request for a page: who asks, what they may do, and the form that they sent."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from starlette.formparsers import MultiPartException
from starlette.requests import Request

from keystead.core import errors
from keystead.core.access import is_allowed
from keystead.core.audit import masked_input
from keystead.core.errors import OntapError
from keystead.core.sessions import is_confirmed
from keystead.service.context import Call
from keystead.web.security import check_same_origin, check_token, form_token

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from keystead.core.sessions import Session
    from keystead.service.context import Caller
    from keystead.service.services import Services

FORM_LIMIT: Final = 64 * 1024
"""Most bytes of a form: a chain of PEM certificates with its key is a tenth of that."""

READ_LIMIT_S: Final = 10.0
TOKEN_FIELD: Final = "form_token"  # noqa: S105 - a field's name


@dataclass(slots=True)
class PageRequest:
    """A request of somebody who is logged in. ``token`` is the session's token, from the cookie.

    ``needs`` are the calls of the API, method and path, that each page needs, by the page's path.
    """

    http: Request
    services: Services
    caller: Caller
    session: Session
    token: str
    origin: str = ""
    needs: Mapping[str, Collection[tuple[str, str]]] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The path of the page."""
        return str(self.http.url.path)

    @property
    def call(self) -> Call:
        """The facts that use cases and audit records need. Secrets of the form are masked."""
        sent = {name: value for name, value in self.form.items() if name != TOKEN_FIELD}
        masked = masked_input(json.dumps(sent).encode()) if sent else ""
        return Call(self.caller, self.http.method, self.path, masked, self.caller.svm)

    def may(self, method: str, path: str) -> bool:
        """Return True if the account may make this call of the API. Buttons and pages are shown by it."""
        return is_allowed(self.caller.role, method, path)

    def may_open(self, path: str) -> bool:
        """Return True if the account may make all calls that the page of this path needs."""
        return all(self.may(*need) for need in self.needs[path])

    def require(self, method: str, path: str) -> None:
        """Raise 6 (403) unless the account may make this call of the API."""
        if not self.may(method, path):
            raise OntapError(errors.NOT_AUTHORIZED)

    def value(self, name: str) -> str:
        """Return a value of the path. Raises 4 (404) for what cannot be printed: nothing is named so."""
        text = str(self.http.path_params[name])
        if not text.isprintable():
            raise OntapError(errors.ENTRY_NOT_FOUND, target=name)
        return text

    def form_token(self, path: str) -> str:
        """Return the token for a form that posts to ``path``."""
        return form_token(self.token, path)

    def is_confirmed(self, now: datetime) -> bool:
        """Return True if the password was shown lately."""
        return is_confirmed(self.session, now)

    async def read_form(self) -> None:
        """Read and check the form; see :func:`read_form`."""
        self.form = await read_form(self.http, self.token, self.origin)


async def read_form(http: Request, secret: str, origin: str) -> Mapping[str, str]:
    """Return the fields of a form that one of our pages sent. The text of a file is the value of its field.

    ``secret`` is the cookie's value that the form's token was made with. Raises 6 (403) for a form from elsewhere.
    Raises 262200 (413) if it is too large, 262201 (408) if it is too slow, and an error if it is no form. Raises 262185
    (400) for the character NUL: no form of ours has a use for it, and PostgreSQL cannot store it.
    """
    check_same_origin(http, origin)
    try:
        async with asyncio.timeout(READ_LIMIT_S):
            fields = await _fields(http)
    except TimeoutError:
        raise OntapError(errors.BODY_TOO_SLOW) from None
    except MultiPartException:
        raise OntapError(errors.UNSUPPORTED_CONTENT) from None
    check_token(secret, http.url.path, fields.get(TOKEN_FIELD, ""))
    for name, value in fields.items():
        if "\0" in name + value:
            reason = "it holds the character NUL, which no text has"
            raise OntapError(errors.INVALID_VALUE, target=name, field=name, reason=reason)
    return fields


async def _fields(http: Request) -> Mapping[str, str]:
    size, parts = 0, []
    async for part in http.stream():
        parts.append(part)
        size += len(part)
        if size > FORM_LIMIT:
            raise OntapError(errors.BODY_TOO_LARGE, limit=FORM_LIMIT)
    body = b"".join(parts)

    async def replayed() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    found: dict[str, str] = {}
    async with Request(http.scope, replayed).form(max_files=4, max_fields=100) as form:
        for name, value in form.multi_items():
            text = value if isinstance(value, str) else (await value.read()).decode(errors="replace")
            found[name] = f"{found[name]}\n{text}" if name in found else text
    return found
