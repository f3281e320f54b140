"""What a new node and its inviter prove to each other, and what is sealed on its way."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from keystead.core.secret import Secret
from keystead.sealing.joining import NewNodeKey, Parties, Side, fingerprint, hash_of, is_proof, new_token, proof, seal
from keystead.service.ports.sealing import SealError

TOKEN = "abcd-efgh-ijkl-mnop-qrst-uvwx-yz23-4567"
HASH = hash_of(Secret(TOKEN))


def test_tokens() -> None:
    """32 letters and digits of 5 bits each, another one each time; how it is typed does not matter."""
    tokens = {new_token().reveal() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token.replace(b"-", b"")) * 5 for token in tokens} == {160}
    for typed in (TOKEN.upper(), TOKEN.replace("-", ""), f" {TOKEN}\r\n", TOKEN.replace("-", " ")):
        assert hash_of(Secret(typed)) == HASH
    assert hash_of(new_token()) != HASH


@pytest.mark.parametrize("typed", ["", TOKEN[:-1], f"{TOKEN}a", TOKEN.replace("a", "1"), "\u00e4" * 32, "\udcff" * 32])
def test_what_is_no_token_is_refused(typed: str) -> None:
    """Without a try; it is not quoted."""
    with pytest.raises(ValueError, match="a token has 8 groups of 4 letters and digits"):
        hash_of(Secret(typed.encode("utf-8", "surrogateescape")))


def test_a_proof_is_about_both_parties_and_the_content() -> None:
    """A change of any of them, of the side or of the token ends it."""
    parties, content = Parties(os.urandom(32), os.urandom(32)), b"sealed"
    made = proof(HASH, Side.INVITER, parties, content)
    assert is_proof(made, HASH, Side.INVITER, parties, content)
    assert not is_proof(made, hash_of(new_token()), Side.INVITER, parties, content)
    assert not is_proof(made, HASH, Side.NEW_NODE, parties, content)
    assert not is_proof(made, HASH, Side.INVITER, replace(parties, new_node=bytes(32)), content)
    assert not is_proof(made, HASH, Side.INVITER, replace(parties, inviter=bytes(32)), content)
    assert not is_proof(made, HASH, Side.INVITER, parties, b"other")
    assert not is_proof(b"", HASH, Side.INVITER, parties, content)


def test_only_the_key_opens_what_was_sealed_to_it() -> None:
    """And only as long as it is from the same inviter, unaltered."""
    key, content = NewNodeKey(), Secret(b"root key and more")
    parties = Parties(key.public, os.urandom(32))
    sealed = seal(content, parties)
    assert key.open(sealed, parties) == content
    assert seal(content, parties) != sealed
    altered = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for each, to, of in (
        (sealed, NewNodeKey(), parties),
        (sealed, key, replace(parties, inviter=bytes(32))),
        (altered, key, parties),
        (b"", key, parties),
    ):
        with pytest.raises(SealError, match="not sealed to this node's key"):
            to.open(each, of)
    with pytest.raises(SealError, match="cannot be used"):
        seal(content, replace(parties, new_node=bytes(32)))


def test_what_is_shown_of_a_key() -> None:
    """Its fingerprint is that of the public part; its repr says nothing."""
    key = NewNodeKey()
    assert len(fingerprint(key.public)) == 32 * 3 - 1
    assert fingerprint(key.public) != fingerprint(NewNodeKey().public)
    assert repr(key) == "NewNodeKey(***)"
