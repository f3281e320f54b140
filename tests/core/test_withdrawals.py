"""What nodes tell each other, as bytes, and what is said of a node that does not confirm."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from keystead.core.model import ONTAP_LEVEL, Node
from keystead.core.withdrawals import MOST, Push, Thing, Withdrawn, decoded, encoded, enveloped, opened, unconfirmed

PUSH = Push("node-1", "a public key", 7, (Withdrawn(Thing.KEY, "00ff"), Withdrawn(Thing.ACCOUNT, "n\N{SNOWMAN}\x00")))


def test_a_message_is_read_as_it_was_written() -> None:
    """Any text may be an id."""
    assert decoded(encoded(PUSH)) == PUSH
    assert opened(enveloped("a message", "a signature")) == ("a message", "a signature")


@pytest.mark.parametrize(
    "changed",
    [
        {"sender": 1},
        {"recipient": None},
        {"number": "7"},
        {"number": True},
        {"number": 7.0},
        {"withdrawn": "key"},
        {"withdrawn": [["key", "x"]] * (MOST + 1)},
        {"withdrawn": [["key"]]},
        {"withdrawn": [["key", 1]]},
        {"withdrawn": [["database", "x"]]},
        {"withdrawn": [[[], "x"]]},
        {"withdrawn": [{"key": "x"}]},
        {"further": 1},
    ],
)
def test_another_message_is_refused(changed: dict[str, Any]) -> None:
    """With members that are missing, unknown or of another type."""
    with pytest.raises(ValueError, match=r"."):
        decoded(json.dumps(PUSH._asdict() | changed).encode())


@pytest.mark.parametrize(
    "text", [b"", b"\xff", b"[]", b"7", b"{", b'{"message": "x"}', b'{"message": 1, "signature": ""}', b"[" * 100_000]
)
def test_another_body_is_refused(text: bytes) -> None:
    """Garbage, other JSON, and JSON that is nested too deeply."""
    with pytest.raises(ValueError, match=r"."):
        opened(text)


UNKNOWN = "for a time that is not known here"


@pytest.mark.parametrize(
    ("what", "until", "happened", "may"),
    [
        (
            Withdrawn(Thing.KEY, "00ff"),
            datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC),
            "key 00ff is retired",
            "serve the key until 2026-03-01T12:00:30Z",
        ),
        (Withdrawn(Thing.ACCOUNT, "al"), None, "account al has changed", f"let the account read keys {UNKNOWN}"),
        (Withdrawn(Thing.CERTIFICATE, "ca"), None, "certificate ca is deleted", f"accept logins by it {UNKNOWN}"),
    ],
)
def test_what_is_said_of_a_node_that_did_not_confirm(
    what: Withdrawn, until: datetime | None, happened: str, may: str
) -> None:
    """For each thing: which node, why, and until when it may still serve."""
    assert unconfirmed(Node("node-2", "two", ONTAP_LEVEL, reads_until=until), what, "why") == (
        f"Node two did not confirm that {happened} (why). While it does not reach the database, it may {may}."
    )
