"""Who calls, and whether they may: credentials, roles and the rules for browsers, before a byte of the body is read.

ASGI middleware around the router. What a password or a client certificate is worth is decided by services; here are
only where they stand, the role's table and the ``Origin`` rules. A refusal is raised and answered by errors.py.
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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from keystead.service.accounts.certificate_logins import CertificateLogins
    from keystead.service.accounts.logins import Logins
    from keystead.service.context import Caller

CREDENTIAL_LIMIT = 4096  # bytes of an Authorization header: far beyond any name and password
JSON_TYPES = {b"application/json", b"application/hal+json"}


class Authentication:
    """Lets a request pass with its caller in the scope, or raises 6691623 (401) or 6 (403)."""

    def __init__(self, app: ASGIApp, logins: Logins, certificate_logins: CertificateLogins) -> None:
        self._app = app
        self._logins = logins
        self._certificate_logins = certificate_logins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate, authorise, go on."""
        if scope["type"] == "http":
            caller = scope[CALLER] = await self._caller(scope)
            if not is_allowed(caller.role, scope["method"], scope["path"]):
                raise OntapError(errors.NOT_AUTHORIZED)
            check_origin(scope)
        await self._app(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller:
        """The account that calls: a Basic credential counts before a client certificate."""
        location = scope["client"][0] if scope.get("client") else ""
        credential = header(scope, b"authorization")
        chain = client_chain(scope)
        if chain and not credential:
            return await self._certificate_logins.authenticate(chain, location)
        name, password = read_basic(credential)
        # A node that fails closed believes the credential, too, and reads no key for all that.
        recall = scope["path"] == METRICS or is_retrieval(scope["path"])
        return await self._logins.authenticate(name, password, location, recall=recall)


def client_chain(scope: Scope) -> Sequence[str]:
    """The certificates (PEM, the leaf first) that the client showed in TLS: the ASGI extension ``tls``."""
    chain: Sequence[str] = scope.get("extensions", {}).get("tls", {}).get("client_cert_chain", ())
    return chain


def read_basic(value: bytes) -> tuple[str, Secret]:
    """Return name and password of a Basic credential (RFC 7617): UTF-8, or Latin-1 where it is not UTF-8."""
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
    """Refuse a write from a browser unless it comes from our own origin and declares JSON.

    A browser sends ``Origin`` with every write, and a foreign page cannot declare JSON without asking us first; clients
    that are no browser send no ``Origin``, and any type of theirs is read as JSON (``curl -d`` declares a form).
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
