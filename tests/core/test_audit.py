"""Audit records: the masking of secrets, and the detection of changes to the chain."""

from __future__ import annotations

import hmac
import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.core import audit
from keystead.core.model import AuditHead, AuditRecord

if TYPE_CHECKING:
    from collections.abc import Callable

NOON = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
NODE = "node-1"
READ_ID = "0123456789abcdef"


def mac(message: bytes) -> bytes:
    """Compute a MAC like the keyring's."""
    return hmac.digest(b"key", message, "sha256")


def chain(length: int) -> tuple[list[AuditRecord], AuditHead | None]:
    """Return a chain of records that differ."""
    records: list[AuditRecord] = []
    head: AuditHead | None = None
    for number in range(length):
        texts = ("admin", "::1", "svm1", "POST", f"/path/{number}", "{}", "success", "", "made", "admin", "svm-1")
        record, head = audit.append(AuditRecord(NODE, 0, NOON, *texts), head, mac)
        records.append(record)
    return records, head


def broken_at(records: list[AuditRecord], head: AuditHead | None) -> int | None:
    """Return the place where the chain is broken."""
    try:
        audit.check_end(NODE, audit.follow(NODE, records, (0, b""), mac), head, mac)
    except audit.BrokenChainError as error:
        return error.index
    return None


# --- masking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", ""),
        (b'{"server":"a:5696"}', '{"server":"a:5696"}'),
        (b'{"password":"canary"}', '{"password":"***"}'),
        (b'{"Password":"canary","existing_passphrase":["canary"]}', '{"Password":"***","existing_passphrase":"***"}'),
        (b'{"records":[{"a":{"passphrase":{"x":"canary"}}}]}', '{"records":[{"a":{"passphrase":"***"}}]}'),
        (b'[{"private_key":null}]', '[{"private_key":"***"}]'),
        (b'{"material":"AAAA"}', '{"material":"***"}'),
        (b'{"external.password":"canary"}', '{"external.password":"***"}'),
        (b'{"p\\u0061ssword":"canary"}', '{"password":"***"}'),
        (b'{"name":"-----BEGIN EC PRIVATE KEY-----canary"}', '{"name":"***"}'),
        (b'{"-----BEGIN PRIVATE KEY-----canary":1}', '{"***":1}'),
        ('{"name":"é\\ud800\\u0000"}'.encode(), '{"name":"\\u00e9\\ud800\\u0000"}'),
        (b'{"timeout":1.5,"a":true,"b":null}', '{"timeout":1.5,"a":true,"b":null}'),
    ],
)
def test_secrets_are_masked_at_any_depth(body: bytes, expected: str) -> None:
    """Secrets are masked under any spelling of their names and in any type; other fields are unchanged."""
    assert audit.masked_input(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        b'{"password":"canary"',
        b'{"password":"canary"}}',
        b"password=canary",
        b'"canary"',
        b"\xff\xfecanary",
        b'{"a":NaN,"b":"canary"}',
        b'{"a":' + b"1" * 5000 + b',"b":"canary"}',
        b"[" * 100_000 + b"canary",
        b'{"a":"' + b"canary" * 200_000 + b'"}',
        json.dumps({f"canary{number}": number for number in range(5000)}).encode(),
    ],
    ids=["cut", "more", "form", "text", "bytes", "nan", "digits", "deep", "large", "wide"],
)
def test_of_what_cannot_be_masked_only_the_length_is_kept(body: bytes) -> None:
    """Of malformed JSON, of anything but an object, and of large bodies only the length is recorded."""
    assert audit.masked_input(body) == f"{len(body)} bytes"


def test_long_texts_are_cut() -> None:
    """A certificate's PEM is not kept twice."""
    kept = json.loads(audit.masked_input(json.dumps({"public_certificate": "x" * 5000}).encode()))
    assert kept == {"public_certificate": "x" * 256 + "… (5000 characters)"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "password"]), inner, max_size=2),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), json_values, max_size=3))
def test_masking_keeps_the_shape(value: dict[str, Any]) -> None:
    """Fields that are not secret stay unchanged, and masking twice changes nothing."""
    once = audit.masked_input(json.dumps(value).encode())
    assert once.isascii()
    assert audit.masked_input(once.encode()) == once

    def unmasked(inner: Any) -> Any:
        if isinstance(inner, dict):
            return {name: "***" if name == "password" else unmasked(item) for name, item in inner.items()}
        return [unmasked(item) for item in inner] if isinstance(inner, list) else inner

    assert json.loads(once) == unmasked(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("admin", "admin"), ("a\n\x1b[31mb\x00", "a��[31mb�"), ("\ud800é", "�é"), ("x" * 11, "x" * 9 + "…")],
    ids=["plain", "control", "surrogate", "long"],
)
def test_a_callers_text_is_one_clean_line(text: str, expected: str) -> None:
    """A caller's text becomes one line without bytes that upset a terminal or a database."""
    assert audit.cleaned(text, 10) == expected


@pytest.mark.parametrize("text", ["-----BEGIN PRIVATE KEY-----\nMII", "/api?name=-----begin%20ec+private%20key-----"])
def test_a_text_with_a_private_key_is_masked(text: str) -> None:
    """It may be pasted into a path, where it is percent-encoded."""
    assert audit.cleaned(text) == "***"


# --- the chain -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 2, 5])
def test_a_chain_as_it_was_written_holds(length: int) -> None:
    """An unchanged chain verifies, with indexes from one."""
    records, head = chain(length)
    assert [record.index for record in records] == list(range(1, length + 1))
    assert broken_at(records, head) is None


def test_a_chain_holds_when_it_is_read_in_pages() -> None:
    """A chain verifies in pages, each of which continues where the last one ended."""
    records, head = chain(5)
    last = audit.follow(NODE, records[:2], (0, b""), mac)
    last = audit.follow(NODE, records[2:], last, mac)
    audit.check_end(NODE, last, head, mac)


def _altered(value: Any) -> Any:
    if isinstance(value, datetime):
        return value + timedelta(microseconds=1)
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 1])
    return f"{value}x" if isinstance(value, str) else 7


@pytest.mark.parametrize("field", [item.name for item in fields(AuditRecord)])
def test_every_altered_field_is_found_where_it_is(field: str) -> None:
    """A change of any field is found at its record, also of time, node, index and MAC."""
    records, head = chain(4)
    records[2] = replace(records[2], **{field: _altered(getattr(records[2], field))})
    assert broken_at(records, head) == 3


@pytest.mark.parametrize(
    ("state", "message", "expected"),
    [
        ("success", audit.read_message("00ff", READ_ID), READ_ID),
        ("success", f"retrieval of key a, read {'f' * 16}, read {READ_ID}", READ_ID),
        ("success", audit.read_message("00ff", READ_ID, "f" * 16, "e" * 16), READ_ID),
        ("success", f"retrieval of key 00ff, 2 reads: {READ_ID} {'f' * 15}", None),
        ("error", audit.read_message("00ff", READ_ID), None),
        ("success", f"renamed SVM s from x, read {READ_ID}", None),
        ("success", f"retrieval of key 00ff, read {READ_ID}0", None),
        ("success", f"retrieval of key 00ff, read {READ_ID.upper()}", None),
        ("success", f"retrieval of key 00ff, read {READ_ID}\n", None),
        ("success", "retrieval of key 00ff", None),
    ],
)
def test_only_a_record_of_a_read_has_a_read_id(state: str, message: str, expected: str | None) -> None:
    """Text that a caller chose, as in an error or a name, is no read."""
    texts = ("admin", "::1", "svm1", "POST", "/path", "", state, "", message)
    assert audit.read_id_in_message(AuditRecord(NODE, 0, NOON, *texts)) == expected


def test_a_read_id_that_is_not_the_one_in_the_message_is_found() -> None:
    """The MAC does not cover the copy: without one, with one, or with another's."""
    texts = ("reader", "::1", "svm1", "POST", "/path", "", "success", "", audit.read_message("00ff", READ_ID))
    read, head = audit.append(AuditRecord(NODE, 0, NOON, *texts, read_id=READ_ID), None, mac)
    assert audit.append(replace(read, read_id=None), None, mac)[0].mac == read.mac
    assert broken_at([read], head) is None
    for other in (None, "", "0" * 16, READ_ID.upper()):
        with pytest.raises(audit.BrokenChainError, match=r"record 1: .*read_id is not the one in its message"):
            audit.follow(NODE, [replace(read, read_id=other)], (0, b""), mac)


def test_a_sort_key_that_is_not_its_records_is_found() -> None:
    """The sort key is outside of the MAC, so it is computed again: lists are ordered by it."""
    records, _ = chain(3)
    placed = [(record, audit.place(record)) for record in records]
    audit.check_places(placed)
    for wrong in (placed[2][1], ""):
        with pytest.raises(audit.BrokenChainError, match="sort key") as raised:
            audit.check_places([placed[0], (records[1], wrong), placed[2]])
        assert raised.value.index == 2


@pytest.mark.parametrize("seconds", [0, 0.000001, 1, 86_400 * 365 * 100])
def test_sort_keys_begin_with_the_time(seconds: float) -> None:
    """So they sort like it, and what comes after the time's beginning with ``~`` is later."""
    record = chain(1)[0][0]
    later = record.timestamp.astimezone(timezone(timedelta(hours=2))) + timedelta(seconds=seconds)
    beginning = audit.place_of_time(later)
    assert (audit.place(record) < beginning) is (seconds > 0)
    assert audit.place(replace(record, timestamp=later)) > beginning
    assert audit.place(replace(record, timestamp=later)) < f"{beginning}~"
    assert audit.place(replace(record, timestamp=later + timedelta(microseconds=1))) > f"{beginning}~"


def test_text_moved_between_fields_is_found() -> None:
    """Text that was moved from one field to the next is found, because fields are not simply joined."""
    records, head = chain(1)
    assert broken_at([replace(records[0], account="admin:", location=":1")], head) == 1
    assert broken_at([replace(records[0], method="", path="POST/path/0")], head) == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda records: records[1:], 1),
        (lambda records: records[:2] + records[3:], 3),
        (lambda records: records[:-1], 5),
        (lambda records: records[:2], 3),
        (lambda _: [], 1),
        (lambda records: [records[1], records[0], *records[2:]], 1),
        (lambda records: [*records[:2], records[1], *records[2:]], 3),
        (lambda records: [records[1], replace(records[0], index=2), *records[2:]], 1),
        (lambda records: [*records[:3], replace(records[4], index=4)], 4),
    ],
    ids=[
        "first gone",
        "middle gone",
        "last gone",
        "end gone",
        "all gone",
        "swapped",
        "twice",
        "renumbered",
        "closed gap",
    ],
)
def test_missing_and_moved_records_are_found(
    change: Callable[[list[AuditRecord]], list[AuditRecord]], expected: int
) -> None:
    """Missing and moved records are found at the first index that is wrong."""
    records, head = chain(5)
    assert broken_at(change(records), head) == expected


def test_cutting_the_end_off_cannot_be_hidden_in_the_head() -> None:
    """A cut end is found, because a head for an earlier record needs the key; a missing head is found too."""
    records, head = chain(5)
    assert head is not None
    earlier = replace(head, index=3, mac=records[2].mac)
    assert broken_at(records[:3], earlier) == 3
    assert broken_at(records, None) == 5


def test_an_end_that_was_right_once_is_right_again() -> None:
    """Whoever kept it can put it back, with the records until then: only a count that was noted elsewhere shows it."""
    earlier, head = chain(3)
    later, _ = chain(5)
    assert later[:3] == earlier
    assert broken_at(later[:3], head) is None
    assert broken_at(later, head) is not None


def test_another_nodes_records_do_not_pass_for_its_own() -> None:
    """Records of another node do not verify, because the node is part of the MAC."""
    records, head = chain(2)
    assert head is not None
    with pytest.raises(audit.BrokenChainError, match="record 1"):
        audit.follow("other", records, (0, b""), mac)
    with pytest.raises(audit.BrokenChainError, match="end of the chain was altered"):
        audit.check_end("other", (2, records[-1].mac), head, mac)


def test_the_zone_of_a_time_does_not_matter() -> None:
    """A time in another zone verifies, because a database may return another zone."""
    records, head = chain(1)
    there = records[0].timestamp.astimezone(timezone(timedelta(hours=-7)))
    assert broken_at([replace(records[0], timestamp=there)], head) is None


def test_records_of_the_first_version_hold() -> None:
    """Records of the first version, without roles and SVM uuids, verify, and the chain continues from them."""
    texts = ("admin", "::1", "svm1", "POST", "/path", "{}", "success", "", "made")
    old, head = audit.append(AuditRecord(NODE, 0, NOON, *texts), None, mac)
    parts = ["keystead audit record v1", NODE, "1", NOON.isoformat(timespec="microseconds"), *texts, ""]
    assert old.mac == mac(b"".join(len(part).to_bytes(4, "big") + part.encode() for part in parts))
    new, head = audit.append(AuditRecord(NODE, 0, NOON, *texts, role="admin"), head, mac)
    assert broken_at([old, new], head) is None
    assert broken_at([old, replace(new, role="")], head) == 2
    assert broken_at([replace(old, svm_uuid="svm-1"), new], head) == 1


def test_records_of_all_nodes_are_ordered_by_time() -> None:
    """Whatever the zone; at one time by node, then by number, not by the number's text."""
    at = [datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=1)))]
    ((record, *_), _head) = chain(1)
    ordered = [
        replace(record, timestamp=at[1], node="b", index=2),
        replace(record, timestamp=at[0], node="a", index=9),
        replace(record, timestamp=at[0], node="a", index=10),
        replace(record, timestamp=at[0], node="b", index=1),
    ]
    shuffled = [ordered[index] for index in (2, 0, 3, 1)]
    assert sorted(shuffled, key=audit.place) == ordered
