"""keystead.app.tls: which context a new connection gets."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from keystead.app.listener import make_certificate
from keystead.app.tls import CERTIFICATE_FILE, KEY_FILE, TlsContexts, UnusableFilesError
from keystead.service.ports.store import StoreError
from tests.peers.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CA, OTHER = (Authority(name).pem for name in ("Login CA", "Another CA"))


class Authorities:
    """The CAs that vouch for accounts, as a test sets them; or what reading them raises."""

    def __init__(self) -> None:
        self.now: tuple[str, ...] = ()
        self.failure: Exception | None = None
        self.hang = False

    async def __call__(self) -> tuple[str, ...]:
        if self.hang:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
        return self.now


@pytest.fixture
def authorities() -> Authorities:
    """None at first."""
    return Authorities()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data directory with the listener's files."""
    certificate, key = make_certificate("localhost", datetime.now(UTC))
    (tmp_path / CERTIFICATE_FILE).write_bytes(certificate)
    (tmp_path / KEY_FILE).write_bytes(key)
    return tmp_path


def names(context: ssl.SSLContext) -> list[str]:
    """Return the CAs that a context believes."""
    shown = [x509.load_der_x509_certificate(der) for der in context.get_ca_certs(binary_form=True)]
    return sorted(certificate.subject.rfc4514_string().removeprefix("CN=") for certificate in shown)


def shake_hands(server: ssl.SSLContext, version: ssl.TLSVersion) -> None:
    """A whole connection in memory, by a client that believes anybody."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.maximum_version = version
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    for end in (*ends, *ends):  # a session that was not closed in order is not kept
        with contextlib.suppress(ssl.SSLWantReadError):
            end.unwrap()


async def test_nobody_is_asked_without_cas(data: Path, authorities: Authorities) -> None:
    """One context for all connections, from TLS 1.2 on, without renegotiation; its sessions harm nobody."""
    contexts = TlsContexts(data, authorities)
    first = await contexts.newest()
    assert (first.verify_mode, first.minimum_version) == (ssl.CERT_NONE, ssl.TLSVersion.TLSv1_2)
    assert first.options & ssl.OP_NO_RENEGOTIATION
    shake_hands(first, ssl.TLSVersion.TLSv1_2)
    assert await contexts.newest() is first


async def test_cas_are_followed(data: Path, authorities: Authorities) -> None:
    """A client may show a certificate, of an intermediate CA too; no tickets; the same context until they change."""
    contexts = TlsContexts(data, authorities)
    authorities.now = (CA.strip(), OTHER)
    asking = await contexts.newest()
    assert (asking.verify_mode, names(asking)) == (ssl.CERT_OPTIONAL, ["Another CA", "Login CA"])
    assert asking.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
    assert not asking.verify_flags & ssl.VERIFY_X509_STRICT
    assert asking.options & ssl.OP_NO_TICKET
    assert asking.num_tickets == 0
    assert await contexts.newest() is asking
    authorities.now = (OTHER,)
    assert names(await contexts.newest()) == ["Another CA"]
    authorities.now = ()
    assert (await contexts.newest()).verify_mode == ssl.CERT_NONE


async def test_a_context_that_keeps_a_session_is_used_no_more(data: Path, authorities: Authorities) -> None:
    """TLS 1.2 keeps them, and Python cannot forbid it; TLS 1.3 without tickets keeps none."""
    contexts = TlsContexts(data, authorities)
    authorities.now = (CA,)
    first = await contexts.newest()
    shake_hands(first, ssl.TLSVersion.TLSv1_3)
    assert await contexts.newest() is first
    shake_hands(first, ssl.TLSVersion.TLSv1_2)
    second = await contexts.newest()
    assert second is not first
    assert second.session_stats()["number"] == 0


async def test_a_slow_or_dead_database_keeps_nobody_out(data: Path, authorities: Authorities) -> None:
    """While the database fails or hangs, connections get the context with the CAs that are known."""
    contexts = TlsContexts(data, authorities, patience_s=0.5)
    authorities.now = (CA,)
    before = await contexts.newest()
    authorities.failure = StoreError("the database cannot be reached")
    assert await contexts.newest() is before
    authorities.hang = True
    assert await contexts.newest() is before


async def test_nobody_waits_again_while_the_database_hangs(data: Path, authorities: Authorities) -> None:
    """Only the first connection waits for a database that hangs; when it answers, the newest context is used again."""
    asked = 0
    answers = asyncio.Event()

    async def hanging() -> tuple[str, ...]:
        nonlocal asked
        asked += 1
        await answers.wait()
        return await authorities()

    contexts = TlsContexts(data, hanging, patience_s=2.0)
    before = await contexts.newest()
    async with asyncio.timeout(1.8):
        assert [await contexts.newest() for _ in range(3)] == [before] * 3
    assert asked == 1
    authorities.now = (CA,)
    answers.set()
    async with asyncio.timeout(60):
        while names(await contexts.newest()) != ["Login CA"]:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
    await asyncio.sleep(0.05)  # the late answer is processed
    before_ = asked
    await contexts.newest()
    assert asked == before_ + 1


async def test_files_that_break_while_it_runs(data: Path, authorities: Authorities) -> None:
    """The old context goes on; at the start it is said which file, and what is wrong with it."""
    contexts = TlsContexts(data, authorities)
    before = await contexts.newest()
    (data / KEY_FILE).write_text("no key")
    authorities.now = (CA,)
    assert await contexts.newest() is before
    with pytest.raises(UnusableFilesError, match=f"{CERTIFICATE_FILE}, {KEY_FILE}: a certificate and its key"):
        TlsContexts(data, authorities)
    (data / KEY_FILE).write_bytes(make_certificate("127.0.0.1", datetime.now(UTC))[1])
    with pytest.raises(UnusableFilesError, match="the key is not the certificate's"):
        TlsContexts(data, authorities)
    for name in (KEY_FILE, CERTIFICATE_FILE):
        (data / name).unlink()
        with pytest.raises(UnusableFilesError, match=f"there is no {data / name}: put it back, or let `keystead init`"):
            TlsContexts(data, authorities)


# --- the listener's files ---


def put(data: Path, **contents: bytes) -> None:
    """Replace the listener's files by whole ones, as an operator does it: one after the other."""
    for name, content in contents.items():
        (data / "new").write_bytes(content)
        (data / "new").rename(data / f"tls.{name}")


@contextlib.asynccontextmanager
async def following(contexts: TlsContexts) -> AsyncIterator[asyncio.Queue[str]]:
    """Follow the files; yield what is announced as unusable."""
    announced: asyncio.Queue[str] = asyncio.Queue()
    task = asyncio.create_task(contexts.follow(announced.put))
    yield announced
    task.cancel()


async def until_shown(contexts: TlsContexts, certificate: bytes) -> None:
    """Return once new connections see this certificate."""
    expected = x509.load_pem_x509_certificate(certificate)
    async with asyncio.timeout(60):
        while contexts.certificate != expected:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("asked", [False, True])
async def test_a_new_pair_is_taken(data: Path, authorities: Authorities, asked: bool) -> None:
    """By itself when the files have changed, or at once when it is asked for; the CAs stay."""
    authorities.now = (CA,)
    contexts = TlsContexts(data, authorities, look_s=600 if asked else 0.01)
    before = await contexts.newest()
    async with following(contexts) as announced:
        pair = make_certificate("localhost", datetime.now(UTC))
        put(data, crt=pair[0], key=pair[1])
        if asked:
            contexts.look_now()
        await until_shown(contexts, pair[0])
        after = await contexts.newest()
        assert after is not before
        assert names(after) == ["Login CA"]
        assert announced.empty() or not asked  # a look may come between the two files


@pytest.mark.parametrize("asked", [False, True])
async def test_what_is_no_pair_is_announced_once(data: Path, authorities: Authorities, asked: bool) -> None:
    """The one before is shown on, and the pair that comes later is taken."""
    contexts = TlsContexts(data, authorities, look_s=600 if asked else 0.01)
    before = await contexts.newest()
    certificate, key = make_certificate("localhost", datetime.now(UTC))
    async with following(contexts) as announced, asyncio.timeout(60):
        put(data, crt=certificate)
        if asked:
            contexts.look_now()
        assert "the key is not the certificate's" in await announced.get()
        assert await contexts.newest() is before
        assert contexts.certificate != x509.load_pem_x509_certificate(certificate)
        (data / KEY_FILE).unlink()
        if asked:
            contexts.look_now()
        assert "there is no" in await announced.get()
        put(data, key=key)
        if asked:
            contexts.look_now()
        await until_shown(contexts, certificate)
        assert announced.empty()
