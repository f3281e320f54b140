"""Who calls, from where, with what: handed to every use case, written into the audit record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keystead.core.model import Role


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated account and the address it calls from."""

    account: str
    role: Role
    location: str


@dataclass(frozen=True, slots=True)
class Call:
    """One API call. ``input`` is the request body as text with every secret masked, or empty."""

    caller: Caller
    method: str
    path: str
    input: str = ""
