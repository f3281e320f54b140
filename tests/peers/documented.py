"""A client of the API that holds every answer against the API's description: it must name the status and the code."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from keystead.api.description.openapi import document
from keystead.api.description.schema_rows import resolved
from tests.peers.asgi import AsgiClient

if TYPE_CHECKING:
    from tests.peers.asgi import Response


class DocumentedClient(AsgiClient):
    """Asserts that each answer of a described operation is one that its description names."""

    async def __call__(self, method: str, url: str, body: Any = None, **options: Any) -> Response:
        response = await super().__call__(method, url, body, **options)
        operation = described(re.sub("/+", "/", url.partition("?")[0]).rstrip("/"), method)
        if operation is not None:
            assert str(response.status) in operation, (method, url, response.status)
            if response.status >= 400 and response.content:
                code = response.body["error"]["code"]
                assert code in operation[str(response.status)], (method, url, response.status, code)
        return response


def described(path: str, method: str) -> dict[str, frozenset[str]] | None:
    """The statuses of an operation and the codes of each; None for a path or method that is not described."""
    for pattern, name in templates():
        if pattern.fullmatch(path):
            item = document()["paths"][name]
            return answers(name, method.lower()) if method.lower() in item else None
    return None


@cache
def templates() -> list[tuple[re.Pattern[str], str]]:
    """The described paths as patterns, those with fewer values first."""
    names = sorted(document()["paths"], key=lambda name: name.count("{"))
    return [(re.compile(re.sub(r"{\w+}", "[^/]+", name)), name) for name in names]


@cache
def answers(path: str, method: str) -> dict[str, frozenset[str]]:
    said = document()["paths"][path][method]["responses"]
    return {status: codes(resolved(document(), answer)) for status, answer in said.items()}


def codes(answer: dict[str, Any]) -> frozenset[str]:
    """The codes that an answer's schema names."""
    found: set[str] = set()
    for content in answer.get("content", {}).values():
        for part in content["schema"].get("allOf", ()):
            found |= set(
                part.get("properties", {}).get("error", {}).get("properties", {}).get("code", {}).get("enum", ())
            )
    return frozenset(found)
