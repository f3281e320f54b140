"""The canary search finds what it is meant to find: a search that finds nothing proves nothing."""

from __future__ import annotations

import base64
import json
import sqlite3
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.canaries import Canaries

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "raw": lambda text: text.encode(),
    "json": lambda text: json.dumps({"a": text}).encode(),
    "json utf-8": lambda text: json.dumps(text, ensure_ascii=False).encode(),
    "hex": lambda text: text.encode().hex().encode(),
    "upper hex": lambda text: text.encode().hex().upper().encode(),
    "percent": lambda text: quote(text, safe="").encode(),
    "lower percent": lambda text: quote(text, safe="").lower().encode(),
    "form": lambda text: urlencode({"a": text}).encode(),
    "plus": lambda text: quote_plus(text).encode(),
    "repr": lambda text: repr({"a": text}).encode(),
    "repr of bytes": lambda text: repr(text.encode()).encode(),
    "latin-1": lambda text: text.encode("latin-1"),
    "utf-16": lambda text: text.encode("utf-16"),
    "reversed": lambda text: text.encode()[::-1],
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64url": lambda text: base64.urlsafe_b64encode(text.encode()),
    "basic": lambda text: base64.b64encode(b"admin:" + text.encode()),
    "basic 1": lambda text: base64.b64encode(b"root:" + text.encode()),
    "basic 2": lambda text: base64.b64encode(b"user:x" + text.encode() + b"yz"),
}


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
def test_a_canary_is_found_in_every_form(encode: Callable[[str], bytes]) -> None:
    """In the middle of other things."""
    canaries = Canaries()
    text = canaries.plant("password")
    found = canaries.search_bytes(b"\0\xffbefore " + encode(text) + b" after\0", "log")
    assert {(one.canary, one.place) for one in found} == {("password", "log")}


def test_nothing_is_found_where_nothing_is() -> None:
    """Not even another canary of the same kind."""
    canaries = Canaries()
    canaries.plant("password")
    assert canaries.search_bytes(Canaries().plant("other").encode() * 1000, "log") == []


def test_a_short_canary_is_refused() -> None:
    """It would be found by chance."""
    with pytest.raises(ValueError, match="by chance"):
        Canaries().plant("pin", "1234")


def test_a_private_key_is_found_as_pem_and_as_der() -> None:
    """Also when its lines were joined or escaped, and only its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    canaries = Canaries()
    canaries.plant("key", pem)
    for content in (pem, json.dumps(pem.decode()).encode(), pem.replace(b"\n", b""), der, der.hex().encode()):
        assert canaries.search_bytes(content, "")
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert canaries.search_bytes(other, "") == []
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert canaries.search_bytes(public, "") == [], "the public half is no secret"


def test_every_secret_number_of_an_rsa_key_is_found() -> None:
    """In the PEM, line by line, and in the DER."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    canaries = Canaries()
    canaries.plant("key", pem)
    assert len(canaries.search_bytes(der, "")) > 10
    assert len({one.canary for one in canaries.search_bytes(pem, "")}) > 10


def test_files_are_searched_wherever_they_are(tmp_path: Path) -> None:
    """A database's write-ahead log too; a file may be allowed to hold one."""
    canaries = Canaries()
    text = canaries.plant("password")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "config").write_text(f"password = {text}")
    connection = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE a (b)")
    connection.execute("INSERT INTO a VALUES (?)", (text,))
    found = {one.place.rpartition("/")[2] for one in canaries.search_files([tmp_path])}
    assert found == {"config", "a.db-wal"}
    allowed = canaries.search_files([tmp_path], allowed={"config": {"password"}, "a.db-wal": {"other"}})
    assert {one.place.rpartition("/")[2] for one in allowed} == {"a.db-wal"}
    assert canaries.search_files([tmp_path / "deep" / "er" / "config"])
    connection.close()
