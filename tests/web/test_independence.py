"""Which key servers fail together, as a table of what is known before they are added."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keystead.core.probing import ProbeResult
from keystead.core.server_address import ServerAddress
from keystead.web.independence import Together, together
from tests.core.factories import server


def probed(address: str, reached: str = "") -> ProbeResult:
    """Return the result of a server to add, and where it was reached."""
    learned = {"address": reached} if reached else {}
    return ProbeResult(ServerAddress.parse(address), None, None, None, None, (), learned)


@pytest.mark.parametrize(
    ("domains", "added", "declared", "said"),
    [
        ((("ks1:5696",),), [probed("ks2")], {}, []),
        ((("ks1:5696", "ks0:5696"),), [], {}, [("ks1:5696, ks0:5696", "they are one replication domain already")]),
        (
            (),
            [probed("ks2")],
            {"ks2:5696": "east"},
            [("ks1:5696, ks2:5696", "they have the same declared domain, east")],
        ),
        ((), [probed("ks2")], {"ks2:5696": ""}, []),
        ((), [probed("KS1:5697")], {}, [("ks1:5696, KS1:5697", "they are on one host, ks1")]),
        (
            (),
            [probed("ks2", "192.0.2.1:5696"), probed("ks3", "192.0.2.1:5696")],
            {},
            [("ks2:5696, ks3:5696", "they have one address, 192.0.2.1")],
        ),
        (
            (),
            [probed("192.0.2.1:1", "192.0.2.1:1"), probed("192.0.2.1:2", "192.0.2.1:2")],
            {},
            [("192.0.2.1:1, 192.0.2.1:2", "they are on one host, 192.0.2.1")],
        ),
        (
            (),
            [probed("192.0.2.1:1"), probed("192.0.2.1:2"), probed("ks2", "192.0.2.1:5696")],
            {},
            [("192.0.2.1:1, 192.0.2.1:2, ks2:5696", "they have one address, 192.0.2.1")],
        ),
    ],
)
def test_which_fail_together(
    domains: tuple[tuple[str, ...], ...],
    added: list[ProbeResult],
    declared: dict[str, str],
    said: list[tuple[str, str]],
) -> None:
    """By their domains, their declared domains, their hosts, and where they were reached; each group once."""
    present = [replace(server("ks1"), replication_domain="east")]
    expected = [Together(tuple(servers.split(", ")), why) for servers, why in said]
    assert together(present, domains, added, declared) == expected
