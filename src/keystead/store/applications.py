"""Rows of applications and their objects, as a transaction reads and writes them."""

# ruff: noqa: D102 - the port documents the methods
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from keystead.core.applications.model import Application, ApplicationObject, ObjectAttribute, ObjectState
from keystead.core.keys.model import KeyState
from keystead.core.model import Svm
from keystead.store import tables
from keystead.store.conditions import among
from keystead.store.kinds import KEY
from keystead.store.statements import Parameters, Statements, storing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Row

_applications = tables.applications.c
_accounts = tables.application_accounts.c
_objects = tables.application_objects.c
_names = tables.application_object_names.c
_keys = tables.keys.c

_APPLICATIONS = (
    select(tables.applications, tables.svms.c.name.label("svm_name"))
    .join(tables.svms, tables.svms.c.uuid == _applications.svm_uuid)
    .order_by(_applications.svm_uuid, _applications.name)
)
_OF_SVM = _APPLICATIONS.where(_applications.svm_uuid == bindparam("w"))
_NAMED = _OF_SVM.where(_applications.name == bindparam("n"))
_OF_ACCOUNT = _APPLICATIONS.join(tables.application_accounts, _accounts.application == _applications.uuid).where(
    _accounts.account == bindparam("a")
)
_ACCOUNTS_OF = select(_accounts.account).where(_accounts.application == bindparam("a")).order_by(_accounts.account)
_LET_IN = storing(tables.application_accounts, "account")
_DELETE = delete(tables.applications).where(_applications.uuid == bindparam("u"))

_OBJECTS = (
    KEY.everything.join(tables.application_objects, _objects.key == _keys.uuid)
    .add_columns(_objects.application, _objects.object_type, _objects.state.label("object_state"))
    .add_columns(_objects.content, _objects.version.label("object_version"))
    .where(_objects.application == bindparam("a"))
    .order_by(None)
    .order_by(_objects.created, _objects.key)
)
_IS_ACKNOWLEDGED = _keys.state.not_in([KeyState.PENDING.value, KeyState.ABORTED.value])
_ONE = _OBJECTS.where(_objects.key == bindparam("u"), _IS_ACKNOWLEDGED)
_IS_LIVE = _keys.state == KeyState.COMMITTED.value
_LIVE = _OBJECTS.where(_IS_LIVE)
_LIVE_NAMED = _LIVE.join(tables.application_object_names, _names.key == _objects.key).where(
    _names.application == bindparam("a"), _names.name == bindparam("n")
)
_HOLDS_NAME = (
    select(_names.key)
    .join(tables.keys, _keys.uuid == _names.key)
    .where(
        *(_names.application == bindparam("a"), _names.name == bindparam("n")),
        among(_keys.state, [KeyState.PENDING, KeyState.COMMITTED]),
    )
)
_COUNTS = (
    select(_objects.application, _objects.state, func.count().label("count"))
    .join(tables.keys, _keys.uuid == _objects.key)
    .join(tables.applications, _applications.uuid == _objects.application)
    .where(_IS_LIVE)
    .group_by(_objects.application, _objects.state)
)
_COUNTS_OF_SVM = _COUNTS.where(_applications.svm_uuid == bindparam("w"))
_CHANGE = (
    update(tables.application_objects)
    .where(_objects.key == bindparam("the_key"))
    .values({name: bindparam(name) for name in ("state", "content", "version")})
)
_DELETE_NAMES = delete(tables.application_object_names).where(_names.key == bindparam("the_key"))


class ApplicationRows(Statements):
    """The rows of applications, their accounts and their objects."""

    # --- applications ---

    def application_named(self, svm_uuid: str, name: str) -> Application | None:
        return self.one(_NAMED, {"w": svm_uuid, "n": name}, _application)

    def application_of(self, account: str) -> Application | None:
        return self.one(_OF_ACCOUNT, {"a": account}, _application)

    def applications(self, *, within: str | None = None) -> tuple[Application, ...]:
        statement, bound = (_APPLICATIONS, {}) if within is None else (_OF_SVM, {"w": within})
        return self.all(statement, bound, _application)

    def application_accounts(self, application: str) -> tuple[str, ...]:
        return self.all(_ACCOUNTS_OF, {"a": application}, lambda row: str(row.account))

    def add_application(self, application: Application) -> None:
        row = {name: getattr(application, name) for name in ("uuid", "name", "created")}
        self.change(insert(tables.applications), row | {"svm_uuid": application.svm.uuid})

    def let_into_application(self, account: str, application: str) -> None:
        self.store(_LET_IN, {"account": account, "application": application})

    def delete_application(self, uuid: str) -> None:
        self.change(_DELETE, {"u": uuid})

    # --- objects ---

    def application_object(self, application: str, identifier: str, *, lock: bool = False) -> ApplicationObject | None:
        bound = {"a": application, "u": identifier}
        found = self.one(_ONE, bound, _object)
        if found is None or not lock or not self.row_locks:
            return found
        self.lock(select(_keys.uuid).where(_keys.uuid == bindparam("u")).with_for_update(), identifier)
        return self.one(_ONE, bound, _object)

    def application_objects(self, application: str, *, name: str | None = None) -> tuple[ApplicationObject, ...]:
        if name is None:
            return self.all(_LIVE, {"a": application}, _object)
        return self.all(_LIVE_NAMED, {"a": application, "n": name}, _object)

    def application_name_is_held(self, application: str, name: str) -> bool:
        return self.one(_HOLDS_NAME, {"a": application, "n": name}, lambda row: row) is not None

    def application_object_counts(self, *, within: str | None = None) -> Mapping[str, Mapping[str, int]]:
        statement, bound = (_COUNTS, {}) if within is None else (_COUNTS_OF_SVM, {"w": within})
        found: dict[str, dict[str, int]] = {}
        for application, state, count in self.all(statement, bound, tuple):
            found.setdefault(application, {})[state] = count
        return found

    def add_application_object(self, new: ApplicationObject) -> None:
        row = {"key": new.key.uuid, "application": new.application, "created": new.key.created}
        self.change(insert(tables.application_objects), row | {"object_type": new.object_type} | _changing(new))
        self._add_names(new)

    def change_application_object(self, changed: ApplicationObject) -> None:
        self.change(_CHANGE, {"the_key": changed.key.uuid} | _changing(changed))
        self.change(_DELETE_NAMES, {"the_key": changed.key.uuid})
        self._add_names(changed)

    def _add_names(self, of: ApplicationObject) -> None:
        rows = [{"key": of.key.uuid, "name": name, "application": of.application} for name in dict.fromkeys(of.names)]
        if rows:
            self.change(insert(tables.application_object_names), rows)


def _application(row: Row[Any]) -> Application:
    return Application(row.uuid, row.name, Svm(row.svm_uuid, row.svm_name), row.created)


def _object(row: Row[Any]) -> ApplicationObject:
    content = json.loads(row.content)
    return ApplicationObject(
        key=KEY.make(row, ()),
        application=row.application,
        object_type=row.object_type,
        form=content["form"],
        stored_state=ObjectState(row.object_state),
        facts=content["facts"],
        attributes=tuple(
            ObjectAttribute(name, index, bytes.fromhex(value), text)
            for name, index, value, text in content["attributes"]
        ),
        version=row.object_version,
    )


def _changing(of: ApplicationObject) -> Parameters:
    """Return the columns of an object that may change."""
    attributes = [[each.name, each.index, each.value.hex(), each.text] for each in of.attributes]
    content = {"form": dict(of.form), "facts": dict(of.facts), "attributes": attributes}
    return {"state": of.stored_state.value, "content": json.dumps(content), "version": of.version}
