"""The rules of leases: who holds a lease, and who may take it. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from keystead.core.keys.model import Lease

if TYPE_CHECKING:
    from datetime import datetime, timedelta


# --- one holder at a time ---


def take(
    lease: Lease | None, name: str, holder: str, now: datetime, length: timedelta, *, left: bool = False
) -> Lease | None:
    """Return the lease as ``holder`` has it from now on, or None while another node holds it.

    The fencing token grows with each new holder, and when a holder renews its own lease too late. ``left`` says that
    the lease was not renewed for its whole length. Then it can be taken whatever its ``expires`` says, which may be by
    a wrong clock.
    """
    if lease is None:
        return Lease(name, holder, 1, now + length)
    if lease.expires > now and not left:
        return replace(lease, expires=now + length) if lease.holder == holder else None
    return Lease(name, holder, lease.token + 1, now + length)


def holds(lease: Lease | None, holder: str, token: int) -> bool:
    """Return True if nobody has taken the lease since ``holder`` got this token."""
    return lease is not None and lease.holder == holder and lease.token == token
