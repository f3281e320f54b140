"""A client that calls an ASGI application in this process, and the one assertion of ONTAP's error body."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.types import ASGIApp, Message

    from keystead.core.errors import ErrorKind


@dataclass(frozen=True)
class Response:
    """An answer; ``headers`` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        """The JSON body."""
        return json.loads(self.content)


class AsgiClient:
    """Calls as uvicorn would: decoded path, raw path, query string, body in chunks."""

    def __init__(self, app: ASGIApp, name: str = "admin", password: str = "") -> None:
        self.app = app
        credential = base64.b64encode(f"{name}:{password}".encode()).decode()
        self.headers = {"authorization": f"Basic {credential}", "host": "keystead.test"}
        self.address: tuple[str, int] | None = ("192.0.2.7", 50000)
        self.client_chain: tuple[str, ...] = ()  # certificates that TLS would have been shown, PEM
        self.body_reads = 0

    async def __call__(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        headers: Mapping[str, str | None] | None = None,
        chunks: Iterable[bytes] | None = None,
    ) -> Response:
        """Send one request. ``body`` is bytes as they are, or a value for JSON; a header of None is not sent."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        parts = list(chunks) if chunks is not None else [data]
        path, _, query = url.partition("?")
        sent = self.headers | ({"content-length": str(len(data))} if data else {}) | dict(headers or {})
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(k.encode(), v.encode("latin-1")) for k, v in sent.items() if v is not None],
            "client": self.address,
            "server": ("keystead.test", 443),
        }
        if self.client_chain:
            scope["extensions"] = {"tls": {"client_cert_chain": self.client_chain}}
        messages: list[Message] = []
        whole = False

        async def receive() -> Message:
            nonlocal whole
            if whole:
                await asyncio.Event().wait()  # nothing more comes, and the client stays
            self.body_reads += 1
            part = parts.pop(0) if parts else b""
            whole = not parts
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: Message) -> None:
            messages.append(message)

        await self.app(scope, receive, send)
        start = messages[0]
        found = {name.decode(): value.decode() for name, value in start["headers"]}
        return Response(start["status"], found, b"".join(message.get("body", b"") for message in messages[1:]))

    async def get(self, url: str, **options: Any) -> Response:
        """GET."""
        return await self("GET", url, **options)

    async def post(self, url: str, body: Any = None, **options: Any) -> Response:
        """POST."""
        return await self("POST", url, body, **options)

    async def patch(self, url: str, body: Any = None, **options: Any) -> Response:
        """PATCH."""
        return await self("PATCH", url, body, **options)

    async def delete(self, url: str, body: Any = None, **options: Any) -> Response:
        """DELETE."""
        return await self("DELETE", url, body, **options)


def assert_error(response: Response, kind: ErrorKind, target: str | None = None) -> dict[str, Any]:
    """Assert that an answer is exactly ONTAP's error body for a row of the table; return its ``error`` object."""
    assert response.status == kind.status, response.content
    assert response.content.startswith(b"{")
    assert set(response.body) == {"error"}
    error: dict[str, Any] = response.body["error"]
    assert set(error) <= {"message", "code", "target", "arguments"}
    assert error["code"] == str(kind.code)
    assert isinstance(error["message"], str)
    assert error["message"]
    assert "Traceback" not in error["message"]
    assert error.get("target") == target
    return error
