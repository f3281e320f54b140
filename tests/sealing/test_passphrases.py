"""Files sealed under a passphrase: they open with it, whole, or not at all."""

from __future__ import annotations

import io

import pytest

from keystead.core.secret import Secret
from keystead.sealing import passphrases
from keystead.sealing.passphrases import HEADER, SALT_BYTES, read_sealed, write_sealed
from keystead.service.ports.sealing import SealError

PASSPHRASE = Secret("correct horse battery staple")
PARTS = [b"first", b"", bytes(1000)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less memory than in earnest."""
    monkeypatch.setattr(passphrases, "MEMORY_KIB", 64)
    monkeypatch.setattr(passphrases, "PASSES", 1)


def sealed(parts: list[bytes] = PARTS) -> bytes:
    """A sealed file."""
    file = io.BytesIO()
    write_sealed(file, parts, PASSPHRASE)
    return file.getvalue()


def opened(content: bytes, passphrase: Secret = PASSPHRASE) -> list[bytes]:
    """Its parts."""
    return list(read_sealed(io.BytesIO(content), passphrase))


@pytest.mark.parametrize("parts", [PARTS, [b"one"], [b""]])
def test_what_was_sealed_is_read(parts: list[bytes]) -> None:
    """Part by part; nothing of it can be seen, and no two files are alike."""
    content = sealed(parts)
    assert opened(content) == parts
    assert content.startswith(HEADER)
    assert b"first" not in content
    assert sealed(parts) != content


def test_nothing_is_one_empty_part() -> None:
    """A file without parts is not told from one that was cut off."""
    assert opened(sealed([])) == [b""]


def test_another_passphrase() -> None:
    """It opens nothing, and the error does not say more."""
    with pytest.raises(SealError, match="passphrase"):
        opened(sealed(), Secret("correct horse battery"))


def test_every_bit_counts() -> None:
    """Wherever the file is altered."""
    content = sealed([b"a", b"b"])
    for position in range(len(content)):
        altered = bytearray(content)
        altered[position] ^= 1
        with pytest.raises(SealError):
            opened(bytes(altered))


def test_every_byte_counts() -> None:
    """Wherever it is cut off, and what is put behind it."""
    content = sealed([b"a", b"b"])
    for length in range(len(content)):
        with pytest.raises(SealError):
            opened(content[:length])
    with pytest.raises(SealError):
        opened(content + b"\0")


def test_parts_cannot_change_places() -> None:
    """Nor files."""
    content = sealed([b"a", b"b", b"c"])
    start = len(HEADER) + SALT_BYTES
    size = (len(content) - start) // 3
    first, second, third = (content[start + n * size : start + (n + 1) * size] for n in range(3))
    for parts in ([second, first, third], [first, third], [first, second]):
        with pytest.raises(SealError):
            opened(content[:start] + b"".join(parts))
    with pytest.raises(SealError):
        opened(content[:start] + sealed([b"a", b"b", b"c"])[start:])
