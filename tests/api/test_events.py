"""``/support/ems/events``: what was announced, for whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors, events
from keystead.core.model import Event, Svm
from tests.peers.asgi import assert_error

if TYPE_CHECKING:
    from tests.api.conftest import Api

PATH = "/api/support/ems/events"
NOON = datetime(2026, 5, 1, 12, 0, 0, 250000, tzinfo=UTC)
LOST = {
    "vserver": "vs0",
    "address": "ks1:5696",
    "keyserver_status": "not-responding",
    "node_states": "keystead-01 not_responding",
    "stage": "tls",
    "reason": "tls_timed_out",
}


@pytest.fixture
async def node(api: Api) -> str:
    """The node's name; it has announced a loss for the SVM vs0, a return a minute later, and one for the cluster."""
    (own,) = await api.store.read(lambda tx: tx.nodes())
    uuid = (await api.admin.post("/api/svm/svms?return_records=true", {"name": "vs0"})).body["records"][0]["uuid"]
    svm = Svm(uuid, "vs0")
    found: list[Event] = [
        events.NOT_AVAILABLE.happened(own.uuid, NOON, svm, LOST),
        events.AVAILABLE.happened(own.uuid, NOON + timedelta(minutes=1), svm, LOST),
        replace(events.NOT_AVAILABLE.happened(own.uuid, NOON + timedelta(minutes=2), None, LOST)),
    ]
    await api.store.write(lambda tx: tx.add_events(found, 100))
    return own.name


async def test_an_event_is_shown_as_ontap_shows_it(api: Api, node: str) -> None:
    """All fields, parameters in order, and the event's name before its sentence."""
    record = (await api.admin.get(f"{PATH}?fields=*")).body["records"][0]
    links = record.pop("_links")
    record["node"].pop("_links")
    record["svm"].pop("_links")
    uuid = record["node"].pop("uuid")
    assert len(uuid) == 36
    assert record["svm"].pop("uuid")
    assert record == {
        "node": {"name": node},
        "index": 1,
        "time": "2026-05-01T12:00:00.250000+00:00",
        "message": {"name": "km.keyserver.notavailable", "severity": "alert"},
        "parameters": [{"name": name, "value": value} for name, value in LOST.items()],
        "log_message": 'km.keyserver.notavailable: The external key management server "ks1:5696" is not available'
        ' for Vserver "vs0", status: "not-responding". It failed in stage "tls", reason "tls_timed_out".',
        "source": "keystead",
        "svm": {"name": "vs0"},
    }
    assert (await api.admin.get(links["self"]["href"])).body["index"] == 1


@pytest.mark.parametrize(
    ("query", "indexes"),
    [
        ("", [1, 2, 3]),
        ("message.name=km.keyserver.available", [2]),
        ("message.name=km.*", [1, 2, 3]),
        ("message.name=km.keyserver.available,no.such.event", [2]),
        ("message.severity=alert", [1, 3]),
        ("svm.name=vs0", [1, 2]),
        ("time=>=2026-05-01T12:01:00Z", [2, 3]),
        ("time=>=1777636860", [2, 3]),  # Unix seconds, as NetApp Harvest sends them
        ("parameters.value=tls_timed_out", [1, 3]),
        ("order_by=time%20desc", [3, 2, 1]),
        ("index=2", [2]),
        ("max_records=2", [1, 2]),
    ],
)
async def test_events_are_filtered_and_ordered(api: Api, node: str, query: str, indexes: list[int]) -> None:
    """By name, severity, SVM, time and parameters; the oldest first."""
    del node
    answer = await api.admin.get(f"{PATH}?{query}")
    assert [record["index"] for record in answer.body["records"]] == indexes


async def test_one_page_follows_the_other(api: Api, node: str) -> None:
    """The link to the next page leads to all events, each once."""
    del node
    found, path = [], f"{PATH}?max_records=1"
    while path:
        body = (await api.admin.get(path)).body
        found += [record["index"] for record in body["records"]]
        path = body["_links"].get("next", {}).get("href", "")
    assert found == [1, 2, 3]


async def test_an_svm_sees_its_own_events_without_what_failures_looked_like(api: Api, node: str) -> None:
    """Confined to an SVM: its events only, others as if they were not there, and no stage or reason."""
    confined = {"x-dot-svm-name": "vs0"}
    body = (await api.admin.get(f"{PATH}?fields=*", headers=confined)).body
    assert [record["index"] for record in body["records"]] == [1, 2]
    assert [pair["name"] for pair in body["records"][0]["parameters"]] == [
        "vserver",
        "address",
        "keyserver_status",
        "node_states",
    ]
    assert "tls_timed_out" not in str(body)
    assert (await api.admin.get(f"{PATH}/{node}/1", headers=confined)).status == 200
    foreign = await api.admin.get(f"{PATH}/{node}/3", headers=confined)
    missing = await api.admin.get(f"{PATH}/{node}/4", headers=confined)
    assert_error(foreign, errors.ENTRY_NOT_FOUND, "index")
    assert foreign.content == missing.content
    hidden = await api.admin.get(f"{PATH}?parameters.value=tls_timed_out", headers=confined)
    assert hidden.body["num_records"] == 0


@pytest.mark.parametrize("place", ["{node}/9", "{node}/0", "{node}/x", "nobody/1", "{node}/99999999999999999999"])
async def test_an_event_that_is_not_there_is_404(api: Api, node: str, place: str) -> None:
    """Another index, no index, another node."""
    answer = await api.admin.get(f"{PATH}/{place.format(node=node)}")
    assert_error(answer, errors.ENTRY_NOT_FOUND, "index")


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
async def test_events_cannot_be_written(api: Api, method: str) -> None:
    """They are announced, not made."""
    assert_error(await api.admin(method, PATH, {}), errors.METHOD_NOT_SUPPORTED)
