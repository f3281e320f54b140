"""Both engines side by side: whatever is done, in whatever order, they answer alike."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from keystead.core.model import Account, Certificate, Cluster, DataKey, KeyManager, KeyServer, Node, Release, Role, Svm
from keystead.core.server_address import ServerAddress
from keystead.service.ports.page import Page
from keystead.service.ports.store import StoreError
from keystead.store import open_store
from keystead.store.upgrade import upgrade
from tests.store import samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.service.ports.store import Transaction
    from tests.peers.postgres import PostgresServer

# Few names, so that they meet; letters of other sizes and scripts, because collations differ.
names = st.sampled_from(["a", "A", "b", "ä", "a b", "-a", "Z", ""])
svms = st.builds(Svm, names, names)
owners = st.none() | st.sampled_from([Svm("a", "a"), Svm("b", "b"), Svm("A", "A")])
secrets = st.none() | st.binary(max_size=3)
certificates = st.builds(
    lambda uuid, svm, name, inner, key: samples.certificate(
        uuid, svm, name=name, intermediates=tuple(inner), sealed_private_key=key
    ),
    *(names, owners, names, st.lists(names, max_size=3), secrets),
)
key_managers = st.builds(KeyManager, names, owners, st.booleans(), names, st.lists(names, max_size=3).map(tuple))
hosts = st.sampled_from(["h", "H", "h.", "::1", "0::1", "i"])
key_servers = st.builds(
    lambda uuid, manager, position, host, secondaries, password: KeyServer(
        *(uuid, manager, position, ServerAddress(host, 1), -1, 0, "", tuple(secondaries)), sealed_password=password
    ),
    *(names, names, st.integers(0, 3), hosts, st.lists(names, max_size=3), secrets),
)
nodes = st.builds(Node, names, names, st.builds(Release, *[st.integers(0, 20)] * 3))
accounts = st.builds(Account, names, st.sampled_from(Role), names)
steps = st.one_of(
    st.builds(lambda value: ("add_svm", value), svms),
    st.builds(lambda value: ("add_certificate", value), certificates),
    st.builds(lambda value: ("delete_certificate", value), names),
    st.builds(lambda value: ("add_key_manager", value), key_managers),
    st.builds(lambda value: ("add_key_servers", value), st.lists(key_servers, max_size=3)),
    st.builds(lambda value: ("put_node", value), nodes),
    st.builds(lambda value: ("put_account", value), accounts),
    st.builds(lambda value: ("put_cluster", value), st.builds(Cluster, names, names, st.booleans())),
    st.builds(lambda value: ("add_data_key", value), st.builds(DataKey, st.integers(1, 3), secrets, secrets)),
)


class BothEngines(RuleBasedStateMachine):
    """A fresh SQLite file and a fresh PostgreSQL database for each example."""

    server: ClassVar[PostgresServer]

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.runner = self.stack.enter_context(asyncio.Runner())
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        url = f"sqlite:///{Path(folder) / 'keystead.db'}"
        upgrade(url)
        self.stores = [open_store(url), open_store(self.stack.enter_context(self.server.database()))]
        for store in self.stores:
            self.runner.run(store.write(lambda tx: [tx.add_svm(Svm(name, name)) for name in ("a", "b")]))

    def teardown(self) -> None:
        for store in self.stores:
            self.runner.run(store.close())
        self.stack.close()

    def alike(self, *, write: bool, work: Callable[[Transaction], object]) -> None:
        """Run a function on both and compare what it returns, or what kind of refusal it meets."""
        outcomes = []
        for store in self.stores:
            try:
                outcomes.append(self.runner.run(store.write(work) if write else store.read(work)))
            except StoreError as error:
                outcomes.append(type(error))
        assert outcomes[0] == outcomes[1]

    @rule(steps=st.lists(steps, min_size=1, max_size=3))
    def write(self, steps: list[tuple[str, Any]]) -> None:
        """One transaction of some changes."""
        self.alike(write=True, work=lambda tx: [getattr(tx, name)(value) for name, value in steps])

    @rule(
        kind=st.sampled_from([Certificate, KeyManager, Svm, Node]),
        owner=st.none() | names,
        limit=st.integers(1, 3),
        after=st.none() | st.sampled_from(["a", "b"]),
    )
    def page(self, kind: type[Any], owner: str | None, limit: int, after: str | None) -> None:
        """A page, restricted by an SVM where the kind has one."""
        equals = {"svm_name": owner} if kind in {Certificate, KeyManager} else {}
        page = Page(after=None if after is None else (after,), limit=limit).within(**equals)
        self.alike(write=False, work=lambda tx: tx.page(kind, page))

    @invariant()
    def same_content(self) -> None:
        """Everything that can be read is the same."""
        every = ("a", "A", "b", "ä", "a b", "-a", "Z", "")
        self.alike(
            write=False,
            work=lambda tx: [
                *(tx.cluster(), tx.nodes(), tx.data_keys(), tx.key_manager_of(None), tx.key_manager_of("a")),
                *([tx.certificate(name) for name in every], [tx.key_manager(name) for name in every]),
                *([tx.key_servers(name) for name in every], [tx.account(name) for name in every]),
                *([bool(tx.certificate_users(name)) for name in every], [tx.svm_named(name) for name in every]),
            ],
        )


def _check_sequences(server: PostgresServer, examples: int, steps_in_one: int) -> None:
    run_state_machine_as_test(
        type("OnThisServer", (BothEngines,), {"server": server}),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps_in_one,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_both_engines_answer_alike(postgres: PostgresServer) -> None:
    """A few sequences of changes and reads have the same results on both engines."""
    _check_sequences(postgres, 5, 10)


@pytest.mark.long
def test_both_engines_answer_alike_for_long(postgres: PostgresServer) -> None:
    """Many sequences of changes and reads have the same results on both engines."""
    _check_sequences(postgres, 60, 30)
