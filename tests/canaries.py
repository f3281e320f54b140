"""Secrets that sing: values planted where secrets go, and a search for them, in any form, everywhere they must not be.

A canary is found raw, in base64 (at any alignment), in hexadecimal, percent-encoded, escaped as in JSON or as in a
Python repr, in UTF-16, and backwards. Short canaries would be found by chance: they have at least sixteen bytes.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SHORTEST = 16
LINE = 48
"""Bytes that one line of a PEM stands for."""


@dataclass(frozen=True)
class Sighting:
    """Where a canary was found: which one, in which form, in what, and at which byte."""

    canary: str
    form: str
    place: str
    offset: int


class Canaries:
    """Canaries by name; plant their texts, then search files and texts for them."""

    def __init__(self) -> None:
        self._forms: dict[tuple[str, str], bytes] = {}

    def plant(self, name: str, value: str | bytes | None = None) -> str:
        """Make a canary (or take a given secret, a private key's PEM for instance) and return its text.

        A made one holds characters that each encoding writes differently. Of a private key's PEM, what counts are the
        secret numbers in it, in whichever form.
        """
        if value is None:
            value = f'canary "{secrets.token_hex(8)}" é/+&%\''
        raw = value.encode() if isinstance(value, str) else value
        if raw.startswith(b"-----BEGIN"):
            for number, part in enumerate(_parts_of_pem(raw)):
                self._add(f"{name} part {number}", part)
        else:
            self._add(name, raw)
        return raw.decode("latin-1") if isinstance(value, bytes) else value

    def search_bytes(self, content: bytes, place: str) -> list[Sighting]:
        """Search what was sent, logged or printed."""
        folded = content.lower()
        found = []
        for (name, form), pattern in self._forms.items():
            offset = (folded if form in _CASELESS else content).find(pattern)
            if offset >= 0:
                found.append(Sighting(name, form, place, offset))
        return found

    def search_files(self, roots: Iterable[Path], *, allowed: Mapping[str, set[str]] | None = None) -> list[Sighting]:
        """Search files and whole folders, databases and their write-ahead logs included.

        ``allowed`` names, by file name, the canaries that may be in a file.
        """
        found = []
        for path in (path for root in roots for path in ([root] if root.is_file() else sorted(root.rglob("*")))):
            if path.is_file():
                excepted = (allowed or {}).get(path.name, set())
                sightings = self.search_bytes(path.read_bytes(), str(path))
                found += [one for one in sightings if one.canary not in excepted]
        return found

    def _add(self, name: str, raw: bytes) -> None:
        if len(raw) < SHORTEST:
            raise ValueError(f"a canary of {len(raw)} bytes would be found by chance")
        for form, pattern in _forms(raw).items():
            self._forms[name, form] = pattern


_CASELESS = {"hex", "percent"}


def _forms(raw: bytes) -> dict[str, bytes]:
    text = raw.decode("utf-8", "surrogateescape")
    forms = {
        "raw": raw,
        "reversed": raw[::-1],
        "hex": raw.hex().encode(),
        "percent": quote(raw, safe="").lower().encode(),
        "form": quote_plus(raw).encode(),
        "json": json.dumps(text)[1:-1].encode(),
        "json utf-8": json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "surrogateescape"),
        "repr": repr(text)[1:-1].encode("utf-8", "backslashreplace"),
        "repr of bytes": repr(raw)[2:-1].encode(),
        "latin-1": text.encode("latin-1", "replace"),
        "utf-16": text.encode("utf-16-le", "surrogatepass"),
    }
    for shift in range(3):
        forms[f"base64 at {shift}"] = _inner_base64(raw, shift)
        forms[f"base64url at {shift}"] = _inner_base64(raw, shift).translate(bytes.maketrans(b"+/", b"-_"))
    return forms


def _inner_base64(raw: bytes, shift: int) -> bytes:
    """The characters that base64 writes for these bytes at an alignment, whatever stands before and after them."""
    encoded = base64.b64encode(bytes(shift) + raw)
    first = 0 if shift == 0 else 4  # the first group mixes in what stands before
    return encoded[first : len(encoded) // 4 * 4 - 4]


def _parts_of_pem(raw: bytes) -> list[bytes]:
    """The secret numbers of a private key (its public half is in its certificate too), whole and as lines cut them."""
    key = load_pem_private_key(raw, None)
    der = base64.b64decode(b"".join(line for line in raw.splitlines() if not line.startswith(b"-----")))
    parts = []
    for secret in _secret_numbers(key):
        start, end = der.index(secret), der.index(secret) + len(secret)
        cuts = [start, *range(start // LINE * LINE + LINE, end, LINE), end]
        parts += [secret, *(der[one:other] for one, other in pairwise(cuts) if other - one >= SHORTEST)]
    return parts


def _secret_numbers(key: object) -> list[bytes]:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return [key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8)]
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        return [number.to_bytes((number.bit_length() + 7) // 8) for number in (numbers.d, numbers.p, numbers.q)]
    raise ValueError(f"a canary cannot be made of a {type(key).__name__}")
