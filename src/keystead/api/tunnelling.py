"""SVM tunnelling: the headers that confine a call to one SVM, read after authentication and before the body.

``X-Dot-SVM-Name`` and ``X-Dot-SVM-UUID`` name the SVM. The use cases compare this SVM with the body. Source: "Getting
started with the ONTAP REST API", "SVM tunneling".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.api.query import read_parameters
from keystead.api.request import CALLER, SVM_SCOPE, call_of
from keystead.api.values import UUID
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.query.query import quoted

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from keystead.core.model import Svm
    from keystead.service.cluster.svms import Svms

NAME_HEADER = "X-Dot-SVM-Name"
UUID_HEADER = "X-Dot-SVM-UUID"
_OPERATORS = frozenset('*|<>!{}"')


class Tunnelling:
    """Middleware that stores the SVM from the headers in the scope.

    It raises 2621462 if the SVM does not exist or the caller does not see it.
    """

    def __init__(self, app: ASGIApp, svms: Svms) -> None:
        self._app = app
        self._svms = svms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find the SVM, if a header names one, and pass the request on."""
        if scope["type"] == "http":
            name, uuid = _header(scope, NAME_HEADER), _uuid(_header(scope, UUID_HEADER))
            named = name is not None or uuid is not None
            svm = await self._svms.named(call_of(scope, scope[CALLER]), uuid, name) if named else None
            if svm is not None:
                scope[SVM_SCOPE] = svm
                _check_query(scope["query_string"], svm)
        await self._app(scope, receive, send)


def _header(scope: Scope, name: str) -> str | None:
    """Return a header's value, or None if the header is absent. Raise 262188 if two values differ.

    An empty header is not None, because it names no SVM and must be refused.
    """
    wanted = name.lower().encode()
    values = {value for key, value in scope["headers"] if key == wanted}
    if len(values) > 1:
        raise OntapError(errors.FIELD_TWICE, target=name, field=name)
    return next((value.decode(errors="replace") for value in values), None)


def _uuid(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return str(UUID.parse(text))
    except ValueError:
        raise OntapError(
            errors.INVALID_FIELD_VALUE, target=UUID_HEADER, field=UUID_HEADER, value=quoted(text), type=UUID.text
        ) from None


def _check_query(query_string: bytes, svm: Svm) -> None:
    """Raise 262186 if the query names another SVM than the headers. A value with operators is a normal filter."""
    parameters = read_parameters(query_string)
    given_uuid = parameters.get("svm.uuid", svm.uuid).lower()
    for field, given, own, header in (
        ("svm.name", parameters.get("svm.name", svm.name), svm.name, NAME_HEADER),
        ("svm.uuid", given_uuid, svm.uuid, UUID_HEADER),
    ):
        if given != own and not _OPERATORS & set(given):
            raise OntapError(errors.FIELDS_EXCLUDE_EACH_OTHER, target=field, field=field, other=header)
