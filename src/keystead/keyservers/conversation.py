"""What a probe asks a key server once TLS is up: its versions, what it is, and whether our credential counts.

Discover Versions and Query are often open to all, so Locate asks last: it needs a client that the server knows. All
three change nothing. Errors are the library's (:class:`keystead.kmip.ttlv.errors.KMIPError`); ``operation`` names the
one that was under way.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from keystead.keyservers.learned import clean
from keystead.kmip.client.client import Client
from keystead.kmip.messages.headers import username_credential
from keystead.kmip.ttlv.enums import QueryFunction, ResultReason
from keystead.kmip.ttlv.errors import OperationFailed, TransportError
from keystead.kmip.ttlv.ttlv import PROBE_LIMITS
from keystead.kmip.ttlv.versions import V1_0, V1_2, V1_4

if TYPE_CHECKING:
    from keystead.kmip.transport.tls import Stream
    from keystead.kmip.ttlv.ttlv import Limits

FALLBACK_VERSIONS: Final = (V1_4, V1_2, V1_0)
"""Headers under which Query is tried when Discover Versions is not permitted."""

_WITHOUT_DISCOVER_VERSIONS: Final = ((), (V1_0,))
"""What a client was offered by a server that does not permit Discover Versions, or does not have it."""


class Conversation:
    """The requests of one probe, in order: :meth:`settle_version`, :meth:`query`, :meth:`locate`.

    ``client`` is what they are made with; the version that was settled stays set in it.
    """

    def __init__(
        self,
        stream: Stream,
        username: str,
        password: str | None,
        learned: dict[str, object],
        *,
        limits: Limits = PROBE_LIMITS,
    ) -> None:
        credential = username_credential(username, password) if username else None
        self.client = Client(stream, credential=credential, limits=limits)
        self._learned = learned
        self._queried = False
        self.operation = "DiscoverVersions"

    async def settle_version(self) -> None:
        """Choose the highest common version; a server that does not permit the question is asked by trial."""
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
        """Ask for operations and server information; a server without Query is fine."""
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
        """Ask for one object, as any client of a key server must be able to; that we may not is only a warning."""
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
            except TransportError:  # it closes after an answer that it does not like
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
            # A Date-Time is cut to whole seconds: on average it is half a second behind.
            self._learned["clock_skew_s"] = round(header.time_stamp + 0.5 - time.time())

    def _warn(self, text: str) -> None:
        warnings = self._learned.setdefault("warnings", [])
        if isinstance(warnings, list):
            warnings.append(text)


async def ask_lightly(client: Client, limit_s: float) -> None:
    """Ask the cheapest question that the server is known to answer. Raises KMIPError."""
    if client.offered in _WITHOUT_DISCOVER_VERSIONS:
        await client.query((QueryFunction.QUERY_SERVER_INFORMATION,), timeout=limit_s)
    else:
        await client.discover_versions((client.version,), timeout=limit_s)


def _shown(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
