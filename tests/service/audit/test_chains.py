"""The state of the audit chains: for calls of the whole cluster, one verification at a time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.model import Node, Release, Role, Svm
from keystead.service.audit import chains as module
from keystead.service.audit.chains import AuditChains
from keystead.service.audit.log import AuditLog, begin
from keystead.service.audit.verifying import verify
from keystead.service.context import Call, Caller
from tests.service.worlds.basics import KEYRING, HandClock

if TYPE_CHECKING:
    from keystead.service.audit.verifying import ChainReport
    from keystead.store import SqlStore

NODE = "node-1"
CALL = Call(Caller("admin", Role.ADMIN, "192.0.2.1"), "POST", "/audit/verify")


@pytest.fixture
async def chains(store: SqlStore) -> AuditChains:
    """Return the chains of a cluster with one node, which has one record."""
    clock = HandClock()
    await store.write(lambda tx: tx.put_node(Node(NODE, "n1", Release(9, 18, 1))))
    await store.write(lambda tx: begin(tx, KEYRING, clock, NODE))
    return AuditChains(store, KEYRING, AuditLog(store, KEYRING, clock, NODE), clock, NODE)


async def test_what_was_found_is_remembered(chains: AuditChains) -> None:
    """Up to which record, and when. The record of the call comes after it."""
    (before,) = (await chains.state(CALL)).chains
    assert (before.name, before.records, before.report) == ("n1", 1, None)
    await chains.verify(CALL)
    found = await chains.state(CALL)
    (after,) = found.chains
    assert after.report is not None
    assert (after.records, after.report.records, after.report.intact) == (2, 1, True)
    assert found.verified == HandClock().now()


async def test_a_call_of_an_svm_finds_no_chains(chains: AuditChains) -> None:
    """They hold the records of all SVMs."""
    call = replace(CALL, scope=Svm("svm-1", "svm1"))
    for refused in (chains.state, chains.verify):
        with pytest.raises(OntapError) as raised:
            await refused(call)
        assert raised.value.kind is errors.ENTRY_NOT_FOUND


async def test_one_verification_at_a_time(chains: AuditChains, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another call is told to come back; afterwards it may."""
    began, gate = asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any) -> tuple[ChainReport, ...]:
        began.set()
        await gate.wait()
        return await verify(*arguments)

    monkeypatch.setattr(module, "verify", slow)
    first = asyncio.create_task(chains.verify(CALL))
    await began.wait()
    with pytest.raises(OntapError) as raised:
        await chains.verify(CALL)
    assert raised.value.kind is errors.TOO_MANY_REQUESTS
    assert (await chains.state(CALL)).verified is None
    gate.set()
    await first
    await chains.verify(CALL)


async def test_a_node_without_a_chain_is_listed(store: SqlStore) -> None:
    """And a verification says that its chain is gone."""
    clock = HandClock()
    chains = AuditChains(store, KEYRING, AuditLog(store, KEYRING, clock, NODE), clock, NODE)
    (before,) = (await chains.state(CALL)).chains
    assert (before.name, before.records) == (None, 0)
    await chains.verify(CALL)
    (after,) = (await chains.state(CALL)).chains
    assert after.report is not None
    assert not after.report.intact
