"""The official client ``netapp_ontap``, if it is installed, connected to a test's service."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystead.testing.service import Keystead


@contextlib.contextmanager
def connected(service: Keystead) -> Iterator[None]:
    """Have ``netapp_ontap.config.CONNECTION`` lead to this service; afterwards it is what it was before."""
    try:
        from netapp_ontap import HostConnection, config
    except ImportError:
        yield
        return
    connection = HostConnection(
        service.host,
        username=service.user,
        password=service.password,
        port=service.port,
        verify=str(service.ca),
    )
    # Otherwise requests would trust the authorities of REQUESTS_CA_BUNDLE instead, and go through a proxy.
    connection.session.trust_env = False
    before, config.CONNECTION = config.CONNECTION, connection
    try:
        yield
    finally:
        config.CONNECTION = before
        connection.session.close()
