"""Rows of the cluster, its nodes, accounts, roles, data keys and options, as a transaction reads and writes them."""

# ruff: noqa: D102, SLF001 - the port documents the methods; Row._mapping is SQLAlchemy's public name
from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, insert, null, select, true, update

from keystead.core.model import Cluster, DataKey, LoginMessages, Options
from keystead.store import tables
from keystead.store.kinds import ACCOUNT, NODE, node_of, role_of
from keystead.store.statements import Statements, owner_of, storing

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from keystead.core.model import Account, Contact, CustomRole, Node, NodeProcess, Svm

_ALL_NODES = NODE.everything
_CLUSTER = select(tables.cluster)
_CLUSTER_AND_NODES = (
    select(
        tables.cluster.c.uuid.label("cluster_uuid"),
        tables.cluster.c.name.label("cluster_name"),
        tables.cluster.c.metrocluster,
        *tables.nodes.c,
    )
    .select_from(tables.cluster.join(tables.nodes, true()))
    .order_by(tables.nodes.c.uuid)
)
_LOCK_CLUSTER = select(tables.cluster.c.id).with_for_update()
_PUT_CLUSTER = storing(tables.cluster, "id")
_PUT_NODE = storing(tables.nodes, "uuid")
_DOUBT_CLOCK = (
    update(tables.nodes).where(tables.nodes.c.uuid == bindparam("u")).values(clock_doubted=bindparam("doubted"))
)
_HEAR_NODE = (
    update(tables.nodes)
    .where(tables.nodes.c.uuid == bindparam("u"))
    .values(heard_at=bindparam("t"), reported=bindparam("r"), starting=0)
)
_TOUCH_NODE = update(tables.nodes).where(tables.nodes.c.uuid == bindparam("u")).values(name=tables.nodes.c.name)
_START_NODE = (
    update(tables.nodes)
    .where(tables.nodes.c.uuid == bindparam("u"))
    .values(
        starting=1,
        has_left=0,
        schema=tables.HEAD,
        process=bindparam("token"),
        keystead_release=bindparam("release"),
        place=bindparam("place"),
        public_key="",
        reads_until=null(),
    )
)
_REACH_NODE = (
    update(tables.nodes)
    .where(tables.nodes.c.uuid == bindparam("u"))
    .values(
        address=bindparam("address"),
        certificate=bindparam("certificate"),
        public_key=bindparam("public_key"),
        proxies=bindparam("proxies"),
        reads_until=bindparam("t"),
    )
)
_PROCESS = select(tables.nodes.c.process).where(tables.nodes.c.uuid == bindparam("u"))
_LOCKED_PROCESS = _PROCESS.with_for_update(key_share=True, read=True)
_DELETE_NODE = delete(tables.nodes).where(tables.nodes.c.uuid == bindparam("u"))
_DELETE_OBSERVATIONS = delete(tables.observations).where(tables.observations.c.node == bindparam("u"))
_LEAVE_NODE = update(tables.nodes).where(tables.nodes.c.uuid == bindparam("u")).values(has_left=1)
_ACCOUNT = ACCOUNT.where(name="n")
_ACCOUNT_ALIKE = ACCOUNT.everything.where(func.lower(tables.accounts.c.name) == bindparam("n"))
_UPDATE_ACCOUNT = (
    update(tables.accounts)
    .where(tables.accounts.c.name == bindparam("n"))
    .values(
        role=bindparam("r"),
        password_hash=bindparam("p"),
        svm_uuid=bindparam("s"),
        certificate=bindparam("c"),
        locked=bindparam("l"),
        comment=bindparam("t"),
        version=tables.accounts.c.version + 1,
    )
)
_NOTE_FIRST_READ = (
    update(tables.accounts)
    .where(tables.accounts.c.name == bindparam("n"), tables.accounts.c.has_read_keys == 0)
    .values(has_read_keys=1)
)
_DELETE_ACCOUNT = delete(tables.accounts).where(tables.accounts.c.name == bindparam("n"))
_ROLES = (
    select(*tables.roles.c, tables.svms.c.name.label("svm_name"))
    .select_from(tables.roles.outerjoin(tables.svms))
    .where(tables.roles.c.owner.in_(bindparam("owners", expanding=True)))
    .order_by(tables.roles.c.owner, tables.roles.c.name)
)
_ROLE_AT = (tables.roles.c.owner == bindparam("o"), tables.roles.c.name == bindparam("n"))
_UPDATE_ROLE = update(tables.roles).where(*_ROLE_AT).values(privileges=bindparam("p"))
_DELETE_ROLE = delete(tables.roles).where(*_ROLE_AT)
_ROLE_USED = (
    select(tables.accounts.c.name)
    .where(
        tables.accounts.c.role == bindparam("n"),
        func.coalesce(tables.accounts.c.svm_uuid, tables.CLUSTER) == bindparam("o"),
    )
    .order_by(tables.accounts.c.name)
    .limit(1)
)
_MESSAGES = select(tables.login_messages).where(tables.login_messages.c.owner.in_(bindparam("owners", expanding=True)))
_PUT_MESSAGES = storing(tables.login_messages, "owner")
_OPTIONS = select(tables.options)
_OPTION_DEFAULTS = asdict(Options())
_DATA_KEYS = select(tables.data_keys).order_by(tables.data_keys.c.id)


class AdministrationRows(Statements):
    """The rows of the cluster and its administration."""

    def cluster(self, *, lock: bool = False) -> Cluster | None:
        if lock and self.row_locks:
            self.all(_LOCK_CLUSTER, {}, lambda row: row)
        return self.one(_CLUSTER, {}, lambda row: Cluster(row.uuid, row.name, bool(row.metrocluster)))

    def cluster_and_nodes(self) -> tuple[Cluster | None, tuple[Node, ...]]:
        rows = self.all(
            _CLUSTER_AND_NODES,
            {},
            lambda row: (Cluster(row.cluster_uuid, row.cluster_name, bool(row.metrocluster)), node_of(row)),
        )
        return (rows[0][0] if rows else None), tuple(node for _, node in rows)

    def put_cluster(self, cluster: Cluster) -> None:
        self.reconfigured = True
        self.store(_PUT_CLUSTER, asdict(cluster) | {"id": 1, "metrocluster": int(cluster.metrocluster)})

    def nodes(self) -> tuple[Node, ...]:
        return self.values_of(NODE, _ALL_NODES, {})

    def put_node(self, node: Node) -> None:
        self.store(_PUT_NODE, {"uuid": node.uuid, "name": node.name} | asdict(node.release))

    def doubt_clock(self, node: str, *, doubted: bool) -> None:
        self.change(_DOUBT_CLOCK, {"u": node, "doubted": int(doubted)})

    def start_node(self, uuid: str, process: NodeProcess) -> bool:
        return bool(self.change(_START_NODE, {"u": uuid} | asdict(process)))

    def process_of(self, uuid: str) -> str | None:
        statement = _LOCKED_PROCESS if self.row_locks else _PROCESS
        return self.one(statement, {"u": uuid}, lambda row: str(row.process or ""))

    def delete_node(self, uuid: str) -> None:
        self.change(_DELETE_NODE, {"u": uuid})
        self.change(_DELETE_OBSERVATIONS, {"u": uuid})

    def leave_node(self, uuid: str) -> None:
        self.change(_LEAVE_NODE, {"u": uuid})

    def touch_node(self, uuid: str) -> None:
        self.change(_TOUCH_NODE, {"u": uuid})

    def reach_node(self, uuid: str, contact: Contact, reads_until: datetime | None) -> None:
        self.change(_REACH_NODE, asdict(contact) | {"u": uuid, "t": reads_until, "proxies": " ".join(contact.proxies)})

    def hear_node(self, uuid: str, reported: datetime) -> None:
        self.change(_HEAR_NODE, {"u": uuid, "t": self.now(), "r": reported})

    def account(self, name: str) -> Account | None:
        return self.value_of(ACCOUNT, _ACCOUNT, {"n": name})

    def account_alike(self, name: str) -> Account | None:
        return self.value_of(ACCOUNT, _ACCOUNT_ALIKE, {"n": name.lower()})

    def put_account(self, account: Account) -> None:
        row = {
            "name": account.name,
            "role": account.role.value,
            "password_hash": account.password_hash,
            "svm_uuid": account.svm.uuid if account.svm else None,
            "certificate": int(account.certificate),
            "locked": int(account.locked),
            "comment": account.comment,
        }
        bound = dict(zip("nrpsclt", row.values(), strict=True))
        if not self.reconfigure(_UPDATE_ACCOUNT, bound):
            self.change(insert(tables.accounts), row | {"version": account.version})

    def note_first_read(self, name: str) -> Account | None:
        return self.account(name) if self.change(_NOTE_FIRST_READ, {"n": name}) else None

    def delete_account(self, name: str) -> None:
        self.reconfigure(_DELETE_ACCOUNT, {"n": name})

    def custom_roles(self, owners: Collection[Svm | None]) -> tuple[CustomRole, ...]:
        return self.all(_ROLES, {"owners": [owner_of(svm)["owner"] for svm in owners]}, role_of)

    def put_role(self, role: CustomRole) -> None:
        owner = owner_of(role.svm)
        privileges = json.dumps({row.path: row.access.value for row in role.privileges})
        if not self.reconfigure(_UPDATE_ROLE, {"o": owner["owner"], "n": role.name, "p": privileges}):
            self.change(insert(tables.roles), {**owner, "name": role.name, "privileges": privileges})

    def delete_role(self, role: CustomRole) -> None:
        self.reconfigure(_DELETE_ROLE, {"o": owner_of(role.svm)["owner"], "n": role.name})

    def role_user(self, role: CustomRole) -> str | None:
        return self.one(_ROLE_USED, {"o": owner_of(role.svm)["owner"], "n": role.name}, lambda row: str(row.name))

    def login_messages(self, owners: Sequence[Svm | None]) -> tuple[LoginMessages, ...]:
        wanted = {owner_of(svm)["owner"]: svm for svm in owners}
        stored = self.all(
            _MESSAGES,
            {"owners": list(wanted)},
            lambda row: LoginMessages(wanted[row.owner], row.banner, row.message, bool(row.show_cluster_message)),
        )
        found = {messages.svm: messages for messages in stored}
        return tuple(found.get(svm, LoginMessages(svm)) for svm in owners)

    def put_login_messages(self, messages: LoginMessages) -> None:
        shown = {"banner": messages.banner, "message": messages.message}
        row = owner_of(messages.svm) | shown | {"show_cluster_message": int(messages.show_cluster_message)}
        self.store(_PUT_MESSAGES, row)

    def options(self) -> Options:
        stored = self.all(_OPTIONS, {}, lambda row: (row.name, json.loads(row.value)))
        return Options(**{name: value for name, value in stored if name in _OPTION_DEFAULTS})

    def put_options(self, options: Options) -> None:
        self.change(delete(tables.options), {})
        rows = [
            {"name": name, "value": json.dumps(value)}
            for name, value in asdict(options).items()
            if value != _OPTION_DEFAULTS[name]
        ]
        if rows:
            self.change(insert(tables.options), rows)

    def data_keys(self) -> tuple[DataKey, ...]:
        return self.all(_DATA_KEYS, {}, lambda row: DataKey(**row._mapping))

    def add_data_key(self, key: DataKey) -> None:
        self.change(insert(tables.data_keys), asdict(key))
