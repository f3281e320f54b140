"""``key_recovery_days``: how long deleted keys can be recovered. Their end is in tests/app/test_teardown.py."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from keystead.core import errors
from tests.api.keys import serve_keys
from tests.peers.asgi import assert_error

if TYPE_CHECKING:
    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group

CONFIGS = "/api/security/key-manager-configs"


async def set_days(api: Api, days: int) -> None:
    """Set how long deleted keys can be recovered."""
    assert (await api.admin.patch(CONFIGS, {"key_recovery_days": days})).status == 200


async def test_another_window_is_for_keys_that_are_deleted_later(api: Api, pki: Pki, pykmip_group: Group) -> None:
    """The one before keeps its time. The change is audited and announced, with both values."""
    served = await serve_keys(api, pki, pykmip_group)
    first, second = [await served.create(name) for name in ("first", "second")]
    await api.admin.delete(f"{served.url}/{first}")
    await set_days(api, 30)
    await api.admin.delete(f"{served.url}/{second}")
    times = [(await served.shown(key_id))["purge_time"][:10] for key_id in (first, second)]
    assert times[0] < times[1]
    assert (await api.audit())[-2].message == (
        "changed the settings of key managers; key_recovery_days is 30 instead of 7"
    )
    events = await api.admin.get("/api/support/ems/events?message.name=km.keyrecovery.changed&fields=*")
    (event,) = events.body["records"]
    assert event["message"]["severity"] == "alert"
    assert "to 30 days, from 7" in event["log_message"]
    await set_days(api, 30)
    events = await api.admin.get("/api/support/ems/events?message.name=km.keyrecovery.changed")
    assert events.body["num_records"] == 1


async def test_a_key_says_what_its_purge_waits_for(api: Api, pki: Pki, pykmip_group: Group) -> None:
    """A release while destruction is held; another retirement if an earlier incarnation retired it."""
    served = await serve_keys(api, pki, pykmip_group)
    key_id = await served.create("first")
    await api.admin.delete(f"{served.url}/{key_id}")
    assert "purge_waits_for" not in await served.shown(key_id)
    (now,) = await api.store.read(lambda tx: tx.incarnations())
    await api.store.write(lambda tx: tx.put_incarnation(replace(now, destroys=False)))
    assert (await served.shown(key_id))["purge_waits_for"] == "release"
    await api.store.write(lambda tx: tx.put_incarnation(replace(now, uuid=str(uuid4()), number=2)))
    assert (await served.shown(key_id))["purge_waits_for"] == "retirement"
    await api.admin.delete(f"{served.url}/{key_id}")
    assert "purge_waits_for" not in await served.shown(key_id)


@pytest.mark.parametrize("value", [-1, 36_501, "many"])
async def test_windows_that_are_refused(api: Api, value: object) -> None:
    """A hundred years at most, and nothing is changed."""
    refusal = await api.admin.patch(CONFIGS, {"key_recovery_days": value})
    assert_error(refusal, errors.INVALID_FIELD_VALUE, "key_recovery_days")
    assert (await api.admin.get(CONFIGS)).body["key_recovery_days"] == 7


async def test_many_keys_are_destroyed_only_if_their_number_is_confirmed(
    api: Api, pki: Pki, pykmip_group: Group
) -> None:
    """By query and by ``records``; ten need no confirmation, and with a recovery window none do."""
    served = await serve_keys(api, pki, pykmip_group)
    key_ids = [await served.create(f"vol{number:02}") for number in range(12)]
    await set_days(api, 0)
    records = {"records": [{"key_id": key_id} for key_id in key_ids]}
    for wrong in ("", "&confirm_count=11", "&confirm_count=13"):
        refusal = await api.admin.delete(f"{served.url}?name=vol*{wrong}")
        assert_error(refusal, errors.INVALID_VALUE, "confirm_count")
        refusal = await api.admin("DELETE", f"{served.url}?{wrong[1:]}", records)
        error = assert_error(refusal, errors.INVALID_VALUE, "confirm_count")
        assert "confirm_count=12" in error["message"]
    assert (await api.admin.get(f"{served.url}?state=committed")).body["num_records"] == 12
    assert (await api.admin.delete(f"{served.url}?name=vol00|vol01")).body["num_records"] == 2
    assert (await api.admin.delete(f"{served.url}?name=vol*&state=committed&confirm_count=10")).body[
        "num_records"
    ] == 10
