"""``keystead key-manager rebuild``: finds the keys of key managers again on their key servers.

It needs the configuration of a recovery bundle, or of an older database. As at a start, it first checks whether the
database is another one. This module must not print: it returns the lines to show.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from keystead.app.clock import SystemClock
from keystead.app.incarnation import DataDirectory
from keystead.app.opening import CannotStart, node_uuid, opened
from keystead.app.wiring import egress_rules
from keystead.core.model import KeyManager
from keystead.keyservers.gateway import Gateway
from keystead.keyservers.objects import Objects
from keystead.sealing import Keyring, read_root_key
from keystead.service.audit.log import AuditLog
from keystead.service.cluster.incarnations import Incarnations
from keystead.service.keys.rebuilding.rebuild import Rebuilder
from keystead.service.keys.topology import Endpoints
from keystead.service.ports.page import Page
from keystead.service.ports.sealing import SealError
from keystead.service.ports.store import StoreError
from keystead.service.probing.observations import Observations
from keystead.service.probing.prober import ServerProber
from keystead.service.probing.queue import ProbeQueue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystead.service.keys.rebuilding.rebuild import Rebuilt
    from keystead.settings import Settings


def rebuild(settings: Settings, key_manager: str | None) -> tuple[list[str], bool]:
    """Rebuild all key managers, or one. Return the lines to show, and True if nothing is in doubt.

    Raises CannotStart, SettingsError.
    """
    try:
        found = asyncio.run(_rebuild(settings, key_manager))
    except (SealError, StoreError, ValueError) as error:
        raise CannotStart(str(error)) from None
    return [line for each in found for line in _lines(each)], all(each.complete for each in found)


async def _rebuild(settings: Settings, key_manager: str | None) -> list[Rebuilt]:
    rules, node, clock = egress_rules(settings), node_uuid(settings.data), SystemClock()
    store = opened(settings)
    objects = Objects(rules)
    try:
        keyring = Keyring.open(read_root_key(settings.root_key_file), await store.read(lambda tx: tx.data_keys()))
        queue = ProbeQueue(per_account=1, per_svm=1, in_all=1, waiting=0)
        prover = ServerProber(Gateway(rules), keyring, queue, Observations(clock, node))
        audit = AuditLog(store, keyring, clock, node)
        await Incarnations(store, DataDirectory(settings.data, store), audit, clock, node).begin()
        rebuilder = Rebuilder(store, objects, Endpoints(prover, keyring), audit, clock, node)
        managers = await store.read(lambda tx: tx.page(KeyManager, Page(limit=2**31 - 1)))
        wanted = [each for each in managers if key_manager in {None, each.uuid}]
        if not wanted:
            raise CannotStart(f"there is no key manager {key_manager}" if key_manager else "there are no key managers")
        return await rebuilder.rebuild(wanted)
    finally:
        await objects.close()
        await store.close()


def _lines(found: Rebuilt) -> Iterator[str]:
    owner = f"SVM {found.key_manager.svm.name}" if found.key_manager.svm else "the cluster"
    alone = ", compared in the one replication domain there is" if found.single_domain else ""
    yield f"key manager {found.key_manager.uuid} of {owner}: keys taken: {found.added}{alone}"
    if found.completed:
        yield f"  keys that were there, with copies of which the database did not know: {found.completed}"
    for address, reason in found.unread:
        yield f"  key server {address} was not read: {reason}"
    for address, reason, number in found.unproven:
        yield f"  copies on key server {address} without the material of their keys, or not read: {number}, {reason}"
    for doubt in sorted(set(found.doubts)):
        yield f"  keys not taken: {found.doubts.count(doubt)}, {doubt}"
    if found.unclaimed:
        yield f"  unclaimed objects: {found.unclaimed}; adopt or dismiss them, they are never destroyed"
    if found.dismissed:
        yield f"  unclaimed objects that were dismissed: {found.dismissed}"
