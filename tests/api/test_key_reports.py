"""``.../prove``, ``.../reboot-drill`` and ``.../key-reports`` behind the REST face."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from keystead.core.keys.report import FORMAT, KeyReport, ReportKind, parse
from keystead.sealing.signing import SIGNING, verify
from tests.api.conftest import ABSENT, Api

if TYPE_CHECKING:
    from tests.peers.asgi import Response
    from tests.peers.fixtures import Pki

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
async def path(api: Api, pki: Pki, sound_ports: list[int]) -> str:
    """Return a key manager of the cluster, with a server on which there is no key yet."""
    return f"/api/security/key-managers/{await api.key_manager(pki, [f'127.0.0.1:{sound_ports[0]}'])}"


def refused(answer: Response) -> tuple[int, str]:
    """Status and code of a refusal."""
    return answer.status, answer.body["error"]["code"]


@pytest.mark.parametrize(("action", "kind"), [("prove", "proof"), ("reboot-drill", "reboot_drill")])
async def test_a_job_leaves_a_signed_report(api: Api, path: str, action: str, kind: str) -> None:
    """201 when it ends in time, 202 else; the report is the newest, and signed by the cluster."""
    answer = await api.admin.post(f"{path}/{action}?return_timeout=15")
    assert answer.status == 201, answer.content
    job = (await api.admin.get(answer.body["job"]["_links"]["self"]["href"])).body
    assert (job["state"], job["description"]) == ("success", f"POST {path}/{action}")
    (listed,) = (await api.admin.get(f"{path}/key-reports?fields=**")).body["records"]
    assert "document" not in listed
    assert (listed["kind"], listed["keys"], listed["unreadable"], listed["failures"]) == (kind, 0, 0, 0)
    one = (await api.readonly.get(listed["_links"]["self"]["href"])).body
    signed = parse(one["document"])
    row = await api.store.read(lambda tx: tx.cluster_key(SIGNING))
    assert row is not None
    assert verify(row.public, FORMAT, signed.message, signed.signature)
    assert (signed.report["uuid"], signed.report["kind"]) == (one["uuid"], kind)
    assert [record.message for record in await api.audit()][-1] == "read 0 keys, 0 unreadable, 0 failures"


async def test_reports_are_listed_in_pages_the_newest_first(api: Api, path: str) -> None:
    """Those of one time by uuid; filters work as in every collection."""
    manager = path.rpartition("/")[2]
    first = KeyReport(ABSENT, manager, ReportKind.PROOF, NOON, 0, 0, 0, "document")
    made = [
        replace(first, uuid=f"{ABSENT[:-1]}{number}", time=NOON - timedelta(hours=number // 2), keys=number)
        for number in (4, 2, 0, 1, 3)
    ]
    for each in made:
        await api.store.write(lambda tx: tx.add_key_report(each, keep=9))  # noqa: B023 - run at once
    page = (await api.admin.get(f"{path}/key-reports?max_records=3&fields=keys")).body
    assert [record["keys"] for record in page["records"]] == [0, 1, 2]
    rest = (await api.admin.get(page["_links"]["next"]["href"])).body
    assert [record["keys"] for record in rest["records"]] == [3, 4]
    some = (await api.admin.get(f"{path}/key-reports?keys=<2&fields=kind")).body
    assert [record["kind"] for record in some["records"]] == ["proof", "proof"]


async def test_what_does_not_exist_is_refused(api: Api, path: str) -> None:
    """A key manager, a report; and a body, where there is none to give."""
    for gone in (f"{path}/key-reports/{ABSENT}", f"/api/security/key-managers/{ABSENT}/key-reports"):
        assert refused(await api.admin.get(gone)) == (404, "4")
    for action in ("prove", "reboot-drill"):
        assert refused(await api.admin.post(f"/api/security/key-managers/{ABSENT}/{action}")) == (404, "4")
        assert refused(await api.admin.post(f"{path}/{action}", {"surprise": 1})) == (400, "262179")
        assert (await api.readonly.post(f"{path}/{action}")).status == 403
