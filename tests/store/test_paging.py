"""keystead.store.paging: SQL on each engine finds the same rows in the same order as the rules in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keystead.core.model import Certificate, CertificateType, Job, JobState, KeyManager, KeyServer, Svm
from keystead.core.query.where import Condition, Op, Order, holds
from keystead.service.ports.page import Page
from keystead.store.kinds import CERTIFICATE, JOB, KEY_MANAGER, KEY_SERVER
from tests.store import samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.query.where import Where
    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore
    from keystead.store.kinds import Kind

WORDS = (
    *("", "a", "A", "b", "ab", "a b", "ä", "-", "*", "a*b", "%", "a%b", "_", "?", "[a]", "\\", "a\\b", "'", "Z"),
    *("\U0001f511", "null", "aaab"),
)
SVMS = [Svm(f"svm-{place}", name) for place, name in enumerate(["b", "B", "ä", "a_", "[z]"])]
TIMES = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=step) for step in (0, 0.5, 1, 86400)]
OWNERS = [None, None, *SVMS[:4]]

CERTIFICATES = tuple(
    samples.certificate(
        f"c{place:02}",
        OWNERS[place % len(OWNERS)],
        name=f"{WORDS[place % len(WORDS)]}{place // len(WORDS) or ''}",
        common_name=WORDS[place * 7 % len(WORDS)],
        type=list(CertificateType)[place % 5],
        key_size=place % 4,
        expiry_time=TIMES[place % 4],
        intermediates=("first", "second")[: place % 3],
    )
    for place in range(44)
)
MANAGERS = tuple(
    replace(
        samples.key_manager(uuid, OWNERS[place % len(OWNERS)], enabled=place == 0),
        policy=WORDS[place],
        server_ca_certificates=("ca", "b", "a*b")[: place % 4],
        min_copies=place % 5,
        monitor_interval=place % 3,
    )
    for place, uuid in enumerate(["Z", *(f"k{number:02}" for number in range(len(WORDS) - 1))])
)
SERVERS = tuple(
    samples.key_server(position, address, manager="k01", timeout=position % 3 - 1)
    for position, address in enumerate(["b:1", "B:2", "10.0.0.1", "[::1]:7"])
)
JOBS = tuple(
    Job(
        uuid=f"j{place}",
        node="n",
        svm=OWNERS[place % len(OWNERS)],
        account="admin",
        description=WORDS[place],
        state=list(JobState)[place % 5],
        message="",
        code=place % 3,
        target="",
        start_time=TIMES[place % 4],
        end_time=None if place % 3 == 0 else TIMES[place % 2],
    )
    for place in range(9)
)
KINDS: tuple[tuple[Kind[Any], tuple[Any, ...]], ...] = (
    (CERTIFICATE, CERTIFICATES),
    (KEY_MANAGER, MANAGERS),
    (KEY_SERVER, SERVERS),
    (JOB, JOBS),
)
NUMBERS = {
    *("key_size", "position", "timeout", "server_timeout", "create_remove_timeout", "enabled", "code", "min_copies"),
    "monitor_interval",
}
MOMENTS = {"expiry_time", "not_before", "start_time", "end_time"}


def value_of(model: Any, name: str) -> Any:
    """Return what a column of the page holds for a model value, None when unset."""
    match name:
        case "svm_uuid" | "svm_name":
            return model.svm and getattr(model.svm, name.removeprefix("svm_"))
        case "scope":
            return "cluster" if model.svm is None else "svm"
        case "address":
            return model.address.key
    return getattr(model, name)


def values_of(model: Any, name: str) -> list[Any]:
    """Return what a model value and what belongs to it have for a name that restricts pages."""
    servers = [server for server in SERVERS if server.key_manager == model.uuid]
    match name:
        case "server_ca_certificate":
            return list(model.server_ca_certificates)
        case "server_address":
            return [server.address.key for server in servers]
        case "server_timeout" | "server_username":
            return [getattr(server, name.removeprefix("server_")) for server in servers]
    value = value_of(model, name)
    return [] if value is None else [value]


def found_in_memory(kind: Kind[Any], models: Sequence[Any], where: Where, order: Sequence[Order]) -> list[Any]:
    """Return what a page without end holds, computed without SQL."""
    found = [model for model in models if holds(where, lambda item, model=model: values_of(model, item.name))]  # type: ignore[misc]
    for key in reversed([*order, Order(kind.order)]):
        unset = [model for model in found if value_of(model, key.name) is None]
        there = [model for model in found if value_of(model, key.name) is not None]
        there.sort(key=lambda model: value_of(model, key.name), reverse=key.descending)
        found = unset + there if key.descending else there + unset
    return found


texts = st.sampled_from(WORDS) | st.sampled_from(["b", "svm-1", "cluster", "svm", "client", "c01", "k02", "ca", "user"])
numbers = st.integers(-2, 5) | st.sampled_from([2**40, -(2**40), 2**63, 2**70, -(2**70)])
moments = st.sampled_from(TIMES).map(lambda time: time.astimezone(timezone(timedelta(hours=3))))
pieces = st.lists(st.sampled_from([*WORDS, "c", "0"]), min_size=1, max_size=4).map(tuple)


@st.composite
def conditions(draw: st.DrawFn, kind: Kind[Any]) -> Condition:
    """Return any condition on any column of a kind."""
    name = draw(st.sampled_from(sorted(kind.filters)))
    operands: Any = numbers if name in NUMBERS else moments if name in MOMENTS else texts
    textual = name not in NUMBERS | MOMENTS
    op = draw(st.sampled_from([op for op in Op if textual or op is not Op.LIKE]))
    operand = None
    if op is Op.LIKE:
        operand = draw(pieces)
    elif op is Op.RANGE:
        operand = draw(st.tuples(operands, operands))
    elif op is not Op.UNSET:
        operand = draw(operands)
    return Condition(name, op, operand, draw(st.booleans()))


@st.composite
def lists(draw: st.DrawFn) -> tuple[Kind[Any], tuple[Any, ...], Where, tuple[Order, ...]]:
    """Return a kind, its rows, and what is asked of them."""
    kind, models = draw(st.sampled_from(KINDS))
    clause = st.lists(conditions(kind), min_size=1, max_size=3).map(tuple)
    names = draw(st.lists(st.sampled_from(sorted(kind.columns)), unique=True, max_size=3))
    order = tuple(Order(name, draw(st.booleans())) for name in names)
    return kind, models, tuple(draw(st.lists(clause, max_size=2))), order


@pytest.fixture
async def listed(store: SqlStore) -> SqlStore:
    """Return a store with all these rows."""

    def work(tx: Transaction) -> None:
        for svm in SVMS:
            tx.add_svm(svm)
        for certificate in CERTIFICATES:
            tx.add_certificate(certificate)
        for manager in MANAGERS:
            tx.add_key_manager(manager)
        tx.add_key_servers(SERVERS)
        for job in JOBS:
            tx.add_job(job)

    await store.write(work)
    return store


@pytest.mark.long
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=lists(), offset=st.integers(0, 5))
async def test_sql_finds_what_memory_finds(listed: SqlStore, asked: Any, offset: int) -> None:
    """Any conditions and any order, on both engines."""
    kind, models, where, order = asked
    page = Page(where, order, offset=offset, limit=100)
    rows = await listed.read(lambda tx: tx.page(kind.model, page))
    assert list(rows) == found_in_memory(kind, models, where, order)[offset:]


@pytest.mark.long
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=lists(), limit=st.integers(1, 20))
async def test_pages_put_together_are_the_list(listed: SqlStore, asked: Any, limit: int) -> None:
    """Pages together have every row once, in any order, also with unset values."""
    kind, models, where, order = asked
    keys = order if any(key.name == kind.order for key in order) else (*order, Order(kind.order))
    page = Page(where, order, limit=limit)
    found: list[Any] = []
    while rows := await listed.read(lambda tx: tx.page(kind.model, page)):  # noqa: B023 - run at once
        found += rows
        page = replace(page, after=tuple(value_of(rows[-1], key.name) for key in keys))
    assert found == found_in_memory(kind, models, where, order)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("name", ["svm_name", "svm_uuid", "scope"])
async def test_a_page_goes_on_from_what_is_unset(listed: SqlStore, name: str, descending: bool) -> None:
    """Pages continue from unset values to set values and the reverse, whatever the later orders are."""
    order = (Order(name, descending), Order("policy", descending=True))
    page = Page(order=order, limit=2)
    found: list[KeyManager] = []
    while rows := await listed.read(lambda tx: tx.page(KeyManager, page)):  # noqa: B023 - run at once
        found += rows
        page = replace(page, after=(value_of(rows[-1], name), rows[-1].policy, rows[-1].uuid))
    assert found == found_in_memory(KEY_MANAGER, MANAGERS, (), order)


async def the_rest(store: SqlStore, page: Page, rows: Sequence[KeyManager]) -> list[KeyManager]:
    """Return the rows of all pages from these on."""
    found: list[KeyManager] = []
    while rows:
        found += rows
        page = replace(page, after=(value_of(rows[-1], "svm_name"), rows[-1].policy, rows[-1].uuid))
        rows = await store.read(lambda tx: tx.page(KeyManager, page))  # noqa: B023 - run at once
    return found


async def test_a_page_goes_on_where_it_was_when_rows_are_added(listed: SqlStore) -> None:
    """A row added before the position is not shown, a row added after it is, and no row comes twice."""
    order = (Order("svm_name"), Order("policy", descending=True))
    page = Page(order=order, limit=5)
    first = await listed.read(lambda tx: tx.page(KeyManager, page))
    new = [replace(samples.key_manager(uuid, SVMS[1], enabled=False), policy="zz") for uuid in ("new-1", "new-2")]
    late = replace(samples.key_manager("new-3", None, enabled=False), policy="")

    def add(tx: Transaction) -> None:
        for manager in (*new, late):
            tx.add_key_manager(manager)

    await listed.write(add)
    found = await the_rest(listed, page, first)
    seen = [manager.uuid for manager in found]
    assert len(seen) == len(set(seen)) == len(MANAGERS) + 1
    assert "new-3" in seen
    assert "new-1" not in seen


async def test_an_empty_text_may_be_left_out_of_the_place(listed: SqlStore) -> None:
    """None counts as the empty text for a column that is never unset, because clients drop empty parameters."""
    for empty in ("", None):
        page = Page(order=(Order("policy"),), after=(empty, "A"), limit=1)
        (row,) = await listed.read(lambda tx: tx.page(KeyManager, page))  # noqa: B023 - run at once
        assert (row.uuid, row.policy) == ("Z", "")


async def test_a_place_without_a_number_is_no_fault(listed: SqlStore) -> None:
    """A position without a number continues as if the order began after it."""
    page = Page(order=(Order("enabled"), Order("policy")), after=(None, "Z", "k"), limit=100)
    rows = await listed.read(lambda tx: tx.page(KeyManager, page))
    assert {row.policy >= "Z" for row in rows} == {True}


@pytest.mark.parametrize("kind", [Certificate, KeyManager, KeyServer])
async def test_within_restricts_and_never_replaces(listed: SqlStore, kind: type[Any]) -> None:
    """Two contradicting restrictions of one column find nothing."""
    column = "key_manager" if kind is KeyServer else "svm_name"
    assert await listed.read(lambda tx: tx.page(kind, Page().within(**{column: "B"}).within(**{column: "b"}))) == ()
