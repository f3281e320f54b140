"""Any query string on any path that is read: an answer or ONTAP's error body, never a 5xx, soon."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keystead.api.resources import PATHS, RESOURCES
from keystead.core.model import KeyManager, Svm
from tests.store import samples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.api.resource import Field, Resource
    from keystead.api.values import Type
    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki

UUID = "11111111-1111-4111-8111-111111111111"
FIELDS = sorted({name for resource in RESOURCES for name in resource.fields})
STARTS = sorted({f"start.{name}" for resource in RESOURCES for name in [resource.order[0], *resource.fields]})
COMMON = {
    "fields": [
        *("*", "**", "", "!uuid", "external.{servers.{server,timeout},!x}", "svm.{", "nosuch", "password"),
        *FIELDS,
    ],
    "order_by": [*FIELDS, "svm.name desc,uuid", "enabled,svm.name", "name asc,name", ",", "x y z"],
    "$orderBy": ["uuid desc"],
    "query": ["a", "a*|b c", '"', "*", "{a b}", "svm"],
    "query_fields": ["*", "**", "svm", "name,uuid", "!name", "name,name", "external", *FIELDS],
    "max_records": ["1", "2", "100000", "0"],
    "offset": ["0", "1", "2147483647", "99999999999"],
    "return_timeout": ["0", "15"],
    "return_records": ["false", "True"],
    "ignore_unknown_fields": ["true"],
    "return_unmatched_nested_array_objects": ["false", "true", "x"],
    "pretty": ["true"],
    "serial_records": ["true"],
    "continue_on_failure": ["false"],
    "job_results_uuid": [UUID],
    "dry_run": ["true"],
}
WORDS = [
    *("true", "False", "1", "-1", "25", "99999999999999999999", "9" * 30, "cluster", "svm", "client", UUID),
    *("2026-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-01-01", "a.example:5696"),
    *("[::1]", "10.0.0.1", "name", "null", "", "%", "_", "\\", "'", "\ud7ff", "\U0010ffff", "x" * 300),
]  # fmt: skip

TOO_LONG_S = 10

words = st.sampled_from(WORDS) | st.text(max_size=5)
filters = st.lists(
    st.sampled_from(["", "!", "<", ">=", "*", "..", "|", '"', "{", "}"]) | words, min_size=1, max_size=4
).map("".join)


def fitting(type_: Type) -> list[str]:
    """Return the words that are values of a type."""
    found = []
    for word in WORDS:
        with contextlib.suppress(ValueError):
            type_.parse(word)
            found.append(word)
    return found or WORDS


def sound(fields: Mapping[str, Field], name: str) -> st.SearchStrategy[str]:
    """Filters that the grammar and the field's type accept."""
    one = st.sampled_from(fitting(fields[name].type)).map(lambda word: f"{{{word}}}" if word else '""')
    single = (
        one
        | st.tuples(st.sampled_from(["!", "<", ">=", "!<="]), one).map("".join)
        | st.tuples(one, st.just(".."), one).map("".join)
        | st.sampled_from(["*", "a*", "*1*", "null", "!null"])
    )
    return st.lists(single, min_size=1, max_size=3).map("|".join)


@st.composite
def parameters(draw: st.DrawFn, resource: Resource) -> str:
    """One parameter: a filter of a field, one that every list takes, a place, or anything."""
    names = st.sampled_from(sorted(resource.fields))
    match draw(st.integers(0, 19)):
        case 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7:
            name = draw(names)
            value = draw(sound(resource.fields, name))
        case 8:
            name, value = draw(names), draw(filters)
        case 9 | 10 | 11 | 12:
            name = draw(st.sampled_from(sorted(COMMON)))
            value = draw(st.sampled_from(COMMON[name]) | filters)
        case 13 | 14:
            name = draw(st.sampled_from(["fields", "order_by"]))
            value = ",".join(draw(st.lists(names, max_size=3)))
        case 15 | 16:
            return f"query={quote(draw(words))}&query_fields={draw(names)}"
        case 17 | 18:
            name, value = draw(st.sampled_from(STARTS)), draw(words)
        case _:
            return draw(st.text(max_size=8)) if draw(st.booleans()) else "%zz=%ff"
    return f"{quote(name)}={quote(value, errors='surrogatepass')}"


READ = {path: operations["GET"].resource for path, operations in PATHS.items() if "GET" in operations}


def _name(parameter: str) -> str:
    return parameter.partition("=")[0]


@st.composite
def urls(draw: st.DrawFn) -> str:
    """Return a path that can be read, of something that is there or not, with a few parameters."""
    path = draw(st.sampled_from(sorted(READ)))
    several = st.lists(parameters(READ[path]), min_size=1, max_size=3, unique_by=_name)
    keys = st.sampled_from([*[UUID] * 9, "host0.example:5696", "x", "client"])
    path = re.sub(r"\{[^}]*\}", lambda _: draw(keys), path)
    return f"{path}?" + "&".join(draw(several))


async def fill(api: Api, pem: str) -> None:
    """Something to compare with: of an SVM and of the cluster."""

    def work(tx: Transaction) -> None:
        if tx.svm(UUID) is not None:
            return
        svm = Svm(UUID, "vs0")
        tx.add_svm(svm)
        tx.add_certificate(samples.certificate(UUID, svm, public_certificate=pem))
        other = UUID.replace("1", "2")
        tx.add_certificate(samples.certificate(other, None, name="a*b", common_name="%", public_certificate=pem))
        tx.add_key_manager(KeyManager(UUID, svm, enabled=True, client_certificate=UUID, server_ca_certificates=(UUID,)))
        tx.add_key_manager(KeyManager(other, None, enabled=True, client_certificate="", server_ca_certificates=()))
        tx.add_key_servers([samples.key_server(position, manager=UUID) for position in range(3)])

    await api.store.write(work)


async def check(api: Api, pki: Pki, url: str) -> None:
    """Ask, and follow what it says is the next page."""
    await fill(api, pki.server_ca.pem)
    for _ in range(3):
        async with asyncio.timeout(TOO_LONG_S):
            answer = await api.admin.get(url.replace("#", "%23"))
        assert 200 <= answer.status < 500, answer.content
        body: dict[str, Any] = {}
        if answer.headers["content-type"].endswith("json"):
            body = answer.body
        if answer.status >= 400:
            assert set(body) == {"error"}
            assert {"message", "code"} <= set(body["error"])
        url = body.get("_links", {}).get("next", {}).get("href", "")
        if not url:
            return


LISTS: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@settings(max_examples=200, **LISTS)
@given(url=urls())
async def test_any_query_is_answered_or_refused(api: Api, pki: Pki, url: str) -> None:
    """200 requests; the next link of an answer is answered too."""
    await check(api, pki, url)


@pytest.mark.long
@settings(max_examples=20_000, **LISTS)
@given(url=urls())
async def test_any_query_is_answered_or_refused_at_length(api: Api, pki: Pki, url: str) -> None:
    """20,000 requests."""
    await check(api, pki, url)
