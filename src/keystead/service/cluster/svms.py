"""Use cases of SVMs: create, read, rename, delete, and find the SVM that a request names."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import uuid4

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.guarding import ACTIVE_STATES, TERMINAL_STATES
from keystead.core.model import Svm
from keystead.service.loading import incarnation_of
from keystead.service.ports.cluster import AuditRows, ClusterRows, IncarnationRows
from keystead.service.ports.configuration import ListRows, SvmRows
from keystead.service.ports.keys import KeyRows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.ports.page import Page
    from keystead.service.ports.store import Store


_NEXT: Final = {
    "keys": "keystead security key-manager key show --vserver {}",
    "key_managers": "keystead security key-manager external disable --vserver {}",
    "certificates": "keystead security certificate show --vserver {}",
    "accounts": "keystead security login show --vserver {}",
}
"""What an SVM may own, in the order in which it is deleted, with the command that comes next."""

Stated = Mapping[str, Any]
"""What a request states about an SVM's storage: the JSON object of its body, without what has a meaning here."""


class Rows(SvmRows, ListRows, ClusterRows, AuditRows, IncarnationRows, KeyRows, Protocol):
    """The rows that this module reads and writes."""


class Svms:
    """The SVMs of the cluster."""

    def __init__(self, store: Store[Rows], audit: AuditLog) -> None:
        self._store = store
        self._audit = audit

    async def create(self, call: Call, name: str, stated: Stated | None = None) -> Svm:
        """Create an SVM. A name that an SVM or the cluster has already is code 1 (409).

        ``stated`` is what the request says about the SVM's storage. It is shown again, and means nothing here.
        """
        svm = Svm(str(uuid4()), name)

        def store(tx: Rows) -> Svm:
            check_free(tx, name)
            tx.add_svm(svm)
            if stated:
                tx.put_svm_attributes(svm.uuid, json.dumps(stated))
            self._audit.succeed(tx, call, f"created SVM {svm.uuid}", svm=svm)
            return svm

        return await self._store.write(store)

    async def get(self, call: Call, uuid: str) -> Svm:
        """Return one SVM, or raise 4 (404)."""
        svm = await self._store.read_few(lambda tx: tx.svm(uuid, within=call.within_svm))
        if svm is None:
            raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")
        return svm

    async def named(self, call: Call, uuid: str | None, name: str | None) -> Svm | None:
        """Return the SVM of this uuid and name, one of which may be None; see :func:`named_svm`."""
        return await self._store.read_few(lambda tx: named_svm(tx, call, uuid, name))

    async def page(self, call: Call, page: Page) -> tuple[Svm, ...]:
        """Return a slice of the SVMs, by uuid."""
        return await self._store.read(lambda tx: tx.page(Svm, call.within(page, "uuid")))

    async def stated(self, uuids: Sequence[str]) -> dict[str, Stated]:
        """Return what requests stated about the storage of these SVMs, by uuid."""
        found = await self._store.read(lambda tx: tx.svm_attributes(uuids))
        return {uuid: json.loads(text) for uuid, text in found.items()}

    async def change(self, call: Call, uuid: str, name: str | None, stated: Stated) -> None:
        """Rename an SVM, or change what is stated about its storage, or both.

        A name that another SVM or the cluster has is code 1 (409). An object in ``stated`` is merged into the one
        before, and a list replaces the one before.
        """

        def change(tx: Rows) -> None:
            tx.cluster(lock=True)  # before the SVM, because all who lock both use this order
            svm = _require(tx, call, uuid)
            said = []
            if name is not None:
                with about_svm(svm):
                    check_free(tx, name, but=uuid)
                tx.rename_svm(uuid, name)
                said.append(f"renamed SVM {uuid} from {svm.name}")
            if stated:
                before = json.loads(tx.svm_attributes([uuid]).get(uuid, "{}"))
                tx.put_svm_attributes(uuid, json.dumps(_merged(before, stated)))
                said.append(f"changed what is stated about SVM {uuid}")
            self._audit.succeed(tx, call, " and ".join(said), svm=replace(svm, name=name or svm.name))

        await self._store.write(change)

    async def delete(self, call: Call, uuid: str) -> None:
        """Delete an SVM that owns nothing, else raise code 8 (409). The arguments count what it owns."""

        def delete(tx: Rows) -> None:
            svm = _require(tx, call, uuid)
            keys = tx.keys_of_svm(uuid, ACTIVE_STATES) + tx.keys_left_of_svm(uuid, incarnation_of(tx).uuid)
            contents = {**tx.svm_contents(uuid), "keys": keys}
            owned = {what: count for what, count in contents.items() if count}
            with about_svm(svm):
                if owned:
                    arguments = [(what, str(count)) for what, count in owned.items()]
                    arguments.append(
                        ("next", next(_NEXT[what] for what in _NEXT if what in owned).format(shlex.quote(svm.name)))
                    )
                    raise OntapError(errors.IN_USE, target="uuid", arguments=arguments)
                tx.drop_keys_of_svm(uuid, TERMINAL_STATES)
                tx.delete_svm(uuid)
                self._audit.succeed(tx, call, f"deleted SVM {uuid}", svm=svm)

        await self._store.write(delete)


def _merged(before: Stated, stated: Stated) -> Stated:
    return {
        **before,
        **{
            name: {**before.get(name, {}), **value} if isinstance(value, Mapping) else value
            for name, value in stated.items()
        },
    }


def _require(tx: SvmRows, call: Call, uuid: str) -> Svm:
    """Return the SVM, locked until the end of the transaction, or raise 4 (404)."""
    svm = tx.svm(uuid, within=call.within_svm, lock=True)
    if svm is None:
        raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")
    return svm


def check_free(tx: Rows, name: str, *, but: str = "") -> None:
    """Raise code 1 (409) if another SVM, or the cluster, has this name. An owner's name must mean one owner.

    ``but`` is the uuid of the owner that is renamed. The cluster is locked until the end of the transaction, so that
    nobody else gives names meanwhile.
    """
    for holder in (tx.cluster(lock=True), tx.svm_named(name)):
        if holder is not None and holder.name == name and holder.uuid != but:
            raise OntapError(errors.DUPLICATE_ENTRY, target="name", arguments=[("uuid", holder.uuid)])


def named_svm(tx: SvmRows, call: Call, uuid: str | None, name: str | None) -> Svm | None:
    """Return the SVM that a body names by uuid, name or both.

    Without them, return the SVM of the call's scope, or None.

    Raises 2621462 if there is no such SVM, if it lies outside the scope, or if uuid and name belong to two SVMs.
    """
    if uuid is None and name is None:
        return call.scope
    within = call.within_svm
    svm = tx.svm(uuid, within=within) if uuid is not None else tx.svm_named(name or "", within=within)
    if svm is None or (name is not None and svm.name != name):
        target = "svm.name" if uuid is None else "svm.uuid"
        raise OntapError(errors.SVM_NOT_FOUND, target=target, name=name if uuid is None else uuid)
    return svm


@contextmanager
def about_svm(svm: Svm | None) -> Iterator[None]:
    """Mark every exception raised within as being about this SVM, unless it has an SVM already.

    The audit record of a refusal or a fault then names the SVM.
    """
    try:
        yield
    except Exception as error:
        if svm_of(error) is None:
            error.svm = svm  # type: ignore[attr-defined]
        raise


def svm_of(error: BaseException) -> Svm | None:
    """Return the SVM that an exception is about, or None if that was not known where it was raised."""
    svm: Svm | None = getattr(error, "svm", None)
    return svm
