"""Lists over the whole service: filters, orders, pages and what is shown, as a client sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from keystead.api import collecting
from keystead.core import errors
from keystead.core.model import KeyManager, KeyServer, Svm
from keystead.core.server_address import ServerAddress
from tests.peers.asgi import assert_error

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api

MANAGERS = "/api/security/key-managers"
SVMS = "/api/svm/svms"
UUID = "{:08}-0000-4000-8000-000000000000"
SERVERS = ("b.example:5696", "10.0.0.1:5696", "Host.example:9", "[::1]:5696")


def server(manager: int, at: int, address: str) -> KeyServer:
    """Return a key server whose values all depend on its place."""
    uuids = UUID.format(manager * 10 + at), UUID.format(manager)
    return KeyServer(*uuids, at, ServerAddress.parse(address), 10 * at, 10, "", ("x", "y")[:at])


@pytest.fixture
async def listed(api: Api) -> Api:
    """Six key managers: the cluster's, and of SVMs vs1 to vs5; the cluster's and that of vs1 have servers."""

    def fill(tx: Transaction) -> None:
        for number in range(6):
            svm = Svm(UUID.format(100 + number), f"vs{6 - number}") if number else None
            if svm:
                tx.add_svm(svm)
            tx.add_key_manager(
                KeyManager(UUID.format(number), svm, number % 3 != 2, "none", ("none",), policy=f"p{number % 2}")
            )
        for manager, addresses in ((0, SERVERS), (5, SERVERS[:1])):
            tx.add_key_servers([server(manager, at, address) for at, address in enumerate(addresses, 1)])

    await api.store.write(fill)
    return api


async def names(api: Api, url: str) -> list[str]:
    """Return what the records of a list are called, through all its pages; nothing comes twice."""
    found: list[str] = []
    while url:
        answer = await api.admin.get(url)
        assert answer.status == 200, answer.content
        found += [record.get("server") or record["uuid"][7] for record in answer.body["records"]]
        assert len(found) == len(set(found))
        url = answer.body["_links"].get("next", {}).get("href", "")
    return found


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "012345"),
        ("svm.name=vs3", "3"),
        ("svm.name=vs*", "12345"),
        ("svm.name=*5", "1"),
        ("svm.name=VS3", ""),
        ("svm.name=!vs3", "1245"),
        ("svm.name=vs1|vs3|null", "035"),
        ("svm.name=vs2..vs4", "234"),
        ("svm.name=>vs3", "12"),
        ("svm.name=<=vs3", "345"),
        ("svm.name=null", "0"),
        ("svm.name=!null", "12345"),
        ('svm.name="vs*"', ""),
        ("svm.name={vs1}", "5"),
        ("scope=cluster", "0"),
        ("scope=svm&enabled=False", "25"),
        ("scope=<svm", "0"),
        ("enabled=fal*", "25"),
        ("external.servers.server=B.example", "05"),
        ("external.servers.server=10.*", "0"),
        ("external.servers.server=HOST.*", "0"),
        ("external.servers.server=!b.example", "0"),
        ("external.servers.server=null", "1234"),
        ("external.servers.timeout=>=40", "0"),
        ("external.servers.timeout=10&scope=svm", "5"),
        ("order_by=svm.name", "543210"),
        ("order_by=svm.name+desc", "012345"),
        ("$orderBy=enabled,svm.name%20desc", "250134"),
        ("order_by=uuid+desc", "543210"),
        ("order_by=scope,uuid+desc", "054321"),
        ("order_by=svm.name&svm.name=!vs4|null&enabled=true", "4310"),
        ("offset=2", "2345"),
        ("offset=2&order_by=svm.name", "3210"),
        ("offset=9", ""),
        ("offset=1&external.servers.server=*", "5"),
        ("query=vs3&query_fields=svm.name", "3"),
        ("query=s3|s5&query_fields=svm.name,scope", "13"),
        ("query=clus+example&query_fields=*", "0"),
        ("ignore_unknown_fields=true&foo=1&enabled=false", "25"),
    ],
)
@pytest.mark.parametrize("limit", [1, 4, 1000])
async def test_a_list_is_filtered_ordered_and_cut(listed: Api, query: str, expected: str, limit: int) -> None:
    """The same records in the same order, however many come on one page."""
    url = f"{MANAGERS}?{quote(query, safe='=&+%$.,*')}&max_records={limit}"
    assert "".join(await names(listed, url)) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [0, 1, 2, 3]),
        ("server=10.*", [1]),
        ("server=host.EXAMPLE.:9", [2]),
        ("server=[0:0::1]", [3]),
        ("server=!*:5696", [2]),
        ("server=b.example|10.0.0.1", [0, 1]),
        ("timeout=>20", [2, 3]),
        ("timeout=20..30", [1, 2]),
        ("timeout=!20..30", [0, 3]),
        ("secondary_key_servers=y", [1, 2, 3]),
        ("secondary_key_servers=x&timeout=<30", [0, 1]),
        ("order_by=server+desc", [2, 0, 1, 3]),
        ("order_by=username,timeout+desc", [3, 2, 1, 0]),
        ("username=", [0, 1, 2, 3]),
        ("username=%22%22", [0, 1, 2, 3]),
        ("username=*", [0, 1, 2, 3]),
        ("username=null", []),
    ],
)
@pytest.mark.parametrize("limit", [1, 3])
async def test_key_servers_are_filtered_and_ordered(listed: Api, query: str, expected: list[int], limit: int) -> None:
    """Addresses by meaning, patterns by what is shown, arrays by any element."""
    url = f"{MANAGERS}/{UUID.format(0)}/key-servers?{query}&max_records={limit}"
    assert await names(listed, url) == [SERVERS[place] for place in expected]


async def test_a_field_that_is_filtered_by_is_shown(listed: Api) -> None:
    """Not one that is ordered or searched by."""
    url = f"{MANAGERS}?svm.name=vs1&order_by=enabled&query=svm&query_fields=scope"
    (record,) = (await listed.admin.get(url)).body["records"]
    assert {name for name in record if name != "_links"} == {"uuid", "svm", "configuration", "enabled"}
    assert record["svm"]["name"] == "vs1"


async def test_fields_with_braces_and_exclusions(listed: Api) -> None:
    """As ONTAP's guide writes them."""
    url = f"{MANAGERS}/{UUID.format(5)}?fields=svm.%7Bname%7D,external.servers,!external.servers.%7Btimeout,username%7D"
    record = (await listed.admin.get(url, headers={"accept": "application/json"})).body
    assert record["svm"] == {"name": "vs1"}
    assert record["external"]["servers"] == [{"server": "b.example:5696", "secondary_key_servers": "x"}]
    assert_error(await listed.admin.get(f"{MANAGERS}?fields=nosuch"), errors.INVALID_FIELDS_VALUE, "fields")
    assert (await listed.admin.get(f"{MANAGERS}?fields=nosuch&ignore_unknown_fields=true")).status == 200


@pytest.mark.parametrize("path", [MANAGERS, f"{MANAGERS}/{UUID.format(0)}"])
async def test_unmatched_elements_of_arrays_can_be_left_out(listed: Api, path: str) -> None:
    """Of each array of objects, those that a filter is about; by default all stay."""

    async def servers(query: str) -> list[str]:
        body = (await listed.admin.get(f"{path}?{query}")).body
        record = body["records"][0] if "records" in body else body
        return [shown["server"] for shown in record["external"]["servers"]]

    chosen = "external.servers.timeout=20|30&external.servers.server=!host.example:9"
    assert await servers(chosen) == list(SERVERS)
    assert await servers(f"{chosen}&return_unmatched_nested_array_objects=true") == list(SERVERS)
    assert await servers(f"{chosen}&return_unmatched_nested_array_objects=False") == [SERVERS[1]]


async def test_one_object_is_not_filtered_by_its_own_fields(listed: Api) -> None:
    """262250; what stands in its arrays can be."""
    refused = await listed.admin.get(f"{MANAGERS}/{UUID.format(0)}?enabled=true")
    assert_error(refused, errors.FIELD_NOT_QUERYABLE, "enabled")
    answer = await listed.admin.get(f"{MANAGERS}/{UUID.format(0)}?external.servers.server=nosuch")
    assert len(answer.body["external"]["servers"]) == 4


async def test_the_partial_counts_of_pages_add_up(listed: Api) -> None:
    """``return_records=false`` counts; the next link is there whatever ``Accept`` says, and in the Link header."""
    url, counted = f"{MANAGERS}?return_records=false&max_records=4&order_by=svm.name", 0
    while url:
        answer = await listed.admin.get(url, headers={"accept": "application/json"})
        assert set(answer.body) <= {"num_records", "_links"}
        counted += answer.body["num_records"]
        url = answer.body.get("_links", {}).get("next", {}).get("href", "")
        assert answer.headers.get("link", "") == (f'<{url}>; rel="next"' if url else "")
    assert counted == 6


async def test_an_offset_is_used_up_across_pages(listed: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the time is over while records are still left out, the next page leaves out the rest."""
    monkeypatch.setattr(collecting, "_STEP", 1)
    url = f"{MANAGERS}?enabled=*&offset=4&return_timeout=0"
    assert await names(listed, url) == ["4", "5"]
    assert await names(listed, f"{MANAGERS}?offset=4&return_timeout=0") == ["4", "5"]


async def test_pages_stay_where_they_are_when_records_come_and_go(listed: Api) -> None:
    """The place is that of a record, not a count."""
    first = (await listed.admin.get(f"{SVMS}?order_by=name+desc&max_records=2&fields=name")).body
    assert [record["name"] for record in first["records"]] == ["vs5", "vs4"]
    for name in ("vs9", "vs4a", "vs30"):
        await listed.admin.post(SVMS, {"name": name})
    second = (await listed.admin.get(first["_links"]["next"]["href"])).body
    assert [record["name"] for record in second["records"]] == ["vs30", "vs3"]


@pytest.mark.parametrize(
    "more", ["pretty=true", "serial_records=true", "continue_on_failure=false", "return_timeout=9"]
)
async def test_parameters_that_mean_nothing_for_a_list_are_accepted(listed: Api, more: str) -> None:
    """Also of one object."""
    assert (await listed.admin.get(f"{MANAGERS}?{more}")).body["num_records"] == 6
    assert (await listed.admin.get(f"{MANAGERS}/{UUID.format(0)}?{more}")).status == 200


async def test_a_refusal_says_where_the_filter_is_wrong(listed: Api) -> None:
    """With the position, and the parameter as its target."""
    answer = await listed.admin.get(f"{MANAGERS}?svm.name=a%22b")
    assert assert_error(answer, errors.INVALID_VALUE, "svm.name")["message"].endswith('unmatched " at position 2')
