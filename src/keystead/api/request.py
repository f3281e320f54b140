"""One request as the operations see it: who calls, the path's values, the URL's parameters, the checked body.

Secrets leave here only as Secret values; the text kept for the audit record has them masked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from typing import TYPE_CHECKING, Any, TypeVar

from keystead.api.body import ClientGoneError, declares_body, header, parse_object, read_body, wait_for_disconnect
from keystead.api.checking import check_body, masked, nested
from keystead.api.hal import wants_arguments, wants_links, wants_octets, wants_pretty
from keystead.api.query import read_parameters
from keystead.api.values import UUID
from keystead.core import errors
from keystead.core.audit import masked_input
from keystead.core.errors import OntapError
from keystead.core.query.query import quoted
from keystead.service.context import Call, Caller

if TYPE_CHECKING:
    from collections.abc import Coroutine, Hashable, Mapping

    from starlette.types import Message, Receive, Scope

    from keystead.api.resource import Resource
    from keystead.service.services import Services

T = TypeVar("T")

CALLER = "keystead.caller"  # keys of the ASGI scope
INPUT = "keystead.input"
SVM_SCOPE = "keystead.svm"  # the SVM that the call tunnels to
ALLOW = "keystead.allow"
_PATH_LIMIT = 2048  # characters of a path that an audit record keeps
_SLASHES = re.compile(r"/{2,}")


class Request:
    """A request of an authenticated caller."""

    __slots__ = ("_receive", "_scope", "services")

    def __init__(self, services: Services, scope: Scope, receive: Receive) -> None:
        self.services = services
        self._scope = scope
        self._receive = receive

    @property
    def method(self) -> str:
        """The HTTP method."""
        return str(self._scope["method"])

    @property
    def hal(self) -> bool:
        """Whether the answer holds ``_links``."""
        return wants_links(header(self._scope, b"accept"))

    @property
    def octets(self) -> bool:
        """Whether the answer is octets, where an operation has some."""
        return wants_octets(header(self._scope, b"accept"))

    @property
    def arguments(self) -> bool:
        """Whether an error holds ``arguments``."""
        return wants_arguments(header(self._scope, b"x-dot-error-arguments"))

    @property
    def pretty(self) -> bool:
        """Whether people will read the answer."""
        return wants_pretty(self._scope["query_string"])

    @property
    def path(self) -> str:
        """The path as the client wrote it, but for doubled slashes."""
        return single_slashes(raw_path(self._scope))

    @property
    def self_path(self) -> str:
        """The path with its query string, for ``_links.self``."""
        query = self._scope["query_string"].decode("ascii", "backslashreplace")
        return f"{self.path}?{query}" if query else self.path

    @property
    def call(self) -> Call:
        """What the use cases and the audit record need to know about this request."""
        return call_of(self._scope, self._scope[CALLER])

    def parameters(self) -> dict[str, str]:
        """The URL's parameters."""
        return read_parameters(self._scope["query_string"])

    def path_text(self, name: str) -> str:
        """A value of the path, decoded."""
        return str(self._scope["path_params"][name])

    def check_path(self) -> None:
        """Refuse a malformed uuid in the path before anything else is looked at."""
        if "uuid" in self._scope["path_params"]:
            self.path_uuid()

    def path_uuid(self, name: str = "uuid") -> str:
        """A uuid of the path, in lower case; a malformed one is code 2 (404)."""
        text = self.path_text(name)
        try:
            return str(UUID.parse(text))
        except ValueError:
            raise OntapError(
                errors.INVALID_PATH_VALUE, target=name, value=quoted(text), field=name, type=UUID.text
            ) from None

    def key(self, resource: Resource) -> Any:
        """What the path's last part names: the value of the resource's key field. A malformed one is absent (404)."""
        name = resource.key
        text = self.path_text(name)
        try:
            return resource.fields[name].type.parse(text)
        except ValueError:
            raise OntapError(errors.ENTRY_NOT_FOUND, target=name) from None

    def refuse_body(self) -> None:
        """Refuse a body where none is allowed, without reading it."""
        if declares_body(self._scope):
            raise OntapError(errors.BODY_NOT_ALLOWED)

    async def body(self, resource: Resource) -> dict[str, Any]:
        """Read the body of a write, dotted names of fields as objects, and keep it masked for the audit record."""
        body = nested(resource, parse_object(await read_body(self._scope, self._receive)))
        self._scope[INPUT] = _input(resource, body)
        return body

    async def values(self, resource: Resource) -> dict[str, Any]:
        """Read the body of a POST or PATCH and check it against the resource."""
        ignore = self.parameters().get("ignore_unknown_fields", "").lower() == "true"
        return check_body(resource, await self.body(resource), self.method, ignore_unknown=ignore)

    def detached(self) -> Request:
        """This request for work that goes on after its answer: nothing ends it, not even the client."""
        return Request(self.services, dict(self._scope), _nothing)

    def of_key(self, resource: Resource, key: Any, record: Mapping[str, Any] | None = None, path: str = "") -> Request:
        """This request as if its path named one object; with ``record``, as if that were the body, for the audit.

        ``path`` is the object's, where the audit record shall name that.
        """
        changed: dict[str, Any] = {"path_params": {**self._scope["path_params"], resource.key: str(key)}}
        if key is None:
            changed = {}
        if path:
            changed["raw_path"] = path.encode()
        if record is not None:
            changed[INPUT] = _input(resource, record)
        return Request(self.services, {**self._scope, **changed}, self._receive)

    async def while_connected(self, work: Coroutine[Any, Any, T]) -> T:
        """Await what may take long, and end it when the client closes its connection. The body was read before.

        A client that goes away while the result is being stored gets it stored: that is not undone.
        """
        task = asyncio.create_task(work)
        gone = asyncio.create_task(wait_for_disconnect(self._receive))
        try:
            await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, OntapError):
                await task
            raise ClientGoneError
        finally:
            gone.cancel()
            if task.cancel():
                task.add_done_callback(_ignore)

    async def empty_body(self) -> None:
        """Read the body of a DELETE: nothing, or an empty object as the official client sends."""
        if parse_object(await read_body(self._scope, self._receive)):
            raise OntapError(errors.BODY_NOT_ALLOWED)

    async def shared(self, what: Hashable, work: Coroutine[Any, Any, T]) -> T:
        """Await a deletion, or the same one of the same account that is under way."""
        call = self.call
        scope = call.scope.uuid if call.scope else None
        path = tuple(self._scope["path_params"].values())
        return await self.services.deletions.shared((call.caller.account, scope, path, what), work)


def _input(resource: Resource, body: Mapping[str, Any]) -> str:
    """A body as the audit record keeps it."""
    return masked_input(json.dumps(masked(resource, body)).encode()) if body else "{}"


async def _nothing() -> Message:
    """The messages of a connection that nobody listens to."""
    silence: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    return await silence


def _ignore(task: asyncio.Task[Any]) -> None:
    """Look at how abandoned work ended, so that nobody complains about it."""
    if not task.cancelled():
        task.exception()


def single_slashes(path: str) -> str:
    """The path without empty segments: some clients build ``/api//security``."""
    return _SLASHES.sub("/", path) if "//" in path else path


def plain_path(path: str) -> str:
    """The one spelling of a path that routes have."""
    plain = single_slashes(path).rstrip("/")
    return f"/api{plain[7:]}" if plain.startswith("/api/v1/") else plain


def raw_path(scope: Scope) -> str:
    """The path as it was sent: ASCII, percent-encoded."""
    return bytes(scope["raw_path"]).decode("ascii", "backslashreplace")


def call_of(scope: Scope, caller: Caller) -> Call:
    """The call as it is known so far. The query string is left out: a secret may have been put there."""
    confined = scope.get(SVM_SCOPE) or caller.svm
    return Call(caller, scope["method"], raw_path(scope)[:_PATH_LIMIT], scope.get(INPUT, ""), confined)
