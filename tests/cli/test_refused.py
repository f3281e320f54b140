"""How refusals are printed: what belongs to a key server stands on its line, everything else on a line of its own.

What is to be done about a reason stands beneath it, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keystead.cli.client import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            [("server", "ks1"), ("stage", "tls"), ("reason", "silent"), ("server", "ks2"), ("stage", "connect")],
            ["  ks1: stage tls, reason silent", "  ks2: stage connect"],
        ),
        (
            [
                *(("server", "ks1"), ("stage", "connect"), ("reason", "unreachable")),
                *(("server", "ks2"), ("stage", "connect"), ("reason", "unreachable")),
                *(("server", "ks3"), ("stage", "keys"), ("reason", "not_proven_in_time")),
            ],
            [
                "  ks1: stage connect, reason unreachable",
                "    There is no route to the address: check the network, VLAN and gateway of the Keystead host.",
                "  ks2: stage connect, reason unreachable",
                "  ks3: stage keys, reason not_proven_in_time",
                "    Send the same call again.",
            ],
        ),
        (
            [("keys", "2"), ("key_id", "00"), ("key_id", "01"), ("reason", "unheard")],
            ["  keys: 2", "  key_id: 00", "  key_id: 01", "  reason: unheard"],
        ),
        ([("reason", "busy"), ("server", "ks1")], ["  reason: busy", "  ks1"]),
    ],
)
def test_arguments(arguments: Sequence[tuple[str, str]], lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Beneath code and text."""
    listed = [{"code": code, "message": message} for code, message in arguments]
    Refused({"code": "0", "message": "no", "arguments": listed}).show()
    assert capsys.readouterr().err.splitlines() == ["Error 0: no", *lines]
