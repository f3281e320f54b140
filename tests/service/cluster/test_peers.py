"""Messages between the processes of nodes: taken once, from nodes that are known, by the process that they are for."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keystead.core.model import ONTAP_LEVEL, Contact, Node, NodeProcess
from keystead.core.withdrawals import Thing, Withdrawn
from keystead.forwarding.sender import NetworkSender
from keystead.keyservers.egress import EgressRules
from keystead.keyservers.outlets import Outlets
from keystead.monitor.metrics import Metrics
from keystead.sealing.signing import Signer, one_line, verify
from keystead.service.cluster import peers as module
from keystead.service.cluster.peers import FAILED_S, LEARN_S, WINDOW, Crypto, Peers, PushRefused
from keystead.service.offline import OfflineReads
from keystead.service.ports.forwarding import Undelivered
from keystead.service.ports.store import StoreError
from tests.peers.certificates import Authority, server_context
from tests.peers.fault_servers import FaultServer, close_at_once, refused_port, reset, say, silence, tls
from tests.service.worlds.basics import HandClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.service.ports.forwarding import Endpoint
    from keystead.store import SqlStore

KEY, ACCOUNT = Withdrawn(Thing.KEY, "00ff"), Withdrawn(Thing.ACCOUNT, "alice")
LIMIT_S = 60
PROXIES = ("192.0.2.1/32", "2001:db8::/64")


class Process:
    """A process that serves as a node. It hands messages to the other processes itself, and keeps them."""

    def __init__(self, store: SqlStore, clock: HandClock, node: str, all_: dict[str, Process]) -> None:
        self.store = store
        self.node = node
        self.sent: list[bytes] = []
        self._all = all_
        self.offline = OfflineReads(store, clock, node, LIMIT_S)
        signer = Signer(Ed25519PrivateKey.generate())
        self.metrics = Metrics()
        self.peers = Peers(
            *(store, self.offline, self, Crypto(signer, one_line(signer.public), verify), clock, self.metrics, node)
        )
        number = node.rpartition("-")[2]
        self.offline.contact = lambda: Contact(f"{node}:844{number}", "a certificate", self.peers.public_key, PROXIES)
        all_[node] = self

    async def send(self, endpoint: Endpoint, messages: Sequence[bytes]) -> None:
        """Hand messages over, as the only way to other processes."""
        assert (endpoint.path, endpoint.pin, endpoint.proxies) == (module.PATH, "a certificate", PROXIES)
        self.sent += messages
        try:
            for message in messages:
                await self._all[endpoint.host].peers.receive(message)
        except PushRefused:
            raise Undelivered("it answers HTTP 403") from None

    def has(self, what: Withdrawn) -> bool:
        """Return True if this process was told."""
        return self.offline.is_withdrawn(what)


@pytest.fixture
def clock() -> HandClock:
    """A clock that is set by hand."""
    return HandClock()


@pytest.fixture
async def processes(store: SqlStore, clock: HandClock) -> list[Process]:
    """Three processes that know each other."""
    made: dict[str, Process] = {}
    for number in (1, 2, 3):
        node = Node(f"node-{number}", f"keystead-0{number}", ONTAP_LEVEL)
        await store.write(lambda tx: tx.put_node(node))  # noqa: B023 - awaited
        Process(store, clock, node.uuid, made)
    for _ in range(2):
        for each in made.values():
            await each.offline.compare()
    return list(made.values())


async def refused(process: Process, body: bytes) -> str:
    """Expect that a process refuses a message; return why."""
    with pytest.raises(PushRefused) as caught:
        await process.peers.receive(body)
    return str(caught.value)


async def test_all_other_nodes_are_told(processes: list[Process], clock: HandClock) -> None:
    """They keep it until the next comparison with the database."""
    one, *others = processes
    assert await one.peers.withdraw(KEY) == await one.peers.withdraw(ACCOUNT) == []
    assert [(each.has(KEY), each.has(ACCOUNT)) for each in others] == [(True, True)] * 2
    assert not one.has(KEY)
    await others[0].offline.compare()
    assert [each.has(KEY) for each in others] == [True, True], "it may have come after the comparison began"
    clock.advance(1)
    await others[0].offline.compare()
    assert [each.has(KEY) for each in others] == [False, True]


async def test_a_lone_node_sends_nothing(store: SqlStore, clock: HandClock) -> None:
    """Nor does one whose other nodes were stopped."""
    await store.write(lambda tx: tx.put_node(Node("node-1", "keystead-01", ONTAP_LEVEL)))
    lone = Process(store, clock, "node-1", {})
    await lone.offline.compare()
    assert (await lone.peers.withdraw(KEY), lone.sent) == ([], [])
    await store.write(lambda tx: (tx.put_node(Node("node-2", "keystead-02", ONTAP_LEVEL)), tx.leave_node("node-2")))
    assert (await lone.peers.withdraw(KEY), lone.sent) == ([], [])


async def test_a_message_is_taken_once(processes: list[Process]) -> None:
    """By the process that it is for. Its later process has another key."""
    one, two, _ = processes
    await one.peers.withdraw(KEY)
    to_two, to_three = one.sent
    assert await refused(two, to_two) == "it was taken before, or is too old"
    assert await refused(two, to_three) == "it is for another process"
    anew = Process(two.store, HandClock(), two.node, {})
    await anew.offline.compare()
    assert await refused(anew, to_two) == "it is for another process"
    assert not anew.has(KEY)


def test_messages_may_overtake_each_other() -> None:
    """A late one is taken unless it is very late; each once."""
    numbers = module._Numbers()
    assert [numbers.take(number) for number in (2, 1, 2, 1, WINDOW + 1, 1, 2, 3)] == [
        *(True, True, False, False, True, False, False, True)
    ]
    taken = [numbers.take(number) for number in range(WINDOW + 2, 5 * WINDOW)]
    assert all(taken)
    assert not any(numbers.take(number) for number in range(1, 5 * WINDOW))
    assert len(numbers._taken) <= 2 * WINDOW + 1


async def test_a_message_of_somebody_else_is_refused(processes: list[Process], clock: HandClock) -> None:
    """With a key that no node has, with the node's own key, with an altered text, or without a signature."""
    one, two, _ = processes
    stranger = Process(two.store, clock, "node-1", {"node-2": two, "node-3": two})
    stranger.offline.nodes = one.offline.nodes
    await stranger.peers.withdraw(KEY)
    assert await refused(two, stranger.sent[0]) == "no other node that is known here signed it"
    await one.peers.withdraw(ACCOUNT)
    body = json.loads(one.sent[0])
    for changed in (
        {"message": body["message"].replace("alice", "bob")},
        {"message": body["message"].replace("node-1", "node-2")},
        {"message": body["message"].replace("node-1", "node-9")},
        {"signature": json.loads(stranger.sent[0])["signature"]},
        {"signature": ""},
    ):
        assert await refused(two, json.dumps(body | changed).encode()) == "no other node that is known here signed it"
    for garbage in (b"", b"garbage", json.dumps(body | {"signature": "?"}).encode(), b'{"message":"","signature":""}'):
        assert await refused(two, garbage) == "it is no message of a node"
    assert not two.has(KEY)
    text, _ = await two.metrics.exposition()
    assert b'keystead_withdrawals_total{outcome="refused"} 12.0' in text


async def test_a_new_process_is_known_at_once(processes: list[Process], clock: HandClock) -> None:
    """The database tells its key, if it answers; it is not asked more than once a second. A removed node is nobody."""
    _, two, three = processes
    anew = Process(two.store, clock, "node-1", {each.node: each for each in (two, three)})
    assert two.offline.nodes[0].contact != anew.offline.contact()
    await anew.offline.compare()
    assert await anew.peers.withdraw(KEY) == []
    assert two.has(KEY)
    newest = Process(two.store, clock, "node-1", {each.node: each for each in (two, three)})
    await newest.offline.compare()
    assert len(await newest.peers.withdraw(ACCOUNT)) == 2, "within a second"
    clock.advance(max(LEARN_S, FAILED_S))
    assert await newest.peers.withdraw(ACCOUNT) == []
    await two.store.write(lambda tx: tx.delete_node("node-1"))
    clock.advance(1)
    await two.offline.compare()
    assert len(await newest.peers.withdraw(KEY)) == 1


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_node_that_is_cut_off_takes_messages_of_nodes_that_it_knows(
    processes: list[Process], monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    """By its copy of the rows. The one that tells may have lost the database, too."""
    one, two, _ = processes
    monkeypatch.setattr(module, "LEARN_S", 0.05)

    async def away(work: object) -> object:
        del work
        if hangs:
            await asyncio.Event().wait()
        raise StoreError("it does not answer")

    monkeypatch.setattr(one.store, "read", away)
    monkeypatch.setattr(one.store, "write", away)
    assert await one.peers.withdraw(KEY) == []
    assert two.has(KEY)
    one.offline.nodes = tuple(replace(node, contact=None) for node in one.offline.nodes)
    assert len(await one.peers.withdraw(ACCOUNT)) == 2


async def test_what_is_said_of_nodes_that_do_not_confirm(processes: list[Process], clock: HandClock) -> None:
    """Each with the time until which it may read keys; a node that may read none any more is not spoken of."""
    one, two, _ = processes
    del one._all["node-2"]
    (warning,) = await one.peers.withdraw(KEY)
    assert "(the message was not sent: KeyError)" in warning
    one._all["node-2"] = one
    (warning,) = await one.peers.withdraw(KEY)
    assert warning.startswith("Node keystead-02 did not confirm that key 00ff is retired (it answers HTTP 403)")
    until = (await two.store.read(lambda tx: tx.nodes()))[1].reads_until
    assert until is not None
    assert warning.endswith(f"until {until:%Y-%m-%dT%H:%M:%SZ}.")
    contact = two.offline.contact()
    assert contact is not None
    await two.store.write(lambda tx: tx.reach_node("node-2", contact, tx.now() - timedelta(seconds=1)))
    tried = len(one.sent)
    assert await one.peers.withdraw(KEY) == []
    assert len(one.sent) == tried + 1, "the third node alone: the second one has just failed"
    clock.advance(FAILED_S)
    assert await one.peers.withdraw(KEY) == []
    assert len(one.sent) == tried + 3
    await two.store.write(lambda tx: tx.start_node("node-2", NodeProcess("a token")))
    (warning,) = await one.peers.withdraw(KEY)
    assert warning.endswith(
        "(it has not told how it is reached). While it does not reach the database, it may serve the"
        " key for a time that is not known here."
    )


CA = Authority("CA of another program")
SERVER = server_context(CA.issue())


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (silence, "it does not answer in time"),
        (close_at_once, "TLS|connection"),  # as far as the handshake came
        (reset, "TLS|connection"),
        (say(b"garbage"), "TLS failed: WRONG_VERSION_NUMBER"),
        (tls(SERVER, silence), "it shows another certificate than it told"),
        (None, "the connection failed: Connection refused"),
    ],
    ids=["silent", "closes", "resets", "garbage", "another certificate", "nobody"],
)
async def test_a_caller_waits_a_short_time_for_each_fault(
    processes: list[Process], clock: HandClock, monkeypatch: pytest.MonkeyPatch, script: object, why: str
) -> None:
    """Of real connections. Then it waits for this node no more for a while, and the others are told all the same."""
    one, two, three = processes
    monkeypatch.setattr(module, "WAIT_S", 0.5)
    everywhere = NetworkSender(Outlets(EgressRules.parse(("127.0.0.0/8",))).open)

    async def send(endpoint: Endpoint, messages: Sequence[bytes]) -> None:
        await (everywhere if endpoint.host == "127.0.0.1" else one).send(endpoint, messages)

    sender = type("Sender", (), {"send": staticmethod(send)})()
    one.peers._sender = sender
    with FaultServer(script or silence) as server:  # type: ignore[arg-type]
        port = server.port if script else refused_port()
        contact = Contact(f"127.0.0.1:{port}", "00" * 32, two.peers.public_key)
        await two.store.write(lambda tx: tx.reach_node("node-2", contact, tx.now() + timedelta(seconds=LIMIT_S)))
        loop = asyncio.get_running_loop()
        began = loop.time()
        (warning,) = await one.peers.withdraw(KEY)
        assert re.search(f"\\(.*({why})", warning)
        assert loop.time() - began < 30
        assert three.has(KEY)
        monkeypatch.setattr(module, "WAIT_S", 60)
        (warning,) = await one.peers.withdraw(ACCOUNT)
        assert re.search(f"\\(.*({why})", warning)
        assert loop.time() - began < 30
        clock.advance(FAILED_S)
        monkeypatch.setattr(module, "WAIT_S", 0.5)
        assert len(await one.peers.withdraw(KEY)) == 1
    await one.peers.close()
    assert not one.peers._running
