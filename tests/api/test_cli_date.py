"""``/private/cli/cluster/date``: the time of the node that answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from tests.peers.asgi import assert_error

if TYPE_CHECKING:
    from tests.api.conftest import Api

PLAIN = {"accept": "application/json"}
PATH = "/api/private/cli/cluster/date"


async def test_it_is_the_time_now(api: Api) -> None:
    """Of the one node, in UTC, in whole seconds."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    answer = await api.readonly.get(f"{PATH}?fields=date,timezone&max_records=1", headers=PLAIN)
    (node,) = (await api.admin.get("/api/cluster/nodes")).body["records"]
    (record,) = answer.body["records"]
    date = datetime.fromisoformat(record.pop("date"))
    assert before <= date <= datetime.now(UTC)
    assert (date.microsecond, date.utcoffset()) == (0, timedelta())
    assert record == {"node": node["name"], "timezone": "Etc/UTC"}


async def test_it_names_the_node_by_default(api: Api) -> None:
    """With a link that shows it again, also as a filter."""
    (record,) = (await api.admin.get(PATH)).body["records"]
    link = record["_links"]["self"]["href"]
    assert (await api.admin.get(link, headers=PLAIN)).body["records"] == [{"node": record["node"]}]
    assert (await api.admin.get(f"{PATH}?node=!{record['node']}", headers=PLAIN)).body["records"] == []


@pytest.mark.parametrize("method", ["post", "patch"])
async def test_it_cannot_be_set(api: Api, method: str) -> None:
    """The clock is the host's."""
    answer = await getattr(api.admin, method)(PATH, {"date": "2030-01-01T00:00:00Z"})
    assert_error(answer, errors.METHOD_NOT_SUPPORTED)


async def test_fields_must_be_named(api: Api) -> None:
    """As for every command."""
    assert_error(await api.admin.get(f"{PATH}?fields=*"), errors.ALL_FIELDS_OF_CLI, target="fields")
