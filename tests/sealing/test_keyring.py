"""The keyring: what one root key seals, only that root key opens."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keystead.core.secret import Secret
from keystead.sealing import Keyring, WrongRootKeyError
from keystead.service.ports.sealing import SealContext, SealError

ROOT = Secret(bytes(range(32)))
OTHER_ROOT = Secret(bytes(32))
PLACE = SealContext("key_servers", "u", "sealed_password")


def test_a_reopened_keyring_opens_what_was_sealed() -> None:
    """As after a restart."""
    keyring, row = Keyring.create(ROOT)
    sealed = keyring.seal(Secret("value"), PLACE)
    assert Keyring.open(ROOT, [row]).unseal(sealed, PLACE) == Secret("value")


def test_the_newest_data_key_seals_and_all_open() -> None:
    """So that data keys can be replaced one after the other."""
    first, row1 = Keyring.create(ROOT, 1)
    _, row2 = Keyring.create(ROOT, 2)
    both = Keyring.open(ROOT, [row2, row1])
    old = first.seal(Secret("old"), PLACE)
    new = both.seal(Secret("new"), PLACE)
    assert both.unseal(old, PLACE) == Secret("old")
    assert both.unseal(new, PLACE) == Secret("new")
    with pytest.raises(SealError, match="data key 2"):
        first.unseal(new, PLACE)


def test_the_wrong_root_key_is_refused_by_name() -> None:
    """With words that an operator understands, and before anything is opened."""
    _, row = Keyring.create(ROOT)
    with pytest.raises(WrongRootKeyError, match="not the one that this database was set up with"):
        Keyring.open(OTHER_ROOT, [row])


def test_no_data_keys_are_refused() -> None:
    """The database was not initialised."""
    with pytest.raises(SealError, match="keystead init"):
        Keyring.open(ROOT, [])


def test_a_damaged_data_key_is_told_from_a_wrong_root_key() -> None:
    """The check value fits, the wrapped key does not open; nor does it under another id."""
    _, row = Keyring.create(ROOT)
    for damaged in (
        replace(row, wrapped=row.wrapped[:-1] + bytes([row.wrapped[-1] ^ 1])),
        replace(row, id=2),
        replace(row, wrapped=b""),
    ):
        with pytest.raises(SealError) as caught:
            Keyring.open(ROOT, [damaged])
        assert not isinstance(caught.value, WrongRootKeyError)


def test_the_rows_say_nothing_about_the_keys() -> None:
    """Neither the root key nor the data key is in what is stored."""
    keyring, row = Keyring.create(ROOT)
    stored = row.wrapped + row.root_key_check
    assert ROOT.reveal() not in stored
    assert hashlib.sha256(ROOT.reveal()).digest() not in stored
    assert Keyring.create(ROOT)[1].wrapped != row.wrapped
    assert repr(keyring) == "Keyring(***)"
    assert "wrapped" not in repr(row)


def test_the_audit_mac_is_under_a_key_derived_from_the_root_key() -> None:
    """HKDF-SHA-256 (RFC 5869), so that it outlives data keys."""
    key = HKDF(SHA256(), 32, salt=None, info=b"keystead audit mac v1").derive(ROOT.reveal())
    keyring, _ = Keyring.create(ROOT)
    assert keyring.mac(b"record") == hmac.digest(key, b"record", "sha256")
    assert Keyring.create(OTHER_ROOT)[0].mac(b"record") != keyring.mac(b"record")
