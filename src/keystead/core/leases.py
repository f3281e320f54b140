"""Leases: who holds one, and who may take it. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from keystead.core.keys.model import Lease

if TYPE_CHECKING:
    from datetime import datetime, timedelta


# --- one holder at a time ---


def taken(
    lease: Lease | None, name: str, holder: str, now: datetime, length: timedelta, *, left: bool = False
) -> Lease | None:
    """The lease as ``holder`` has it from now on, or None while somebody else does.

    The token grows with each change of hands: also when a holder comes too late to renew its own. ``left``: nobody has
    renewed it for its length, whatever the clock says by which its holder wrote when it runs out.
    """
    if lease is None:
        return Lease(name, holder, 1, now + length)
    if lease.expires > now and not left:
        return replace(lease, expires=now + length) if lease.holder == holder else None
    return Lease(name, holder, lease.token + 1, now + length)


def holds(lease: Lease | None, holder: str, token: int) -> bool:
    """Whether nobody has taken the lease since ``holder`` got this token."""
    return lease is not None and lease.holder == holder and lease.token == token
