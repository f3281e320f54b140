"""The two messages between a node that invites and a new one that joins, as JSON in one HTTPS request and its answer.

The URL of an invitation ends with the SHA-256 of the certificate that the inviter shows. The new node sends its public
key and a proof that it knows the token. The answer has what the new node needs, sealed, and the inviter's proof; or it
says why it is refused.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from keystead.core.secret import Secret
from keystead.sealing.joining import KEY_BYTES
from keystead.settings import SettingsError

LONGEST: Final = 1 << 17
"""Bytes of a message at most. A certificate with its chain is the largest part."""

LIVES_S: Final = 15 * 60.0
"""Seconds for which an invitation is good."""

_FINGERPRINT: Final = re.compile(r"/[0-9a-f]{64}")


class MalformedError(Exception):
    """A message that no inviter and no new node sends."""


class Refusal(StrEnum):
    """Why a new node is refused."""

    WRONG_TOKEN = "wrong token"  # noqa: S105 - a reason
    USED = "used"
    EXPIRED = "expired"
    BY_OPERATOR = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Invited:
    """Where an invitation is, and the SHA-256 of the certificate that the inviter shows there."""

    host: str
    port: int
    certificate: bytes

    @classmethod
    def parse(cls, url: str) -> Invited:
        """Return what the URL of an invitation says. Raises SettingsError."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port, parts = None, None, urlsplit("")
        bare = "@" not in parts.netloc and not parts.query and not parts.fragment
        if not (parts.scheme == "https" and host and port and bare and _FINGERPRINT.fullmatch(parts.path)):
            raise SettingsError("--join: https://HOST:PORT/FINGERPRINT is expected, as `keystead node invite` shows it")
        return cls(host, port, bytes.fromhex(parts.path[1:]))

    @staticmethod
    def path_of(certificate: bytes) -> str:
        """Return the path of the URL of an inviter with this certificate (SHA-256)."""
        return f"/{certificate.hex()}"

    @property
    def place(self) -> str:
        """The host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"https://{self.place}{self.path_of(self.certificate)}"


@dataclass(frozen=True, slots=True)
class Hello:
    """What a new node sends: its public key, and its proof."""

    key: bytes
    proof: bytes

    def encoded(self) -> bytes:
        """Return the message."""
        return json.dumps({"key": self.key.hex(), "proof": self.proof.hex()}).encode()

    @classmethod
    def decoded(cls, message: bytes) -> Hello:
        """Raise MalformedError."""
        key, proof = (_bytes(_read(message), name) for name in ("key", "proof"))
        if len(key) != KEY_BYTES:
            raise MalformedError
        return cls(key, proof)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the inviter answers: a sealed grant with its proof, or a refusal, with the tries that are left."""

    sealed: bytes = b""
    proof: bytes = b""
    refusal: Refusal | None = None
    tries_left: int = 0

    def encoded(self) -> bytes:
        """Return the message."""
        if self.refusal:
            return json.dumps({"refused": self.refusal, "tries_left": self.tries_left}).encode()
        return json.dumps({"sealed": self.sealed.hex(), "proof": self.proof.hex()}).encode()

    @classmethod
    def decoded(cls, message: bytes) -> Answer:
        """Raise MalformedError."""
        found = _read(message)
        if "refused" not in found:
            return cls(_bytes(found, "sealed"), _bytes(found, "proof"))
        try:
            return cls(refusal=Refusal(found["refused"]), tries_left=int(found["tries_left"]))
        except (KeyError, TypeError, ValueError):
            raise MalformedError from None


@dataclass(frozen=True, slots=True)
class Grant:
    """What a new node gets: the root key and the database's URL, and the cluster's own certificate with its key."""

    root_key: Secret
    database: str = field(repr=False)
    certificate: str = ""
    key: Secret = field(default_factory=lambda: Secret(b""))

    def encoded(self) -> Secret:
        """Return the content to seal."""
        root_key = base64.b64encode(self.root_key.reveal()).decode()
        pair = {"certificate": self.certificate, "key": self.key.reveal().decode()}
        return Secret(json.dumps({"root_key": root_key, "database": self.database, **pair}))

    @classmethod
    def decoded(cls, content: Secret) -> Grant:
        """Raise MalformedError."""
        found = _read(content.reveal())
        try:
            root_key = Secret(base64.b64decode(found["root_key"], validate=True))
            return cls(root_key, str(found["database"]), str(found["certificate"]), Secret(str(found["key"])))
        except (KeyError, TypeError, ValueError):
            raise MalformedError from None


def _read(message: bytes) -> dict[str, Any]:
    try:
        found = json.loads(message)
    except ValueError:
        raise MalformedError from None
    if not isinstance(found, dict):
        raise MalformedError
    return found


def _bytes(found: dict[str, Any], name: str) -> bytes:
    try:
        return bytes.fromhex(found[name])
    except (KeyError, TypeError, ValueError):
        raise MalformedError from None
