"""The cluster's signing key. The first to open the database makes it: `keystead init`, or a node of a newer release.

This module must not print: it returns the lines to show.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from keystead.sealing.signing import SIGNING, Signer, one_line
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from keystead.core.keys.model import ClusterKey
    from keystead.service.ports.sealing import Sealer
    from keystead.service.ports.store import Store, Transaction
    from keystead.settings import Settings


async def signer(store: Store[Transaction], sealer: Sealer) -> Signer:
    """Open the cluster's signing key, and make it if there is none. Raises SealError, StoreError."""
    row = await store.read(_stored)
    return Signer.open(sealer, row) if row else await store.write(lambda tx: _made(tx, sealer))


def _made(tx: Transaction, sealer: Sealer) -> Signer:
    tx.cluster(lock=True)  # so that the second of two makers finds the first one's key
    row = _stored(tx)
    if row is not None:
        return Signer.open(sealer, row)
    made, row = Signer.create(sealer)
    tx.add_cluster_key(row)
    return made


def public_key(settings: Settings) -> str:
    """Return the public part of the cluster's signing key, in one line. Raises CannotStart."""
    return asyncio.run(_public_key(settings))


async def _public_key(settings: Settings) -> str:
    from keystead.app.opening import CannotStart, opened

    store = opened(settings)
    try:
        row = await store.read(_stored)
    except StoreError as error:
        raise CannotStart(str(error)) from None
    finally:
        await store.close()
    if row is None:
        raise CannotStart("this database has no signing key yet: run `keystead init`")
    return one_line(row.public)


def _stored(tx: Transaction) -> ClusterKey | None:
    return tx.cluster_key(SIGNING)
