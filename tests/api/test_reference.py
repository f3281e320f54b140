"""keystead.api.reference: the page says what the declarations say."""

from __future__ import annotations

from keystead.api.reference import reference
from keystead.api.resources import PATHS, RESOURCES


def test_every_path_and_field_is_on_the_page() -> None:
    """Nothing that is served or declared is missing."""
    page = reference()
    for path in PATHS:
        assert f"| `{path}` |" in page
    for resource in RESOURCES:
        section = page.split(f"\n## {resource.name}\n")[1].split("\n## ")[0]
        for declared in resource.declared:
            assert f"`{declared.name}" in section


def test_a_row_tells_all() -> None:
    """Type, when it is shown, whether it is settable, since when."""
    page = reference()
    assert "| `timeout` | -1..60 | yes | yes | 9.6 | Seconds to wait" in page
    assert "| `password` | secret string | never | yes | 9.6 | KMIP password; never shown. |" in page
    assert "| `server` | host[:port] | always | required | 9.6 |" in page
    assert "| `external.servers[]` | object | | | |" in page
    assert "| `status.code` | 0..2147483647 | by name or `**` |  | 9.7 |" in page
