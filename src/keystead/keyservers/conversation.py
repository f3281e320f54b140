"""The requests of a probe after TLS: the server's versions, its properties, and whether it accepts our credential.

Many servers answer Discover Versions and Query to everyone. Locate comes last, because it needs a client that the
server knows. All three change nothing. Errors are those of the library (:class:`keystead.kmip.ttlv.errors.KMIPError`).
``operation`` names the operation under way.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from keystead.core.certificates.shown import clean
from keystead.kmip.client.client import Client
from keystead.kmip.messages.headers import username_credential
from keystead.kmip.ttlv.enums import QueryFunction, ResultReason
from keystead.kmip.ttlv.errors import OperationFailed, TransportError
from keystead.kmip.ttlv.ttlv import PROBE_LIMITS
from keystead.kmip.ttlv.versions import V1_0, V1_2, V1_4

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.kmip.transport.tls import Stream
    from keystead.kmip.ttlv.ttlv import Limits

FALLBACK_VERSIONS: Final = (V1_4, V1_2, V1_0)
"""The versions under which Query is tried if Discover Versions is not permitted."""

_WITHOUT_DISCOVER_VERSIONS: Final = ((), (V1_0,))
"""The versions ``offered`` of a client whose server refuses or lacks Discover Versions."""


class Conversation:
    """The requests of one probe, in order: :meth:`settle_version`, :meth:`query`, :meth:`locate`.

    ``client`` makes the requests. It keeps the version that was agreed on. ``on_request`` gets the number of operations
    of each message, in the probe and afterwards.
    """

    def __init__(
        self,
        stream: Stream,
        username: str,
        password: str | None,
        learned: dict[str, object],
        *,
        limits: Limits = PROBE_LIMITS,
        on_request: Callable[[int], None] = lambda _: None,
    ) -> None:
        credential = username_credential(username, password) if username else None
        self.client = Client(stream, credential=credential, limits=limits, on_request=on_request)
        self._learned = learned
        self._queried = False
        self.operation = "DiscoverVersions"

    async def settle_version(self) -> None:
        """Choose the highest common version. If Discover Versions is not permitted, try Query with several versions."""
        try:
            await self.client.negotiate()
        except OperationFailed as failure:
            if failure.reason != ResultReason.PERMISSION_DENIED:
                raise
            await self._try_versions(failure)
        self._learn_clock()
        self._learned["kmip_versions"] = [_shown(version) for version in self.client.offered]
        self._learned["kmip_version"] = _shown(self.client.version)

    async def query(self) -> None:
        """Ask for operations and server information. A server without Query only gets a warning."""
        if self._queried:
            return
        self.operation = "Query"
        try:
            await self._query()
        except OperationFailed as failure:
            if failure.reason != ResultReason.OPERATION_NOT_SUPPORTED:
                raise
            self._warn("Query is not supported")

    async def locate(self) -> None:
        """Ask for one object, as every client of a key server must be able to.

        If Locate is unsupported or not permitted, only a warning is noted.
        """
        self.operation = "Locate"
        try:
            await self.client.locate(maximum_items=1)
        except OperationFailed as failure:
            if failure.reason == ResultReason.OPERATION_NOT_SUPPORTED:
                self._warn("Locate is not supported")
            elif failure.reason == ResultReason.PERMISSION_DENIED:
                self._warn("Locate is not permitted")
            else:
                raise

    async def _try_versions(self, denied: OperationFailed) -> None:
        for version in FALLBACK_VERSIONS:
            self.client.version = version
            try:
                await self._query()
            except OperationFailed:
                continue
            except TransportError:  # some servers close after a version that they do not accept
                break
            self._queried = True
            self._warn("Discover Versions is not permitted")
            return
        raise denied

    async def _query(self) -> None:
        answer = await self.client.query()
        if answer.vendor_identification:
            self._learned["vendor"] = clean(answer.vendor_identification)

    def _learn_clock(self) -> None:
        header = self.client.response_header
        if header is not None and header.time_stamp is not None:
            # A Date-Time is truncated to whole seconds, so it is half a second behind on average.
            self._learned["clock_skew_s"] = round(header.time_stamp + 0.5 - time.time())

    def _warn(self, text: str) -> None:
        warnings = self._learned.setdefault("warnings", [])
        if isinstance(warnings, list):
            warnings.append(text)


async def ask_lightly(client: Client, limit_s: float) -> None:
    """Send the cheapest request that the server is known to answer. Raises KMIPError."""
    if client.offered in _WITHOUT_DISCOVER_VERSIONS:
        await client.query((QueryFunction.QUERY_SERVER_INFORMATION,), timeout=limit_s)
    else:
        await client.discover_versions((client.version,), timeout=limit_s)


def _shown(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
