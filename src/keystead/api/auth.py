"""Authentication and authorisation: credentials, roles and the rules for browsers, before the body is read.

This is ASGI middleware around the router. Services verify passwords and client certificates. This module extracts the
credentials and checks the role's table and the ``Origin`` rules. It raises refusals; errors.py answers them.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from keystead.api.body import declares_body, header
from keystead.api.health import METRICS
from keystead.api.request import CALLER
from keystead.core import errors
from keystead.core.access import READS, is_allowed, is_retrieval
from keystead.core.errors import OntapError
from keystead.core.secret import Secret
from keystead.service.accounts.certificate_logins import shown_chain

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from keystead.service.accounts.certificate_logins import CertificateLogins
    from keystead.service.accounts.logins import Logins
    from keystead.service.context import Caller

CREDENTIAL_LIMIT = 4096  # bytes of an Authorization header; far more than any name and password need
JSON_TYPES = {b"application/json", b"application/hal+json"}


class Authentication:
    """Middleware that stores the caller in the scope, or raises 6691623 (401) or 6 (403)."""

    def __init__(
        self, app: ASGIApp, logins: Logins, certificate_logins: CertificateLogins, on_login: Callable[[str], None]
    ) -> None:
        self._app = app
        self._on_login = on_login
        self._logins = logins
        self._certificate_logins = certificate_logins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate the caller, check that the role allows the call, and pass the request on."""
        if scope["type"] == "http":
            caller = scope[CALLER] = await self._caller(scope)
            self._on_login(caller.location)
            if not is_allowed(caller.role, scope["method"], scope["path"]):
                raise OntapError(errors.NOT_AUTHORIZED)
            check_origin(scope)
        await self._app(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller:
        """Return the account that calls. A Basic credential takes precedence over a client certificate."""
        location = scope["client"][0] if scope.get("client") else ""
        credential = header(scope, b"authorization")
        chain = shown_chain(scope)
        if chain and not credential:
            return await self._certificate_logins.authenticate(chain, location)
        name, password = read_basic(credential)
        # A remembered credential is enough here while the database is away.
        recall = scope["path"] == METRICS or is_retrieval(scope["path"])
        return await self._logins.authenticate(name, password, location, recall=recall)


def read_basic(value: bytes) -> tuple[str, Secret]:
    """Return name and password of a Basic credential (RFC 7617), or raise 6691623 (401).

    The credential is decoded as UTF-8, or as Latin-1 if it is not UTF-8.
    """
    scheme, _, encoded = value.partition(b" ")
    if scheme.lower() != b"basic" or len(encoded) > CREDENTIAL_LIMIT:
        raise OntapError(errors.AUTHENTICATION_FAILED)
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
    except binascii.Error:
        raise OntapError(errors.AUTHENTICATION_FAILED) from None
    try:
        text = decoded.decode()
    except UnicodeDecodeError:
        text = decoded.decode("latin-1")
    name, colon, password = text.partition(":")
    if not colon or not name.isprintable() or not name:
        raise OntapError(errors.AUTHENTICATION_FAILED)
    return name, Secret(password)


def check_origin(scope: Scope) -> None:
    """Raise 6 (403) for a write from a foreign web page. Raise an error if a browser's write does not declare JSON.

    A browser sends ``Origin`` with every write. A foreign page cannot declare JSON without a preflight request to us.
    Other clients send no ``Origin``. Their bodies are read as JSON whatever type they declare, because ``curl -d``
    declares a form.
    """
    origin = header(scope, b"origin")
    if not origin or scope["method"] in READS:
        return
    own = scope["scheme"].encode() + b"://" + header(scope, b"host")
    if origin.lower() != own.lower():
        raise OntapError(errors.NOT_AUTHORIZED)
    media_type = header(scope, b"content-type").partition(b";")[0].strip().lower()
    if declares_body(scope) and media_type not in JSON_TYPES:
        raise OntapError(errors.UNSUPPORTED_CONTENT)
