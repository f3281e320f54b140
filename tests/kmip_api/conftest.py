"""One service with a KMIP listener for the tests that leave it alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.peers.kmip_service import KmipSite, kmip_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.keystead import Installation


@pytest.fixture(scope="session")
def kmip(initialised: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KmipSite]:
    """A service over four key servers."""
    with kmip_site(initialised.copy(tmp_path_factory.mktemp("kmip") / "data")) as site:
        yield site
