"""``keystead status``: the verdict, the text and the exit status."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keystead.cli import status

LOST = {
    "severity": "critical",
    "subject": "key_server",
    "name": "ks3:5696",
    "since": "2026-03-01T11:00:00.5+00:00",
    "reason": "It is not available: stage tls, reason server_certificate_expired.",
    "advice": "The server's certificate has expired: renew it on the key server.",
    "command": "keystead security key-manager external probe --key-servers ks3:5696 --vserver vs0",
    "svm": {"name": "vs0"},
}
UNREADABLE = LOST | {"subject": "keys", "name": "vol1"}
WARNING = {"severity": "warning", "subject": "unclaimed_objects", "name": "1 object", "reason": "R.", "command": "c"}


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([], "Nothing needs attention."),
        ([LOST], "1 key server is lost, every key can be read, and there are no warnings."),
        ([LOST, LOST, WARNING], "2 key servers are lost, every key can be read, and there is 1 warning."),
        ([UNREADABLE, WARNING, WARNING], "No key server is lost, keys cannot be read, and there are 2 warnings."),
    ],
)
def test_the_verdict(items: list[dict[str, Any]], said: str) -> None:
    """One sentence about servers, keys and warnings."""
    assert status.verdict(items) == said


@pytest.mark.parametrize(("items", "expected"), [([], 0), ([WARNING], 10), ([WARNING, LOST], 20), ([UNREADABLE], 20)])
def test_the_exit_status(items: list[dict[str, Any]], expected: int) -> None:
    """That of the worst item."""
    assert status.exit_status(items) == expected


def test_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Each item with its time, its age, advice and command; unprintable characters of a name cannot do anything."""
    status.print_items([LOST | {"name": "ks3\x1b[2J:5696"}, WARNING])
    first, _, rest = capsys.readouterr().out.partition("\n\n")
    assert first == "1 key server is lost, every key can be read, and there is 1 warning."
    lines = rest.splitlines()
    assert lines[0] == r"CRITICAL  key server ks3\x1b[2J:5696 of vs0"
    assert re.fullmatch(r"  since 2026-03-01 11:00:00 UTC \(\d+ days ago\)", lines[1])
    assert lines[2:] == [
        f"  {LOST['reason']}",
        f"  {LOST['advice']}",
        f"  $ {LOST['command']}",
        "",
        "WARNING  unclaimed objects 1 object",
        "  R.",
        "  $ c",
    ]


@pytest.mark.parametrize(
    ("seconds", "ago"), [(0, "0 seconds"), (1, "1 second"), (150, "2 minutes"), (7300, "2 hours"), (86_400, "1 day")]
)
def test_how_long_ago(capsys: pytest.CaptureFixture[str], seconds: int, ago: str) -> None:
    """In the largest unit."""
    since = datetime.now(UTC) - timedelta(seconds=seconds + 0.5)
    status.print_items([WARNING | {"since": since.isoformat()}])
    assert f"({ago} ago)" in capsys.readouterr().out
