"""Make descriptors: each one says which key a copy holds. See :mod:`keystead.core.keys.descriptors`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.core.keys.descriptors import describe, encode

if TYPE_CHECKING:
    from keystead.core.keys.model import Attempt, Key
    from keystead.service.keys.topology import Endpoints, ServerTopology


class Describer:
    """The maker of descriptors, which the writer of keys calls for each attempt."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints

    def __call__(self, key: Key, attempt: Attempt, topology: ServerTopology) -> bytes:
        """Return the descriptor of an attempt's copies. Raise SealError if the digest key cannot be opened."""
        return encode(describe(key, attempt), self._endpoints.digest_key(topology))
