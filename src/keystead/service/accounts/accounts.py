"""Use cases of accounts: create, read, change, delete, and set or reset a password.

Only the role ``admin`` writes accounts, whatever a custom role grants. Every account sees itself and may change its own
password, if its role allows the call. An account of an SVM sees no other account. An account that a caller does not see
is answered like one that does not exist.

A reset needs no login: the operator who makes it holds the data directory and the root key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from uuid import uuid4

from keystead.core import errors, events
from keystead.core.accounts import (
    PASSWORD,
    AccountChange,
    check_can_go,
    check_name,
    check_password,
    key_reading_granted,
    methods_of,
    plan_change,
    plan_create,
)
from keystead.core.applications.model import Application
from keystead.core.errors import OntapError
from keystead.core.model import Account, Role
from keystead.core.withdrawals import Thing, Withdrawn
from keystead.service.accounts.logins import is_plausible
from keystead.service.announcing import add_events
from keystead.service.cluster.peers import nobody
from keystead.service.cluster.svms import about_svm, named_svm
from keystead.service.context import Call, Caller
from keystead.service.loading import locked_cluster, require_cluster
from keystead.service.ports.applications import ApplicationRows
from keystead.service.ports.cluster import AccountRows, AuditRows, ClusterRows, EventRows, RoleRows
from keystead.service.ports.configuration import ListRows, SvmRows
from keystead.service.ports.page import Page

if TYPE_CHECKING:
    from keystead.core.accounts import NewAccount
    from keystead.core.events import EventKind
    from keystead.core.model import Cluster, Event, Svm
    from keystead.core.secret import Secret
    from keystead.service.audit.log import AuditLog
    from keystead.service.cluster.peers import Withdraw
    from keystead.service.ports.process import Clock
    from keystead.service.ports.sealing import PasswordHasher
    from keystead.service.ports.store import Store

RESET_CALL: Final = Call(Caller("", Role.ADMIN, ""), "", "keystead account reset-password")
"""The caller for the audit record: nobody logs in to a data directory."""


class Rows(SvmRows, ListRows, ClusterRows, AccountRows, RoleRows, AuditRows, EventRows, ApplicationRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account with its owner: its SVM, or the cluster."""

    account: Account
    owner: Svm | Cluster


class Accounts:
    """The accounts of the cluster and its SVMs."""

    def __init__(
        self,
        store: Store[Rows],
        hasher: PasswordHasher,
        audit: AuditLog,
        clock: Clock,
        node: str,
        withdraw: Withdraw = nobody,
    ) -> None:
        self._withdraw = withdraw
        self._store = store
        self._hasher = hasher
        self._audit = audit
        self._clock = clock
        self._node = node

    async def page(self, call: Call, page: Page) -> tuple[AccountView, ...]:
        """Return a slice of the accounts that the caller sees, by name."""
        within = call.within(page) if call.caller.svm is None else page.within(name=call.caller.account)

        def read(tx: Rows) -> tuple[AccountView, ...]:
            cluster = require_cluster(tx)
            return tuple(_view(account, cluster) for account in tx.page(Account, within))

        return await self._store.read(read)

    async def get(self, call: Call, owner: str | None, name: str) -> AccountView:
        """Return one account, or raise 4 (404)."""
        return await self._store.read_few(lambda tx: _require(tx, call, owner, name))

    async def create(self, call: Call, new: NewAccount) -> AccountView:
        """Store a new account. A name that is taken anywhere in the cluster, in any letter case, is code 1 (409)."""
        _check_administers(call)
        check_name(new.name)
        hashed = await self._hash(new.password, new.name)

        def store(tx: Rows) -> AccountView:
            cluster = locked_cluster(tx)
            svm = named_owner(tx, call, cluster, new.owner_uuid, new.owner_name)
            with about_svm(svm):
                account = plan_create(new, svm, hashed, tx.custom_roles([svm]))
                if tx.account_alike(new.name) is not None:
                    raise OntapError(errors.DUPLICATE_ENTRY, target="name")
            tx.put_account(account)
            self._let_in(tx, account)
            self._audit.succeed(tx, call, f"created account {account.name}, role {account.role}", svm=svm)
            add_events(tx, self._granted(cluster, None, account))
            return _view(account, cluster)

        return await self._store.write(store)

    async def change(self, call: Call, owner: str | None, name: str, change: AccountChange) -> None:
        """Change an account. Only a cluster administrator may change more than its own password, else 6 (403).

        Raises the rule that the change breaks, 7077925 if the password is the present one.
        """
        before = await self._store.read_few(lambda tx: _require(tx, call, owner, name))
        with about_svm(before.account.svm):
            if not (name == call.caller.account and change.only_password):
                _check_administers(call)
            await self._check_new(before.account, change.password)
            hashed = await self._hash(change.password, name)

            def store(tx: Rows) -> None:
                cluster = locked_cluster(tx)
                account = _require(tx, call, owner, name).account
                changed = plan_change(account, change, hashed, _admins(tx), tx.custom_roles([account.svm]))
                tx.put_account(changed)
                self._let_in(tx, changed)
                self._audit.succeed(tx, call, f"changed account {name}", svm=account.svm)
                add_events(tx, self._granted(cluster, account, changed))

            await self._store.write(store)
        await self._tell(call, name)

    async def delete(self, call: Call, owner: str | None, name: str) -> None:
        """Delete an account. It cannot log in from then on."""
        _check_administers(call)

        def delete(tx: Rows) -> None:
            locked_cluster(tx)
            account = _require(tx, call, owner, name).account
            with about_svm(account.svm):
                check_can_go(account, _admins(tx))
            tx.delete_account(name)
            self._audit.succeed(tx, call, f"deleted account {name}", svm=account.svm)

        await self._store.write(delete)
        await self._tell(call, name)

    async def set_password(
        self, call: Call, name: str, password: Secret, owner_uuid: str | None = None, owner_name: str | None = None
    ) -> None:
        """Set the password of the account with this name. An account that the caller does not see is 1261218."""
        view = await self._store.read_few(lambda tx: _find(tx, call, name))
        if view is None or owner_uuid not in {None, view.owner.uuid} or owner_name not in {None, view.owner.name}:
            raise OntapError(errors.USER_NOT_FOUND, target="name")
        await self.change(call, view.owner.uuid, name, AccountChange(password=password))

    async def reset_password(self, name: str, svm: str | None, password: Secret) -> None:
        """Set the password of an account, and unlock it. It may log in by password from then on.

        Called by ``keystead account reset-password``. ``svm`` is the name of the account's SVM, None for a cluster
        account. Raises 1261218 if this owner has no such account, or the rule that the password breaks.
        """
        await self._store.read_few(lambda tx: _require_owned(tx, name, svm))
        hashed = await self._hash(password, name)

        def reset(tx: Rows) -> None:
            cluster = locked_cluster(tx)
            account = _require_owned(tx, name, svm)
            change = AccountChange(methods_of(account) | {PASSWORD}, password=password, locked=False)
            changed = plan_change(account, change, hashed, _admins(tx))
            tx.put_account(changed)
            self._audit.succeed(tx, RESET_CALL, f"reset the password of account {name}", svm=account.svm)
            announced = self._event(events.PASSWORD_RESET, cluster, account)
            add_events(tx, [announced, *self._granted(cluster, account, changed)])

        await self._store.write(reset)

    async def _tell(self, call: Call, name: str) -> None:
        """Tell the other nodes that an account has changed, so that none lets it read keys by what it remembers."""
        call.warnings.extend(await self._withdraw(Withdrawn(Thing.ACCOUNT, name)))

    def _let_in(self, tx: ApplicationRows, account: Account) -> None:
        """Let an account with the role of a KMIP client use the application of its own name, which is made if needed.

        An account that uses an application already keeps it.
        """
        if account.role is not Role.KMIP_CLIENT or account.svm is None or tx.application_of(account.name):
            return
        found = tx.application_named(account.svm.uuid, account.name)
        if found is None:
            found = Application(str(uuid4()), account.name, account.svm, self._clock.now())
            tx.add_application(found)
        tx.let_into_application(account.name, found.uuid)

    def _granted(self, cluster: Cluster, before: Account | None, after: Account) -> list[Event]:
        """Return the event of a change by which an account may read key material, or none."""
        change = key_reading_granted(before, after)
        return [self._event(events.KEY_READER_GRANTED, cluster, after, change=change)] if change else []

    def _event(self, kind: EventKind, cluster: Cluster, account: Account, **more: str) -> Event:
        values = {"vserver": (account.svm or cluster).name, "account": account.name, **more}
        return kind.happened(self._node, self._clock.now(), account.svm, values)

    async def _check_new(self, account: Account, password: Secret | None) -> None:
        """Raise 7077925 if the account has this password already. Ansible takes it for a success without a change."""
        if password is None or not account.password_hash:
            return
        if await self._hasher.verify(account.password_hash, password):
            raise OntapError(errors.PASSWORD_REPEATED, target=PASSWORD)

    async def _hash(self, password: Secret | None, name: str) -> str:
        if password is None:
            return ""
        check_password(password, name)
        return await self._hasher.hash(password)


def named_owner(tx: SvmRows, call: Call, cluster: Cluster, uuid: str | None, name: str | None) -> Svm | None:
    """Return the SVM that a body names as owner, None for the cluster. A body can name the cluster as well.

    Raises 2621462 if neither has this name, or if the owner lies outside the call's scope.
    """
    named = uuid is not None or name is not None
    if named and call.scope is None and uuid in {None, cluster.uuid} and name in {None, cluster.name}:
        return None
    return named_svm(tx, call, uuid, name)


def _check_administers(call: Call) -> None:
    """Raise 6 (403) unless the caller is ``admin``: whoever writes accounts could log in with any role."""
    if call.caller.role is not Role.ADMIN:
        raise OntapError(errors.NOT_AUTHORIZED)


def _view(account: Account, cluster: Cluster) -> AccountView:
    return AccountView(account, account.svm or cluster)


def _admins(tx: ListRows) -> tuple[Account, ...]:
    return tx.page(Account, Page().within(role=Role.ADMIN.value))


def _find(tx: Rows, call: Call, name: str) -> AccountView | None:
    """Return an account that the caller sees, or None. An account of an SVM sees only itself."""
    cluster = require_cluster(tx)
    seen = is_plausible(name) and (call.caller.svm is None or name == call.caller.account)
    account = tx.account(name) if seen else None
    return _view(account, cluster) if account is not None and call.sees(account.svm) else None


def _require_owned(tx: Rows, name: str, svm: str | None) -> Account:
    """Return the account of the SVM with this name, of the cluster if it is None. Raises 1261218 if there is none."""
    account = tx.account(name) if is_plausible(name) else None
    if account is None or svm != (account.svm.name if account.svm else None):
        raise OntapError(errors.USER_NOT_FOUND, target="name")
    return account


def _require(tx: Rows, call: Call, owner: str | None, name: str) -> AccountView:
    """Return an account that the caller sees, or raise 4 (404). If ``owner`` is None, any owner will do."""
    view = _find(tx, call, name)
    if view is None or owner not in {None, view.owner.uuid}:
        raise OntapError(errors.ENTRY_NOT_FOUND, target="name")
    return view
