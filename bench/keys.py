"""Keys: reading, restoring and creating them, and what a dead key server and a full memory cost.

Real TLS everywhere. Key servers are processes of their own: PyKMIP where it is the peer, canned answers
(``tests.peers.canned``) where a server must not be what is measured.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import uvloop
from sqlalchemy import insert

from bench.row import Row
from keystead.app import logs
from keystead.app.clock import SystemClock
from keystead.app.wiring import Running, running
from keystead.core.accounts import NewAccount
from keystead.core.certificates.certificates import NewCertificate
from keystead.core.keys import digests, names
from keystead.core.keys.creating import NewKey
from keystead.core.keys.model import (
    AttemptState,
    Copy,
    Key,
    KeyForm,
    KeyState,
    KeyType,
    Presence,
    Purpose,
    ServerProfile,
)
from keystead.core.model import KeyManager, KeyServer, Role
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from keystead.kmip import Client
from keystead.kmip.messages.attributes import attribute, name_attribute
from keystead.kmip.messages.objects import KeyBlock, KeyValue, SecretData
from keystead.kmip.transport import connect, tls
from keystead.kmip.ttlv.enums import KeyFormatType, ObjectType, SecretDataType
from keystead.service.context import Call, Caller
from keystead.service.keys.reading.cache import KeyCache
from keystead.service.keys.reading.restore import Filters
from keystead.service.keys.topology import digest_key_context
from keystead.settings import Settings
from keystead.store import tables
from keystead.store.keys import as_text, row_of
from keystead.store.repository import SqlTransaction
from keystead.store.statements import columns_of, owner_of
from tests.peers import canned, keystead, pykmip
from tests.peers.certificates import Authority, Credentials, client, client_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from sqlalchemy import Table

    from keystead.core.errors import OntapError
    from keystead.service.ports.store import Transaction
    from tests.peers.processes import Program

CALL = Call(Caller("admin", Role.ADMIN, ""), "POST", "/")
READER = Call(Caller("reader", Role.KEY_READER, "", has_read_keys=True), "POST", "/")
PASSWORD = "words and 1 number"  # noqa: S105 - of an account that lives as long as the bench
KEYS = 10_000
MANY_KEYS = 100_000
CLIENTS = 32
ROUNDS = 60
STEP = 5_000  # keys whose rows are written at a time
ANSWER_S, SLOW_ANSWER_S = 0.010, 0.025
"""How long key servers take for an answer where each stands for one on a machine of its own, near or far."""


@dataclass(frozen=True)
class Home:
    """An installation that knows keys, and the key servers that have their copies. ``keys`` are key ids."""

    installation: keystead.Installation
    manager: str
    keys: list[str]
    servers: list[Program]
    folder: Path
    client: Credentials
    server_ca: Authority

    @property
    def settings(self) -> Settings:
        """Those of a node in this process."""
        installation = self.installation
        return Settings(
            data=installation.data, database=installation.database, egress_allow=("127.0.0.0/8",), log_level="error"
        )

    @contextlib.asynccontextmanager
    async def node(self) -> AsyncIterator[Running]:
        """Run it in this process."""
        logs.configure(self.settings)
        async with running(self.settings) as open_:
            yield open_


@contextlib.contextmanager
def home(
    keys: int, servers: int, start: Callable[..., Program] = canned.start, *, database: str = ""
) -> Iterator[Home]:
    """Make an installation which has so many keys, by its rows alone, on key servers that answer.

    Servers of canned answers are known already; other servers are learned with the first key.
    """
    server_ca, client_ca = Authority(), Authority("Client CA")
    own = client(client_ca)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        own.write(folder, "client")
        (folder / "ca.pem").write_text(server_ca.pem)
        started = [start(folder / f"ks{number}", server_ca.issue(), client_ca) for number in range(servers)]
        for server in started:
            stack.callback(server.stop)
            server.wait_until_ready()
        made = Home(
            keystead.Installation(folder / "data", database).init(), str(uuid4()), [], started, folder, own, server_ca
        )
        uvloop.run(_prepare(made, keys, learned=start is not pykmip.start))
        yield made


async def _prepare(made: Home, count: int, *, learned: bool) -> None:
    async with made.node() as open_:
        install = open_.services.certificates.install
        key = Secret(made.client.key_pem)
        certificate = await install(CALL, NewCertificate("client", made.client.certificate_pem, private_key=key))
        ca = await install(CALL, NewCertificate("server_ca", made.server_ca.pem))
        reader = NewAccount("reader", frozenset({"password"}), role="key-reader", password=Secret(PASSWORD))
        await open_.services.accounts.create(CALL, reader)
        manager = KeyManager(
            made.manager, None, enabled=True, client_certificate=certificate.uuid, server_ca_certificates=(ca.uuid,)
        )
        made.keys.extend(
            await open_.store.write(lambda tx: _store(tx, open_, manager, made.servers, count, learned=learned))
        )


def _store(
    tx: Transaction, open_: Running, manager: KeyManager, started: list[Program], count: int, *, learned: bool
) -> list[str]:
    """Add rows of keys with one proven copy on each server, its Unique Identifier the key's uuid. Return their ids."""
    now = SystemClock().now()
    incarnation = tx.incarnation()
    assert incarnation is not None
    servers = [
        KeyServer(str(uuid4()), manager.uuid, number, ServerAddress.parse(each.address), 25, 10, "", ())
        for number, each in enumerate(started, 1)
    ]
    secret = Secret(bytes(range(digests.DIGEST_KEY_BYTES)))
    tx.add_key_manager(manager)
    tx.add_key_servers(servers)
    tx.add_digest_key(manager.uuid, open_.sealer.seal(secret, digest_key_context(manager.uuid)))
    for server in servers if learned else ():
        name, canary = str(names.canary_name(incarnation.uuid, server.uuid, 1)), Secret(canned.material(server.uuid))
        digest = digests.digest(secret, server.uuid, canary)
        profile = ServerProfile(server.uuid, KeyForm.SECRET_DATA, name, (server.uuid,), digest, now)
        tx.put_profile(replace(profile, batches=True, locate_by_name=True))
    keys = [key(manager.uuid, secret) for _ in range(count)]
    assert isinstance(tx, SqlTransaction)
    add_rows(tx, keys, [server.uuid for server in servers], incarnation.uuid)
    return [made.key_id for made in keys]


def add_rows(tx: SqlTransaction, keys: Sequence[Key], servers: Sequence[str], incarnation: str) -> None:
    """Add keys with one proven, active and described copy on each server, many rows at a time."""
    now = SystemClock().now()
    for start in range(0, len(keys), STEP):
        some = keys[start : start + STEP]
        rows: dict[Table, list[dict[str, Any]]] = {
            tables.keys: [columns_of(tables.keys, each) | owner_of(each.svm) | as_text(each) for each in some],
            tables.key_attempts: [
                dict.fromkeys(("token", "node", "adopted"), "")
                | {"key": each.uuid, "number": 1, "purpose": Purpose.CREATE.value, "incarnation": incarnation}
                | {"state": AttemptState.COMMITTED.value, "began": now, "expires": now}
                for each in some
            ],
            tables.key_copies: [
                row_of(Copy(each.uuid, 1, server, Presence.PRESENT, "", (each.uuid,), "Active", "1", now, now))
                for each in some
                for server in servers
            ],
        }
        for table, added in rows.items():
            tx.change(insert(table), added)


def key(manager: str, secret: Secret) -> Key:
    """Return a committed key whose material is what servers of canned answers return for its uuid."""
    uuid, now = str(uuid4()), SystemClock().now()
    return Key(
        uuid=uuid,
        key_id=names.key_id(KeyType.VEK, uuid),
        key_manager=manager,
        svm=None,
        name=f"key {uuid}",
        key_tag="",
        key_type=KeyType.VEK,
        state=KeyState.COMMITTED,
        length=canned.MATERIAL_BYTES,
        created=now,
        digest=digests.digest(secret, uuid, Secret(canned.material(uuid))),
        committed=now,
    )


# --- reading ---------------------------------------------------------------------------------------------------------


def retrieve_cached() -> Row:
    """CPU of the service per key that is read from memory: TLS, login, authorisation and audit are in it."""
    with home(keys=100, servers=1) as made, made.installation.serving() as service:
        path = f"/security/key-managers/{made.manager}/volume-keys"
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(service.client("reader", PASSWORD)) for _ in range(CLIENTS)]
            paths = [f"{path}/{each}/retrieve" for each in made.keys]
            _read_all(clients, paths)
            alone = _cpu_per_read(service.pid, clients[:1], paths)
            together = [_cpu_per_read(service.pid, clients, paths) for _ in range(3)]
    against = f"{CLIENTS} clients; one client alone, a commit for each read: {alone * 1000:.2f} ms"
    return Row(statistics.median(together) * 1000, "ms", 0.30, "lower", against)


def _cpu_per_read(pid: int, clients: list[keystead.Client], paths: list[str]) -> float:
    before = _cpu_seconds(pid)
    reads = _read_all(clients, paths)
    return (_cpu_seconds(pid) - before) / reads


def _read_all(clients: list[keystead.Client], paths: list[str]) -> int:
    """Read all keys with each client, all clients at once."""

    def read(call: keystead.Client) -> None:
        for path in paths:
            answer = call("POST", path)
            assert answer.status == 200, answer.content

    threads = [threading.Thread(target=read, args=(call,)) for call in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(clients) * len(paths)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- restoring -------------------------------------------------------------------------------------------------------


def restore() -> Row:
    """Keys restored a second; PyKMIP's client gets keys one by one from the same server."""
    with home(KEYS, servers=2) as made:
        rates = uvloop.run(_restored(made))
        theirs = _pykmips_gets(made.folder, made.servers[0].port)
    return Row(statistics.median(rates), "keys/s", 8000, "higher", f"PyKMIP's client, one by one: {theirs:.0f} keys/s")


async def _restored(made: Home) -> list[float]:
    rates = []
    async with made.node() as open_:
        for _ in range(3):
            began = time.perf_counter()
            plan = await open_.keys.restorer.plan(CALL, made.manager, Filters())
            done = await open_.keys.restorer.restore(plan, _nobody_listens)
            rates.append(KEYS / (time.perf_counter() - began))
            assert len(done.restored) == KEYS
            for each in done.restored:
                open_.keys.reader.forget(each.key)
    return rates


async def _nobody_listens(_: OntapError) -> None:
    """Progress."""


def _pykmips_gets(folder: Path, port: int, count: int = 500) -> float:
    """Return how many Gets a second PyKMIP's client does."""
    from kmip.pie.client import ProxyKmipClient

    (folder / "none.conf").touch()  # or PyKMIP reads the user's own
    with ProxyKmipClient(
        hostname="127.0.0.1",
        port=port,
        cert=str(folder / "client.pem"),
        key=str(folder / "client.key"),
        ca=str(folder / "ca.pem"),
        config_file=str(folder / "none.conf"),
    ) as key_server:
        key_server.get("1")
        began = time.perf_counter()
        for _ in range(count):
            key_server.get("1")
        return count / (time.perf_counter() - began)


# --- against bare operations -----------------------------------------------------------------------------------------


def retrieve_cold() -> Row:
    """Wall time of reading a key that is not in memory from one PyKMIP server, against a Get on a kept connection."""
    with home(0, 1, pykmip.start) as made:
        value, get_s = uvloop.run(_cold(made))
    return Row(value, "x", 1.6, "lower", f"a bare Get of PyKMIP's server ({get_s * 1000:.1f} ms)")


async def _cold(made: Home) -> tuple[float, float]:
    reads, gets = [], []
    async with made.node() as open_, _bare(made) as bare:
        created = await open_.keys.writer.create(CALL, made.manager, NewKey("a key"))
        (copy,) = await open_.store.read(lambda tx: tx.copies([created.uuid]))
        for _ in range(ROUNDS):
            open_.keys.reader.forget(created)
            reads.append(await _timed(partial(open_.keys.reader.retrieve, READER, made.manager, created.key_id)))
            gets.append(await _timed(partial(bare.get, copy.unique_identifiers[0], timeout=10)))
    return statistics.median(reads) / statistics.median(gets), statistics.median(gets)


def create_on_four(answer_s: float) -> Row:
    """Wall time of creating a key on four servers, against one Register on one of them.

    Each server takes as long for an answer as one on a machine of its own: four that work at once must not wait for
    each other on two cores. Two answers follow each other, so it tends to 2 the longer they take.
    """
    with home(0, 4, partial(canned.start, delay_s=answer_s)) as made:
        value, register_s = uvloop.run(_created(made))
    against = f"one Register ({register_s * 1000:.1f} ms); each answer takes {answer_s * 1000:.0f} ms"
    return Row(value, "x", 2.5, "lower", against)


def create_on_four_pykmip() -> Row:
    """Measure the same on four PyKMIP servers. They share two cores with us, so this mostly measures them."""
    with home(0, 4, pykmip.start) as made:
        value, register_s = uvloop.run(_created(made))
    return Row(value, "x", None, "lower", f"one Register at PyKMIP's server ({register_s * 1000:.1f} ms), on two cores")


async def _created(made: Home) -> tuple[float, float]:
    creations, registers = [], []
    seed = SecretData(SecretDataType.SEED, KeyBlock(KeyFormatType.RAW, key_value=KeyValue(bytes(64))))
    async with made.node() as open_, _bare(made) as bare:
        for number in range(ROUNDS):
            create = partial(open_.keys.writer.create, CALL, made.manager, NewKey(f"key {number}"))
            creations.append(await _timed(create))
            attributes = [attribute("Cryptographic Usage Mask", 12), name_attribute(f"bare {number}")]
            register = partial(bare.register, seed, attributes, object_type=ObjectType.SECRET_DATA, timeout=10)
            registers.append(await _timed(register))
    return statistics.median(creations) / statistics.median(registers), statistics.median(registers)


async def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    await call()  # type: ignore[misc]
    return time.perf_counter() - began


@contextlib.asynccontextmanager
async def _bare(made: Home) -> AsyncIterator[Client]:
    """Our KMIP client alone on the first server."""
    address = connect.Address(2, ("127.0.0.1", made.servers[0].port))
    context = client_context(made.server_ca, made.client)
    bare = Client(await tls.handshake(await connect.connect_tcp([address]), context, server_name="localhost"))
    await bare.discover_versions(timeout=10)
    yield bare
    bare.close()


# --- what goes wrong, and what it takes ------------------------------------------------------------------------------


def preferred_server_dies() -> Row:
    """Measure how much longer the slowest read takes when the server that is asked first dies."""
    with home(ROUNDS * 2, 2) as made:
        usual_s, slowest_s = uvloop.run(_dying(made))
    return Row((slowest_s - usual_s) * 1000, "ms", None, "lower", f"usually {usual_s * 1000:.1f} ms")


async def _dying(made: Home) -> tuple[float, float]:
    async with made.node() as open_:
        read = partial(open_.keys.reader.retrieve, READER, made.manager)
        first = [await _timed(partial(read, each)) for each in made.keys[:ROUNDS]]
        found = await open_.keys.reader.retrieve(READER, made.manager, made.keys[ROUNDS], explain=True)
        assert found.explanation is not None
        preferred = found.explanation.tried[0].server
        next(server for server in made.servers if server.address == preferred).stop()
        then = [await _timed(partial(read, each)) for each in made.keys[ROUNDS + 1 :]]
    return statistics.median(first), max(then)


def memory() -> Row:
    """Measure the memory that 100,000 keys take in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        kibibytes, count = pool.submit(_kept_in_memory).result()
    return Row(kibibytes / 1024, "MiB", None, "lower", f"VmRSS of {count} keys")


def _kept_in_memory() -> tuple[int, int]:
    """Kibibytes, and of how many keys."""
    secret, manager = Secret(bytes(range(digests.DIGEST_KEY_BYTES))), str(uuid4())
    cache = KeyCache(MANY_KEYS)
    before = _resident_kib()
    for _ in range(MANY_KEYS):
        made = key(manager, secret)
        cache.put(made, Secret(canned.material(made.uuid)))
    return _resident_kib() - before, len(cache)


def _resident_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


ROWS: dict[str, Callable[[], Row]] = {
    "retrieve_cached_cpu": retrieve_cached,
    "retrieve_cold": retrieve_cold,
    "restore_keys": restore,
    "create_on_four": partial(create_on_four, ANSWER_S),
    "create_on_four_slow": partial(create_on_four, SLOW_ANSWER_S),
    "create_on_four_pykmip": create_on_four_pykmip,
    "preferred_server_dies": preferred_server_dies,
    "cached_keys_memory": memory,
}
