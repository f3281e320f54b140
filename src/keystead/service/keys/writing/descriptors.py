"""Say of a key, for its key servers, what it is: see :mod:`keystead.core.keys.descriptors`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.core.keys.descriptors import described, written

if TYPE_CHECKING:
    from keystead.core.keys.model import Attempt, Key
    from keystead.service.keys.topology import Endpoints, ServerTopology


class Describer:
    """What the writer of keys calls to have descriptors written beside copies."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints

    def __call__(self, key: Key, attempt: Attempt, topology: ServerTopology) -> bytes:
        """The descriptor of the copies that an attempt writes. Raises SealError."""
        return written(described(key, attempt), self._endpoints.digest_key(topology))
