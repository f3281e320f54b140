"""A value that must not be seen: a password, a private key, key material.

Never format, log or pickle a secret, and never compare it in variable time. Only :meth:`Secret.reveal` opens it.
"""

from __future__ import annotations

import hmac
from typing import NoReturn, final
from urllib.parse import unquote_plus


@final
class Secret:
    """Bytes that show as ``Secret(***)`` everywhere except through :meth:`reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: str | bytes) -> None:
        self._value = value.encode() if isinstance(value, str) else bytes(value)

    def reveal(self) -> bytes:
        """Return the bytes. Pass them straight to the code that needs them."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format("Secret(***)", spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> NoReturn:
        raise TypeError("a Secret is no dictionary key")

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")


def holds_private_key(text: str) -> bool:
    """Return True if a text holds a private key in PEM, as it is or percent-encoded."""
    return "PRIVATE KEY" in unquote_plus(text).upper()
