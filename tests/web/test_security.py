"""HSTS: where it is sent, and where it would shut somebody out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keystead.api.app import create_app
from keystead.web.app import with_console
from tests.web.conftest import ORIGIN, Browser

if TYPE_CHECKING:
    from tests.web.conftest import Site


@pytest.mark.parametrize(
    ("origin", "is_self_made", "expected"),
    [
        (ORIGIN, False, "max-age=31536000"),
        (ORIGIN.upper(), False, "max-age=31536000"),
        (ORIGIN, True, None),
        ("https://another.test", False, None),
        ("", False, None),
    ],
)
async def test_strict(site: Site, origin: str, *, is_self_made: bool, expected: str | None) -> None:
    """With every answer to a browser, also before the login."""
    services = site.open_.services
    app = create_app(services, pages=lambda api: with_console(api, services, origin, lambda: is_self_made))
    for path in ("/login", "/accounts", "/static/none/console.css"):
        answer = await Browser(app).send("GET", path)
        assert answer.headers.get("strict-transport-security") == expected
