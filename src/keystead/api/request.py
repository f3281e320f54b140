"""One request as the operations see it: the caller, the path's values, the URL's parameters and the checked body.

Secrets leave this module only as Secret values. The text for the audit record has them masked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from dataclasses import replace
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
from keystead.service.failures import retrieve_failure

if TYPE_CHECKING:
    from collections.abc import Coroutine, Hashable, Mapping

    from starlette.types import Message, Receive, Scope

    from keystead.api.resource import Resource
    from keystead.service.services import Services

T = TypeVar("T")

CALLER = "keystead.caller"  # CALLER, INPUT, SVM_SCOPE and ALLOW are keys of the ASGI scope
INPUT = "keystead.input"
SVM_SCOPE = "keystead.svm"  # the SVM that the call tunnels to
ALLOW = "keystead.allow"
_PATH_LIMIT = 2048  # characters of a path that an audit record keeps
_SLASHES = re.compile(r"/{2,}")


class Request:
    """A request of an authenticated caller."""

    __slots__ = ("_receive", "_scope", "services", "warnings")

    def __init__(self, services: Services, scope: Scope, receive: Receive) -> None:
        self.services = services
        self.warnings: list[str] = []
        """Sentences for ``warnings`` of the answer (not ONTAP's): what was accepted and soon needs somebody."""
        self._scope = scope
        self._receive = receive

    @property
    def method(self) -> str:
        """The HTTP method."""
        return str(self._scope["method"])

    @property
    def hal(self) -> bool:
        """True if the answer holds ``_links``."""
        return wants_links(header(self._scope, b"accept"))

    @property
    def octets(self) -> bool:
        """True if the client accepts only octets, for operations that can answer octets."""
        return wants_octets(header(self._scope, b"accept"))

    @property
    def arguments(self) -> bool:
        """True if an error holds ``arguments``."""
        return wants_arguments(header(self._scope, b"x-dot-error-arguments"))

    @property
    def pretty(self) -> bool:
        """True if the answer is indented."""
        return wants_pretty(self._scope["query_string"])

    @property
    def path(self) -> str:
        """The path as the client wrote it, but without doubled slashes."""
        return single_slashes(raw_path(self._scope))

    @property
    def self_path(self) -> str:
        """The path with its query string, for ``_links.self``."""
        query = self._scope["query_string"].decode("ascii", "backslashreplace")
        return f"{self.path}?{query}" if query else self.path

    @property
    def call(self) -> Call:
        """The facts about this request that the use cases and the audit record need."""
        return replace(call_of(self._scope, self._scope[CALLER]), warnings=self.warnings)

    def parameters(self) -> dict[str, str]:
        """Return the URL's parameters."""
        return read_parameters(self._scope["query_string"])

    def path_text(self, name: str) -> str:
        """Return a value of the path, decoded."""
        return str(self._scope["path_params"][name])

    def check_path(self) -> None:
        """Refuse a malformed uuid in the path before any other check."""
        if "uuid" in self._scope["path_params"]:
            self.path_uuid()

    def path_uuid(self, name: str = "uuid") -> str:
        """Return a uuid of the path in lower case, or raise 2 (404) if it is malformed."""
        text = self.path_text(name)
        try:
            return str(UUID.parse(text))
        except ValueError:
            raise OntapError(
                errors.INVALID_PATH_VALUE, target=name, value=quoted(text), field=name, type=UUID.text
            ) from None

    def key(self, resource: Resource) -> Any:
        """Return the value of the resource's key field from the path, or raise 4 (404) if it is malformed."""
        return self.path_value(resource, resource.key, resource.key)

    def path_value(self, resource: Resource, field: str, part: str) -> Any:
        """Return the value that a part of the path gives to a field, or raise 4 (404) if it is malformed."""
        try:
            return resource.fields[field].type.parse(self.path_text(part))
        except ValueError:
            raise OntapError(errors.ENTRY_NOT_FOUND, target=field) from None

    def refuse_body(self) -> None:
        """Refuse a body where no body is allowed, without reading it."""
        if declares_body(self._scope):
            raise OntapError(errors.BODY_NOT_ALLOWED)

    async def body(self, resource: Resource) -> dict[str, Any]:
        """Read the body of a write, with dotted field names as objects. Keep a masked copy for the audit record."""
        body = nested(resource, parse_object(await read_body(self._scope, self._receive)))
        self._scope[INPUT] = _input(resource, body)
        return body

    async def values(self, resource: Resource) -> dict[str, Any]:
        """Read the body of a POST or PATCH and check it against the resource."""
        ignore = self.parameters().get("ignore_unknown_fields", "").lower() == "true"
        return check_body(resource, await self.body(resource), self.method, ignore_unknown=ignore)

    def detached(self) -> Request:
        """Return this request for work that continues after the answer, even if the client disconnects."""
        found = Request(self.services, dict(self._scope), _never_receive)
        found.warnings = self.warnings
        return found

    def of_key(
        self,
        resource: Resource,
        key: Any,
        record: Mapping[str, Any] | None = None,
        path: str = "",
        beside: Mapping[str, str] | None = None,
    ) -> Request:
        """Return this request as if its path named one object. ``record`` replaces the body in the audit record.

        ``path`` replaces the path in the audit record, unless it is empty. ``beside`` are further values of the path.
        If ``key`` is None, the path keeps its values.
        """
        changed: dict[str, Any] = {
            "path_params": {**self._scope["path_params"], **(beside or {}), resource.key: str(key)}
        }
        if key is None:
            changed = {}
        if path:
            changed["raw_path"] = path.encode()
        if record is not None:
            changed[INPUT] = _input(resource, record)
        found = Request(self.services, {**self._scope, **changed}, self._receive)
        found.warnings = self.warnings
        return found

    async def while_connected(self, work: Coroutine[Any, Any, T]) -> T:
        """Await long work, and cancel it when the client closes its connection. Call this only after the body was read.

        If the client leaves while the result is being stored, the result stays stored.
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
                task.add_done_callback(retrieve_failure)

    async def empty_body(self) -> None:
        """Read the body of a DELETE, and refuse it unless it is empty or ``{}``.

        The official client sends ``{}``.
        """
        if parse_object(await read_body(self._scope, self._receive)):
            raise OntapError(errors.BODY_NOT_ALLOWED)

    async def shared(self, what: Hashable, work: Coroutine[Any, Any, T]) -> T:
        """Await a deletion, or join the same deletion of the same account that already runs."""
        call = self.call
        scope = call.scope.uuid if call.scope else None
        path = tuple(self._scope["path_params"].values())
        return await self.services.deletions.shared((call.caller.account, scope, path, what), work)


def _input(resource: Resource, body: Mapping[str, Any]) -> str:
    """Return a body as text for the audit record, with secrets masked."""
    return masked_input(json.dumps(masked(resource, body)).encode()) if body else "{}"


async def _never_receive() -> Message:
    """Wait forever, in place of a connection's messages."""
    silence: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    return await silence


def single_slashes(path: str) -> str:
    """Return the path without empty segments, because some clients build ``/api//security``."""
    return _SLASHES.sub("/", path) if "//" in path else path


def plain_path(path: str) -> str:
    """Return the path in the spelling that the routes use."""
    plain = single_slashes(path).rstrip("/")
    return f"/api{plain[7:]}" if plain.startswith("/api/v1/") else plain


def raw_path(scope: Scope) -> str:
    """Return the path as the client sent it: ASCII, percent-encoded."""
    return bytes(scope["raw_path"]).decode("ascii", "backslashreplace")


def call_of(scope: Scope, caller: Caller) -> Call:
    """Return the facts about a call that are known so far, without the query string, because it may hold a secret."""
    confined = scope.get(SVM_SCOPE) or caller.svm
    return Call(caller, scope["method"], raw_path(scope)[:_PATH_LIMIT], scope.get(INPUT, ""), confined)
