"""Logging in by client certificate over a real store: what is remembered, and what every request reads anew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from keystead.core.client_login import prove
from keystead.core.errors import AUTHENTICATION_FAILED, OntapError
from keystead.core.model import Account, CertificateType, Node, Release, Role, Svm
from keystead.core.withdrawals import Thing, Withdrawn
from keystead.service.accounts import certificate_logins as module
from keystead.service.accounts.certificate_logins import CertificateLogins
from keystead.service.audit.log import AuditLog
from keystead.service.context import Call, Caller
from keystead.service.offline import OfflineReads
from keystead.service.ports.store import StoreError
from keystead.store import SqlStore, open_store
from tests.peers.certificates import Authority
from tests.service.worlds.basics import KEYRING, HandClock
from tests.store import samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from keystead.core.client_login import ClientProof
    from keystead.core.model import Certificate

HERE = "192.0.2.1"
SVM, OTHER = Svm("svm-1", "svm1"), Svm("svm-2", "svm2")
ALICE = Account("alice", Role.READONLY, "", certificate=True)
BOB = Account("bob", Role.VSADMIN, "", svm=SVM, certificate=True)
CA, SVM_CA = Authority("Cluster CA"), Authority("SVM CA")


def installed(uuid: str, authority: Authority, svm: Svm | None = None) -> Certificate:
    """Return a CA as the store holds it."""
    return samples.certificate(
        uuid, svm=svm, type=CertificateType.CLIENT_CA, public_certificate=authority.pem, sealed_private_key=None
    )


def chain(name: str, authority: Authority = CA) -> list[str]:
    """Return a certificate in this name."""
    leaf = authority.issue((), common_name=name, purpose="client")
    return [leaf.certificate.public_bytes(Encoding.PEM).decode()]


@dataclass
class Counted:
    """How often a chain was verified."""

    times: int = 0


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Count, and verify."""
    count = Counted()

    def counting(*arguments: Any) -> ClientProof:
        count.times += 1
        return prove(*arguments)

    monkeypatch.setattr(module, "prove", counting)
    return count


@pytest.fixture
async def store(sqlite_url: str) -> AsyncIterator[SqlStore]:
    """Two SVMs, a CA of the cluster and one of the first, an account of each."""
    opened = open_store(sqlite_url)
    await opened.write(
        lambda tx: (
            tx.put_node(Node("node-1", "n1", Release(9, 18, 1))),
            *map(tx.add_svm, (SVM, OTHER)),
            *map(tx.add_certificate, (installed("ca", CA), installed("svm-ca", SVM_CA, SVM))),
            *map(tx.put_account, (ALICE, BOB)),
        )
    )
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> HandClock:
    """Return the time of the certificates: now."""
    made = HandClock()
    made.time = CA.certificate.not_valid_before_utc + timedelta(days=30)
    return made


@pytest.fixture
async def audit(store: SqlStore, clock: HandClock) -> AsyncIterator[AuditLog]:
    """Where failed logins are counted."""
    made = AuditLog(store, KEYRING, clock, "node-1")
    yield made
    await made.close()


@pytest.fixture
def logins(store: SqlStore, clock: HandClock, audit: AuditLog) -> CertificateLogins:
    """Return the service."""
    return CertificateLogins(store, clock, audit, OfflineReads(store, clock, "node-1", limit_s=60))


async def refused(logins: CertificateLogins, shown: Sequence[str]) -> None:
    """A login that must fail with 401."""
    with pytest.raises(OntapError) as caught:
        await logins.authenticate(shown, HERE)
    assert caught.value.kind is AUTHENTICATION_FAILED


async def test_a_chain_says_who_calls_and_is_verified_once(logins: CertificateLogins, counted: Counted) -> None:
    """Of the cluster and of an SVM, by a CA of the same owner."""
    alice, bob = chain("alice"), chain("bob", SVM_CA)
    for _ in range(3):
        assert await logins.authenticate(alice, HERE) == Caller("alice", Role.READONLY, HERE)
        assert await logins.authenticate(bob, HERE) == Caller("bob", Role.VSADMIN, HERE, SVM)
    assert counted.times == 2


async def test_who_proves_nothing(logins: CertificateLogins, store: SqlStore, audit: AuditLog) -> None:
    """Unknown names, a CA of another owner, what is no certificate; counted as failed logins, in the name given."""
    await store.write(lambda tx: tx.put_account(Account("carl", Role.ADMIN, "hash")))
    for shown in (
        chain("nobody"),
        chain("carl"),
        chain("alice", SVM_CA),
        chain("bob", CA),
        chain("n\N{LATIN SMALL LETTER A WITH DIAERESIS}me"),
        ["no certificate"],
    ):
        await refused(logins, shown)
    await audit.flush(everything=True)
    records = await store.read(lambda tx: tx.audit_records("node-1", 0, 100))
    assert {record.account for record in records} == {"", "alice", "bob", "carl", "n\xe4me", "nobody"}
    assert all("1 failed login" in record.message and record.location == HERE for record in records)


@pytest.mark.parametrize(
    "account",
    [
        replace(ALICE, locked=True),
        replace(ALICE, certificate=False, password_hash="hash"),
        replace(ALICE, svm=OTHER, role=Role.VSADMIN),
        None,
    ],
)
async def test_every_request_reads_the_account(
    logins: CertificateLogins, store: SqlStore, account: Account | None
) -> None:
    """Locked, without this way to log in, of another owner, gone: refused, though the chain is remembered."""
    alice = chain("alice")
    await logins.authenticate(alice, HERE)
    await store.write(lambda tx: tx.put_account(account) if account else tx.delete_account("alice"))
    await refused(logins, alice)
    await store.write(lambda tx: tx.put_account(ALICE))
    assert (await logins.authenticate(alice, HERE)).account == "alice"


async def test_every_request_reads_the_ca(logins: CertificateLogins, store: SqlStore, counted: Counted) -> None:
    """Deleted, it counts no more; the same CA under another uuid is found anew."""
    alice = chain("alice")
    await logins.authenticate(alice, HERE)
    await store.write(lambda tx: tx.delete_certificate("ca"))
    await refused(logins, alice)
    await store.write(lambda tx: tx.add_certificate(installed("ca", CA, SVM)))
    await refused(logins, alice)
    await store.write(lambda tx: tx.add_certificate(installed("again", CA)))
    await logins.authenticate(alice, HERE)
    assert counted.times == 4


async def test_a_remembered_chain_ends_with_its_certificates(logins: CertificateLogins, clock: HandClock) -> None:
    """No second verification is needed to see that it is over."""
    alice = chain("alice")
    await logins.authenticate(alice, HERE)
    clock.advance(11 * 86400)
    await refused(logins, alice)


async def test_only_so_many_chains_are_remembered(
    store: SqlStore, clock: HandClock, audit: AuditLog, counted: Counted
) -> None:
    """The chain that was used longest ago is forgotten first."""
    logins = CertificateLogins(store, clock, audit, OfflineReads(store, clock, "node-1", limit_s=60), entries=2)
    chains = [chain("alice") for _ in range(3)]
    for shown in (*chains, chains[2], chains[1], chains[0]):
        await logins.authenticate(shown, HERE)
    assert counted.times == 4


async def test_the_cas_for_tls_follow_the_changes(logins: CertificateLogins, store: SqlStore, audit: AuditLog) -> None:
    """The same object while nothing that concerns them changes; those of SVMs, but no namesake of the cluster's."""
    call = Call(Caller("admin", Role.ADMIN, HERE), "POST", "/api/test")
    first = await logins.authorities()
    assert first == (CA.pem, SVM_CA.pem)
    assert await logins.authorities() is first
    await store.write(lambda tx: audit.succeed(tx, call, "another change"))
    assert await logins.authorities() is first
    namesake = Authority("Cluster CA")
    await store.write(
        lambda tx: (tx.add_certificate(installed("namesake", namesake, SVM)), audit.succeed(tx, call, "installed"))
    )
    assert await logins.authorities() is first
    await store.write(lambda tx: (tx.delete_account("bob"), audit.succeed(tx, call, "deleted")))
    assert await logins.authorities() == (CA.pem,)
    await store.write(lambda tx: (tx.delete_certificate("ca"), audit.succeed(tx, call, "deleted")))
    assert await logins.authorities() == ()


async def test_rows_of_a_withdrawn_ca_or_account_are_proven_by_a_commit(
    store: SqlStore, clock: HandClock, audit: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A former primary that is cut off may have it still, and commits nothing."""
    offline = OfflineReads(store, clock, "node-1", limit_s=60)
    logins = CertificateLogins(store, clock, audit, offline)
    alice, bob = chain("alice"), chain("bob", SVM_CA)
    for shown in (alice, bob):
        await logins.authenticate(shown, HERE)
    offline.withdraw([Withdrawn(Thing.CERTIFICATE, logins.authority(alice))])
    await logins.authenticate(alice, HERE)

    async def away(work: object) -> object:
        del work
        raise StoreError("it commits nothing")

    monkeypatch.setattr(store, "write", away)
    with pytest.raises(StoreError):
        await logins.authenticate(alice, HERE)
    await logins.authenticate(bob, HERE)
    offline.withdraw([Withdrawn(Thing.ACCOUNT, "bob")])
    with pytest.raises(StoreError):
        await logins.authenticate(bob, HERE)
