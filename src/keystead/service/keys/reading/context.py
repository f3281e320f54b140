"""The data that reads from a key manager's servers need, as one transaction saw it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.core.keys.reading import Source
    from keystead.core.secret import Secret
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.objects import Endpoint


@dataclass(frozen=True)
class ReadContext:
    """The data that reads from a key manager's servers need. ``endpoints`` are by server (uuid) and host."""

    topology: ServerTopology
    endpoints: Mapping[tuple[str, str], Endpoint]
    digest_key: Secret = field(repr=False)

    def endpoint(self, source: Source) -> Endpoint:
        """Return the endpoint of a source."""
        return self.endpoints[source.server.uuid, source.host]
