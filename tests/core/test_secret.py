"""A Secret shows nothing but through reveal()."""

from __future__ import annotations

import copy
import pickle

import pytest

from keystead.core.secret import Secret


def test_shows_nothing() -> None:
    """No way of formatting it shows the value."""
    secret = Secret("open sesame")
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret:>30}", "%s" % secret, f"{[secret]}"):  # noqa: UP031
        assert "sesame" not in shown
        assert "Secret(***)" in shown


def test_reveal() -> None:
    """Text comes out as UTF-8, bytes as they went in."""
    assert Secret("é").reveal() == b"\xc3\xa9"
    assert Secret(b"\xff").reveal() == b"\xff"


def test_equality_and_truth() -> None:
    """Secrets compare by value with secrets only; an empty one is false."""
    assert Secret("a") == Secret(b"a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert not Secret("")
    assert Secret("a")


@pytest.mark.parametrize("act", [hash, pickle.dumps, copy.copy])
def test_refuses_to_leak_by_accident(act: object) -> None:
    """A Secret cannot be hashed, pickled or copied."""
    with pytest.raises(TypeError, match="Secret"):
        act(Secret("a"))  # type: ignore[operator]
