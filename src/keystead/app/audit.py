"""``keystead audit``: the chains of audit records, without a service. It needs the data directory and the root key.

The service may run meanwhile, on any node. This module must not print: it returns the lines to show.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from keystead.app.opening import CannotStart, node_uuid, opened
from keystead.sealing import Keyring, read_root_key
from keystead.service.audit.verifying import verify
from keystead.service.ports.sealing import SealError
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from keystead.settings import Settings


def verify_audit(settings: Settings) -> tuple[list[str], bool]:
    """Verify every node's audit chain. Return one line per node, and True if all are intact. Raises CannotStart."""
    return asyncio.run(_verify_audit(settings))


async def _verify_audit(settings: Settings) -> tuple[list[str], bool]:
    store = opened(settings)
    try:
        keyring = Keyring.open(read_root_key(settings.root_key_file), await store.read(lambda tx: tx.data_keys()))
        reports = await verify(store, keyring.mac, node_uuid(settings.data))
    except (SealError, StoreError) as error:
        raise CannotStart(str(error)) from None
    finally:
        await store.close()
    return [str(report) for report in reports], all(report.intact for report in reports)
