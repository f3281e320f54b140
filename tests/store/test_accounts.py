"""Accounts, and the CAs that vouch for them, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from keystead.core.model import Access, Account, CertificateType, Cluster, CustomRole, Privilege, Role
from keystead.service.ports.page import Page
from keystead.service.ports.store import StoreConflict, StoreError
from tests.store import samples
from tests.store.samples import OTHER_SVM, SVM

if TYPE_CHECKING:
    from keystead.core.model import Certificate, Svm
    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore


async def test_an_account_comes_back_as_it_was(store: SqlStore) -> None:
    """Every field is read back, with the SVM's name; a change replaces all fields and increments the version."""
    first = Account("joe", Role.VSADMIN, "hash", svm=SVM, certificate=True, locked=True, comment="c")
    second = Account("joe", Role.ADMIN, "")
    await store.write(lambda tx: (tx.add_svm(SVM), tx.put_account(first)))
    assert await store.read(lambda tx: tx.account("joe")) == first
    await store.write(lambda tx: tx.put_account(second))
    found = await store.read(lambda tx: tx.account("joe"))
    assert found == Account("joe", Role.ADMIN, "", version=2)


async def test_an_account_is_deleted(store: SqlStore) -> None:
    """Only the named account is deleted; the deletion of an absent account is no error."""
    await store.write(lambda tx: [tx.put_account(Account(name, Role.ADMIN, "h")) for name in ("joe", "joan")])
    await store.write(lambda tx: (tx.delete_account("joe"), tx.delete_account("nobody")))
    assert [account.name for account in await store.read(lambda tx: tx.page(Account, Page()))] == ["joan"]


async def test_accounts_are_listed_by_name_and_by_what_they_are(store: SqlStore) -> None:
    """Lists of accounts can be restricted by role, owner and lock."""
    accounts = [
        Account("zoe", Role.ADMIN, "h"),
        Account("joe", Role.VSADMIN, "h", svm=SVM),
        Account("amy", Role.ADMIN, "h", locked=True),
    ]
    await store.write(lambda tx: (tx.add_svm(SVM), *map(tx.put_account, accounts)))

    async def names(page: Page) -> list[str]:
        return [account.name for account in await store.read(lambda tx: tx.page(Account, page))]

    assert await names(Page()) == ["amy", "joe", "zoe"]
    assert await names(Page().within(role="admin")) == ["amy", "zoe"]
    assert await names(Page().within(svm_uuid=SVM.uuid)) == ["joe"]
    assert await names(Page().within(svm_uuid=None, locked=False)) == ["zoe"]


ROWS = (Privilege("/api/cluster", Access.READONLY), Privilege("/api/svm", Access.ALL))


async def test_custom_roles_are_read_with_their_accounts(store: SqlStore) -> None:
    """Of the account's owner, as they are now; one of the same name that another owner has is another role."""
    of_cluster, of_svm = CustomRole("same", None, ROWS), CustomRole("same", SVM, ROWS[:1])
    accounts = [Account("joe", of_cluster, "h"), Account("jim", of_svm, "h", svm=SVM), Account("zoe", Role.ADMIN, "h")]

    def fill(tx: Transaction) -> None:
        tx.add_svm(SVM)
        tx.put_role(of_cluster)
        tx.put_role(of_svm)
        for account in accounts:
            tx.put_account(account)

    await store.write(fill)
    assert await store.read(lambda tx: tx.page(Account, Page())) == (accounts[1], accounts[0], accounts[2])
    assert await store.read(lambda tx: tx.page(Account, Page().within(role="same"))) == (accounts[1], accounts[0])
    assert await store.read(lambda tx: tx.custom_roles([SVM, None])) == (of_cluster, of_svm)
    assert await store.read(lambda tx: tx.custom_roles([SVM])) == (of_svm,)
    changed = CustomRole("same", SVM, ROWS[1:])
    await store.write(lambda tx: tx.put_role(changed))
    found = await store.read(lambda tx: (tx.account("jim"), tx.account("joe"), tx.account_alike("JIM")))
    assert [account and account.role for account in found] == [changed, of_cluster, changed]
    assert found[0] is not None
    assert found[0].version == 1


async def test_who_has_a_role_is_known(store: SqlStore) -> None:
    """The first account by name, of this owner alone; a deleted role is gone, and the other owner's stays."""
    of_cluster, of_svm = CustomRole("same", None, ROWS), CustomRole("same", SVM, ROWS)

    def fill(tx: Transaction) -> None:
        tx.add_svm(SVM)
        tx.put_role(of_cluster)
        tx.put_role(of_svm)
        tx.put_account(Account("joe", of_cluster, "h"))
        tx.put_account(Account("amy", of_cluster, "h"))

    await store.write(fill)
    assert await store.read(lambda tx: (tx.role_user(of_cluster), tx.role_user(of_svm))) == ("amy", None)
    await store.write(lambda tx: tx.delete_role(of_svm))
    assert await store.read(lambda tx: tx.custom_roles([SVM, None])) == (of_cluster,)


async def test_the_roles_of_an_svm_go_with_it(store: SqlStore) -> None:
    """Those of others stay."""
    roles = [CustomRole("some", svm, ROWS) for svm in (None, SVM, OTHER_SVM)]
    await store.write(lambda tx: (tx.add_svm(SVM), tx.add_svm(OTHER_SVM), *map(tx.put_role, roles)))
    await store.write(lambda tx: tx.delete_svm(SVM.uuid))
    assert await store.read(lambda tx: tx.custom_roles([None, SVM, OTHER_SVM])) == (roles[0], roles[2])


async def test_an_account_without_its_role_is_damaged(store: SqlStore) -> None:
    """A role that is not there grants nothing: the account cannot even be read."""
    role = CustomRole("some", None, ROWS)
    await store.write(lambda tx: (tx.put_role(role), tx.put_account(Account("joe", role, "h"))))
    await store.write(lambda tx: tx.delete_role(role))
    with pytest.raises(StoreError, match="damaged"):
        await store.read(lambda tx: tx.account("joe"))


async def test_an_svm_with_accounts_cannot_go(store: SqlStore) -> None:
    """The database refuses to delete an SVM that has accounts."""
    await store.write(lambda tx: (tx.add_svm(SVM), tx.put_account(Account("joe", Role.VSADMIN, "h", svm=SVM))))
    with pytest.raises(StoreConflict):
        await store.write(lambda tx: tx.delete_svm(SVM.uuid))


async def test_accounts_have_one_writer_at_a_time(store: SqlStore) -> None:
    """A transaction that holds the cluster's row sees the changes of the holder before it."""
    await store.write(
        lambda tx: (
            tx.put_cluster(Cluster("c", "c")),
            *(tx.put_account(Account(name, Role.ADMIN, "h")) for name in ("joe", "joan")),
        )
    )

    def delete(tx: Transaction, name: str) -> bool:
        tx.cluster(lock=True)
        last = len(tx.page(Account, Page().within(role="admin"))) == 1
        if not last:
            tx.delete_account(name)
        return not last

    done = await asyncio.gather(store.write(lambda tx: delete(tx, "joe")), store.write(lambda tx: delete(tx, "joan")))
    assert sorted(done) == [False, True]
    assert len(await store.read(lambda tx: tx.page(Account, Page()))) == 1


async def test_the_cas_that_vouch_for_accounts(store: SqlStore) -> None:
    """The CAs for logins are those of the cluster, and of SVMs with accounts that log in by certificate."""

    def authority(uuid: str, svm: Svm | None) -> Certificate:
        return samples.certificate(uuid, svm=svm, type=CertificateType.CLIENT_CA)

    await store.write(
        lambda tx: (
            tx.add_svm(SVM),
            tx.add_svm(OTHER_SVM),
            *map(
                tx.add_certificate,
                (authority("c", None), authority("s", SVM), authority("o", OTHER_SVM), samples.certificate("x")),
            ),
            tx.put_account(Account("joe", Role.VSADMIN, "h", svm=SVM, certificate=True)),
            tx.put_account(Account("amy", Role.VSADMIN, "h", svm=OTHER_SVM)),
            tx.put_account(Account("zoe", Role.ADMIN, "", certificate=True)),
        )
    )
    found = await store.read(lambda tx: tx.login_authorities())
    assert found == (authority("c", None), authority("s", SVM))
