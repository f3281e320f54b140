"""Protocol versions as plain (major, minor) tuples, and the versions that this library knows (KMIP 2.1 section 8.4)."""

from __future__ import annotations

from typing import Final

Version = tuple[int, int]

V1_0: Final[Version] = (1, 0)
V1_1: Final[Version] = (1, 1)
V1_2: Final[Version] = (1, 2)
V1_3: Final[Version] = (1, 3)
V1_4: Final[Version] = (1, 4)
V2_0: Final[Version] = (2, 0)
V2_1: Final[Version] = (2, 1)

VERSIONS: Final = (V2_1, V2_0, V1_4, V1_3, V1_2, V1_1, V1_0)
"""The known versions, newest first: the order of preference for Discover Versions."""


def nearest(version: Version) -> Version:
    """Return the newest known version that is not newer than ``version``. For an older one than all, return 1.0."""
    if version in _KNOWN:
        return version
    return next((candidate for candidate in VERSIONS if candidate <= version), V1_0)


_KNOWN: Final = frozenset(VERSIONS)
