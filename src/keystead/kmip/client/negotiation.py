"""Choose the protocol version: ask which versions the server has, and take the highest that both sides have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from keystead.kmip.ttlv.enums import ResultReason
from keystead.kmip.ttlv.errors import NoCommonVersion, OperationFailed
from keystead.kmip.ttlv.versions import V1_0, V1_1, Version

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence


class DiscoverVersions(Protocol):
    """The operation Discover Versions of a client."""

    def __call__(self, versions: Sequence[Version], *, header_version: Version) -> Awaitable[tuple[Version, ...]]:
        """Return those of ``versions`` that the server has. The request's header has ``header_version``."""


async def offered_versions(discover: DiscoverVersions, versions: Sequence[Version]) -> tuple[Version, ...]:
    """Return those of ``versions`` that the server has.

    A server without Discover Versions has only 1.0 (KMIP 1.4 section 4.26). A server that rejects the message's version
    names another in its header, and is asked once more with that.
    """
    header_version = V1_1
    while True:
        try:
            return await discover(versions, header_version=header_version)
        except OperationFailed as failure:
            if failure.reason == ResultReason.OPERATION_NOT_SUPPORTED:
                return (V1_0,)
            retry = failure.reason == ResultReason.INVALID_MESSAGE and header_version == V1_1
            if not retry or failure.version in {V1_1, None} or failure.version not in versions:
                raise
            header_version = failure.version


def highest_common(offered: tuple[Version, ...], versions: Sequence[Version]) -> Version:
    """Return the highest version that is in both. Raises NoCommonVersion if there is none."""
    common = [version for version in offered if version in versions]
    if not common:
        raise NoCommonVersion(offered)
    return max(common)
