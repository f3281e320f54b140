"""Sealed values: the layout of the design, and no way to open one that was changed or moved."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from keystead.sealing import envelope
from keystead.service.ports.sealing import SealContext, SealError

KEY = AESGCM(bytes(range(32)))
PLACE = SealContext("key_servers", "uuid-1", "sealed_password")


@given(st.binary(max_size=200))
def test_what_is_sealed_is_unsealed(value: bytes) -> None:
    """Any bytes, empty ones too, 33 bytes longer."""
    sealed = envelope.seal(KEY, 7, value, PLACE)
    assert len(sealed) == len(value) + 33
    assert envelope.key_id_of(sealed) == 7
    assert envelope.unseal(KEY, sealed, PLACE) == value


def test_the_layout_is_that_of_the_design() -> None:
    """Version | key id | nonce | ciphertext and tag, as another implementation of AES-GCM opens it."""
    sealed = envelope.seal(KEY, 0x01020304, b"value", PLACE)
    assert sealed[:5] == bytes([1, 1, 2, 3, 4])
    place = b"\0\0\0\x0bkey_servers\0\0\0\x06uuid-1\0\0\0\x0fsealed_password"
    assert KEY.decrypt(sealed[5:17], sealed[17:], sealed[:5] + place) == b"value"


def test_a_value_is_never_sealed_the_same_way_twice() -> None:
    """Each has its own nonce."""
    assert len({envelope.seal(KEY, 1, b"value", PLACE)[5:17] for _ in range(100)}) == 100


def test_every_altered_bit_is_found() -> None:
    """The header included."""
    sealed = envelope.seal(KEY, 1, b"value", PLACE)
    for bit in range(len(sealed) * 8):
        altered = bytearray(sealed)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealError):
            envelope.unseal(KEY, bytes(altered), PLACE)


@pytest.mark.parametrize(
    "other",
    [
        SealContext("certificates", "uuid-1", "sealed_password"),
        SealContext("key_servers", "uuid-2", "sealed_password"),
        SealContext("key_servers", "uuid-1", "sealed_private_key"),
        SealContext("key_servers", "uuid-1sealed_", "password"),
        SealContext("key_serversuuid-1", "", "sealed_password"),
    ],
    ids="|".join,
)
def test_a_value_opens_nowhere_else(other: SealContext) -> None:
    """Another table, row or column, or a place that reads the same when its parts are joined."""
    with pytest.raises(SealError, match="altered or moved"):
        envelope.unseal(KEY, envelope.seal(KEY, 1, b"value", PLACE), other)


def test_another_key_does_not_open_it() -> None:
    """Nor does the error hold any of it."""
    with pytest.raises(SealError):
        envelope.unseal(AESGCM(bytes(32)), envelope.seal(KEY, 1, b"value", PLACE), PLACE)


@pytest.mark.parametrize("size", range(33))
def test_what_is_too_short_is_no_envelope(size: int) -> None:
    """No index error, no slice of nothing."""
    with pytest.raises(SealError, match="too short"):
        envelope.key_id_of(envelope.seal(KEY, 1, b"", PLACE)[:size])


def test_an_unknown_version_is_said() -> None:
    """A newer release wrote it."""
    with pytest.raises(SealError, match="unknown version 2"):
        envelope.key_id_of(b"\x02" + envelope.seal(KEY, 1, b"", PLACE)[1:])
