"""``/support/ems/messages``: the catalogue of events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.core.events import KINDS

if TYPE_CHECKING:
    from tests.api.conftest import Api

MESSAGES = "/api/support/ems/messages"


async def test_every_event_is_in_the_catalogue(api: Api) -> None:
    """In pieces, by name; with the severity that its events have, and a text that names its parameters."""
    found, url = [], f"{MESSAGES}?max_records=7&fields=*,description"
    while url:
        body = (await api.readonly.get(url)).body
        found += body["records"]
        url = body["_links"].get("next", {}).get("href", "")
    assert [each["name"] for each in found] == sorted(KINDS)
    for each in found:
        kind = KINDS[each["name"]]
        assert each["severity"] == kind.severity
        assert all(f"<{name}>" in each["description"] for name in kind.parameters if f"{{{name}}}" in kind.text)
        assert "{" not in each["description"]


async def test_it_is_filtered(api: Api) -> None:
    """By name and severity."""
    body = (await api.admin.get(f"{MESSAGES}?name=km.canary.*&severity=alert")).body
    assert [each["name"] for each in body["records"]] == ["km.canary.notvisible"]
