"""Names on key servers and ids in ONTAP's form: their parts, and how foreign names are told apart."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.core.keys.model import Attempt, AttemptState, Incarnation, KeyForm, KeyType, Purpose
from keystead.core.keys.names import (
    ObjectKind,
    ObjectName,
    canary_name,
    epoch_marker_name,
    is_written_by,
    key_id,
    object_name,
    parse,
    parts,
)

THEN = datetime(2026, 3, 1, tzinfo=UTC)
UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
INCARNATION = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
ATTEMPT = Attempt(UUID, 3, Purpose.CREATE, INCARNATION, "token", "node", AttemptState.PENDING, THEN, THEN)

NAMES = {
    "a key": (object_name(ATTEMPT), "keystead-7c9e6679-k0f8fad5bd9cb469f-3"),
    "a descriptor": (object_name(ATTEMPT, ObjectKind.DESCRIPTOR), "keystead-7c9e6679-d0f8fad5bd9cb469f-3"),
    "a canary": (canary_name(INCARNATION, UUID, 12), "keystead-7c9e6679-c0f8fad5bd9cb469f-12"),
    "a fence": (epoch_marker_name(INCARNATION, UUID, 2), "keystead-7c9e6679-f0f8fad5bd9cb469f-2"),
    "half of a pair": (replace(object_name(ATTEMPT), part=2), "keystead-7c9e6679-k0f8fad5bd9cb469f-3-2"),
}


@pytest.mark.parametrize(("name", "text"), NAMES.values(), ids=NAMES)
def test_names(name: ObjectName, text: str) -> None:
    """A name holds the short ids of incarnation and key and the attempt's number, and is parsed back."""
    assert str(name) == text
    assert parse(text) == name


def test_parts() -> None:
    """A pair is two objects, everything else is one under the name itself."""
    name = object_name(ATTEMPT)
    for form in (KeyForm.SECRET_DATA, KeyForm.SYMMETRIC_KEY):
        assert parts(name, form) == (str(name),)
    assert parts(name, KeyForm.SYMMETRIC_KEY_PAIR) == (f"{name}-1", f"{name}-2")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "keystead-",
        "keystead-7c9e6679-k0f8fad5bd9cb469f",
        "keystead-7c9e6679-k0f8fad5bd9cb469f-0",
        "keystead-7c9e6679-k0f8fad5bd9cb469f-01",
        "keystead-7c9e6679-k0f8fad5bd9cb469f-1-3",
        "keystead-7c9e6679-k0f8fad5bd9cb469f-1234567890",
        "keystead-7c9e6679-x0f8fad5bd9cb469f-1",
        "keystead-7C9E6679-k0f8fad5bd9cb469f-1",
        "keystead-7c9e667-k0f8fad5bd9cb469f-1",
        "keystead-7c9e6679-k0f8fad5bd9cb469f-1\n",
        " keystead-7c9e6679-k0f8fad5bd9cb469f-1",
        "Keystead-7c9e6679-k0f8fad5bd9cb469f-1",
    ],
)
def test_what_is_no_name_of_ours(text: str) -> None:
    """A name is ours only if the whole of it has the exact form."""
    assert parse(text) is None


@given(
    st.builds(
        ObjectName,
        st.from_regex(r"[0-9a-f]{8}", fullmatch=True),
        st.sampled_from(ObjectKind),
        st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
        st.integers(1, 999_999_999),
        st.integers(0, 2),
    )
)
def test_every_name_is_read_back(name: ObjectName) -> None:
    """Any name is parsed back, so no two are written alike."""
    assert parse(str(name)) == name


@given(st.uuids(), st.uuids())
def test_key_ids(one: object, other: object) -> None:
    """A key id has 80 hexadecimal digits with the type and the whole uuid, so two keys never share one."""
    ids = {key_id(type_, str(uuid)) for type_ in KeyType for uuid in (one, other)}
    assert len(ids) == len(KeyType) * len({one, other})
    assert all(re.fullmatch("[0-9a-f]{80}", id_) for id_ in ids)


def test_who_wrote_an_object() -> None:
    """The incarnation that wrote an object is read from its name; a foreign name gives None."""
    ours = Incarnation(INCARNATION, 1, THEN, "created", "", destroys=True)
    name = str(object_name(ATTEMPT))
    assert is_written_by(name, [replace(ours, uuid=UUID), ours])
    assert not is_written_by(name, [replace(ours, uuid=UUID)])
    assert not is_written_by("payroll", [ours])
