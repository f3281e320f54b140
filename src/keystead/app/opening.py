"""Opening the database that the settings name, or saying why the process cannot start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.service.ports.store import StoreError
from keystead.store import open_store

if TYPE_CHECKING:
    from keystead.settings import Settings
    from keystead.store import SqlStore


class CannotStart(Exception):  # noqa: N818 - what the operator reads: the service cannot start, because ...
    """The data directory, its database or its root key cannot be used; the text says what to do."""


def opened(settings: Settings) -> SqlStore:
    """Open the database. Raises CannotStart if it is missing, unreachable or of another release's schema."""
    try:
        return open_store(settings.database_url)
    except StoreError as error:
        raise CannotStart(str(error)) from None
