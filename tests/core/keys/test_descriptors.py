"""Descriptors: the text about a key on a key server, and its protection against forgery."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keystead.core.keys.descriptors import LONGEST, Descriptor, decode, describe, encode
from keystead.core.keys.model import Attempt, AttemptState, Key, KeyState, KeyType, Purpose
from keystead.core.keys.names import ObjectKind, object_name, parse
from keystead.core.secret import Secret
from tests.core.factories import VS0

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
DIGEST_KEY = Secret(bytes(32))
KEY = Key(
    uuid="0f8fad5b-d9cb-469f-a165-70867728950e",
    key_id="00",
    key_manager="km",
    svm=VS0,
    name='ключ, "a" key\\',
    key_tag="tag",
    key_type=KeyType.VEK,
    state=KeyState.COMMITTED,
    length=64,
    created=NOON,
    digest=bytes(range(32)),
)
ATTEMPT = Attempt(
    key=KEY.uuid,
    number=3,
    purpose=Purpose.CREATE,
    incarnation="7c9e6679-7425-40de-944b-e07fc1f90ae7",
    token="t",
    node="n",
    state=AttemptState.PENDING,
    began=NOON,
    expires=NOON + timedelta(minutes=2),
)
DESCRIPTOR = describe(KEY, ATTEMPT)


def test_what_is_said_of_a_key() -> None:
    """A descriptor holds all that an inventory needs, and the digest instead of the material."""
    assert describe(KEY, ATTEMPT) == Descriptor(
        uuid=KEY.uuid,
        key_id="00",
        key_manager="km",
        svm=VS0.uuid,
        name=KEY.name,
        key_tag="tag",
        key_type=KeyType.VEK,
        length=64,
        created=NOON,
        attempt=3,
        incarnation=ATTEMPT.incarnation,
        digest=KEY.digest,
    )
    assert describe(replace(KEY, svm=None), ATTEMPT).svm == ""


def test_it_is_read_as_it_was_written() -> None:
    """A descriptor is read back as it was written, and always has the same bytes."""
    content = encode(DESCRIPTOR, DIGEST_KEY)
    assert decode(content, DIGEST_KEY) == DESCRIPTOR
    assert encode(describe(KEY, ATTEMPT), DIGEST_KEY) == content
    assert content.startswith(b"keystead descriptor 1\n")
    assert b"adopted" not in content


def test_what_was_adopted() -> None:
    """Copies of an adopted key have the names of the adopted objects; the descriptor has its own name."""
    name = "keystead-99999999-k1234567890abcdef-7"
    adopting = describe(KEY, replace(ATTEMPT, adopted=name))
    assert decode(encode(adopting, DIGEST_KEY), DIGEST_KEY) == adopting
    assert (adopting.adopted, adopting.copied_by) == (name, ("1234567890abcdef", 7, "99999999"))
    assert adopting.key == DESCRIPTOR.key
    assert adopting.written_by == DESCRIPTOR.written_by == DESCRIPTOR.copied_by


@pytest.mark.parametrize("position", [0, 21, 22, 53, 54, 100, -1])
def test_an_altered_one_is_none(position: int) -> None:
    """A descriptor that was altered in its header, MAC or text is refused."""
    content = bytearray(encode(DESCRIPTOR, DIGEST_KEY))
    content[position] ^= 1
    assert decode(bytes(content), DIGEST_KEY) is None


@pytest.mark.parametrize("length", [0, 10, 22, 40, 54, 100])
def test_a_cut_one_is_none(length: int) -> None:
    """A descriptor that was cut at any byte is refused."""
    assert decode(encode(DESCRIPTOR, DIGEST_KEY)[:length], DIGEST_KEY) is None


def test_one_of_another_key_manager_is_none() -> None:
    """A descriptor under the digest key of another key manager is refused; one that is too long is not parsed."""
    assert decode(encode(DESCRIPTOR, Secret(bytes([1] * 32))), DIGEST_KEY) is None
    assert decode(encode(replace(DESCRIPTOR, name="x" * LONGEST), DIGEST_KEY), DIGEST_KEY) is None


@pytest.mark.parametrize(
    ("attempt", "named"),
    [
        (ATTEMPT, True),
        (replace(ATTEMPT, number=4), False),
        (replace(ATTEMPT, key="1f8fad5b-d9cb-469f-a165-70867728950e"), False),
        (replace(ATTEMPT, incarnation="8c9e6679-7425-40de-944b-e07fc1f90ae7"), False),
    ],
)
@pytest.mark.parametrize("kind", [ObjectKind.KEY, ObjectKind.DESCRIPTOR])
def test_which_objects_it_describes(attempt: Attempt, kind: ObjectKind, *, named: bool) -> None:
    """A descriptor describes objects of its key, attempt and incarnation only; a moved one describes nothing."""
    name = parse(str(object_name(attempt, kind)))
    assert name is not None
    assert DESCRIPTOR.is_named(name) is named


def test_descriptors_of_one_key_agree() -> None:
    """Descriptors of different attempts agree about a key unless its name or digest differs."""
    assert DESCRIPTOR.key == describe(KEY, replace(ATTEMPT, number=9, incarnation="other")).key
    assert DESCRIPTOR.key != describe(replace(KEY, name="other"), ATTEMPT).key
    assert DESCRIPTOR.key != describe(replace(KEY, digest=bytes(32)), ATTEMPT).key
    assert "digest" not in repr(DESCRIPTOR)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (ATTEMPT, True),
        (replace(ATTEMPT, state=AttemptState.ABORTED, node="another"), True),
        (replace(ATTEMPT, number=4), False),
        (replace(ATTEMPT, key="another"), False),
        (replace(ATTEMPT, incarnation="another"), False),
    ],
)
def test_whose_copies_are_described(other: Attempt, same: bool) -> None:
    """Those of the attempt with the same key, number and incarnation."""
    assert DESCRIPTOR.is_of(other) is same
