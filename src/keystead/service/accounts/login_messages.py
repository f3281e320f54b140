"""Use cases of login messages: read and change them. The cluster has some, and each SVM, named by its owner's uuid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.model import Svm
from keystead.service.cluster.svms import about_svm
from keystead.service.loading import require_cluster
from keystead.service.ports.cluster import AuditRows, ClusterRows, LoginMessageRows
from keystead.service.ports.configuration import ListRows, SvmRows
from keystead.service.ports.page import Page

if TYPE_CHECKING:
    from keystead.core.model import LoginMessages
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.ports.store import Store

OF_CLUSTER = "0"
"""The place of the cluster's messages in the list: before all uuids."""


class Rows(SvmRows, ListRows, ClusterRows, LoginMessageRows, AuditRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class LoginMessagesView:
    """Login messages with the uuid of their owner."""

    uuid: str
    messages: LoginMessages

    @property
    def place(self) -> str:
        """The place in the list: first the cluster's, then those of each SVM by uuid."""
        return OF_CLUSTER if self.messages.svm is None else self.uuid


@dataclass(frozen=True, slots=True)
class LoginMessagesChange:
    """Changes of login messages; None leaves a value as it is."""

    banner: str | None = None
    message: str | None = None
    show_cluster_message: bool | None = None


class LoginMessagesOfOwners:
    """The login messages of the cluster and its SVMs."""

    def __init__(self, store: Store[Rows], audit: AuditLog) -> None:
        self._store = store
        self._audit = audit

    async def page(self, call: Call, page: Page) -> tuple[LoginMessagesView, ...]:
        """Return a slice of the login messages, by :attr:`LoginMessagesView.place`."""
        (after,) = page.after or ("",)

        def read(tx: Rows) -> tuple[LoginMessagesView, ...]:
            following = Page(after=None if after in {"", OF_CLUSTER} else (after,), limit=page.offset + page.limit)
            owners: list[Svm | None] = [] if call.scope or after else [None]
            owners += tx.page(Svm, call.within(following, "uuid"))
            cluster = require_cluster(tx).uuid
            views = [_view(cluster, found) for found in tx.login_messages(owners)]
            return tuple(views[page.offset : page.offset + page.limit])

        return await self._store.read(read)

    async def get(self, call: Call, uuid: str) -> LoginMessagesView:
        """Return the login messages of one owner, or raise 4 (404)."""
        return await self._store.read_few(lambda tx: _require(tx, call, uuid))

    async def change(self, call: Call, uuid: str, change: LoginMessagesChange) -> None:
        """Change what is told. Raises 6 (403) if an SVM's account turns the cluster's message on or off."""

        def store(tx: Rows) -> None:
            tx.cluster(lock=True)
            before = _require(tx, call, uuid).messages
            with about_svm(before.svm):
                if change.show_cluster_message is not None and call.caller.svm is not None:
                    raise OntapError(errors.NOT_AUTHORIZED, target="show_cluster_message")
                tx.put_login_messages(_changed(before, change))
                self._audit.succeed(tx, call, "changed the login messages", svm=before.svm)

        await self._store.write(store)


def _changed(before: LoginMessages, change: LoginMessagesChange) -> LoginMessages:
    shown = before.show_cluster_message if change.show_cluster_message is None else change.show_cluster_message
    return replace(
        before,
        banner=_lines(before.banner if change.banner is None else change.banner),
        message=_lines(before.message if change.message is None else change.message),
        show_cluster_message=shown,
    )


def _lines(text: str) -> str:
    """Return a text with LF at the end of its lines, as ONTAP returns it."""
    return text.replace("\r\n", "\n")


def _view(cluster: str, messages: LoginMessages) -> LoginMessagesView:
    return LoginMessagesView(messages.svm.uuid if messages.svm else cluster, messages)


def _require(tx: Rows, call: Call, uuid: str) -> LoginMessagesView:
    cluster, svm = require_cluster(tx).uuid, tx.svm(uuid, within=call.within_svm)
    if svm is None and (uuid != cluster or call.scope is not None):
        raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")
    (messages,) = tx.login_messages([svm])
    return _view(cluster, messages)
