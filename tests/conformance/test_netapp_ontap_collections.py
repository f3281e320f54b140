"""The official ``netapp-ontap`` client on whole collections: records, queries, jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from netapp_ontap import NetAppRestError
from netapp_ontap.resources import Job, KeyServer, Svm

if TYPE_CHECKING:
    from netapp_ontap import HostConnection

    from tests.conformance.conftest import Installed


@pytest.fixture
def prefix(connection: HostConnection) -> str:
    """Return what the names of one test's SVMs begin with."""
    del connection
    return f"svm-{uuid4().hex[:8]}"


def found(prefix: str) -> dict[str, Svm]:
    """The SVMs of a test by name."""
    return {svm.name: svm for svm in Svm.get_collection(name=f"{prefix}*", fields="name")}


def posted(*names: str, **options: Any) -> list[Any]:
    """Create SVMs by one call."""
    made: list[Any] = Svm.post_collection([Svm(name=name) for name in names], **options)
    return made


def test_records_are_created_and_hydrated(prefix: str) -> None:
    """``post_collection`` polls the job and reads its results; ``hydrate`` reads each object again."""
    names = [f"{prefix}-{letter}" for letter in "ab"]
    made = posted(*names, hydrate=True)
    assert [svm.name for svm in made] == names
    assert set(found(prefix)) == set(names)
    (job,) = [job for job in Job.get_collection(fields="*", description="POST*svms") if job.state == "success"][-1:]
    job.get()
    assert (job.code, job.message, job.description) == (0, "success", "POST /api/svm/svms")
    assert job.end_time >= job.start_time


def test_a_job_that_is_waited_for(prefix: str) -> None:
    """With ``return_timeout`` the answer comes with a job that has ended; the client reads its results all the same."""
    assert [svm.name for svm in posted(f"{prefix}-a", return_timeout=15)] == [f"{prefix}-a"]
    with pytest.raises(NetAppRestError) as refused:
        posted(f"{prefix}-b", f"{prefix}-a", continue_on_failure=True)
    assert "duplicate entry" in str(refused.value)
    assert set(found(prefix)) == {f"{prefix}-a", f"{prefix}-b"}


def test_a_failure_is_raised_with_its_record(prefix: str) -> None:
    """What fails is rolled back, and the client raises the text of the results."""
    posted(f"{prefix}-taken")
    with pytest.raises(NetAppRestError) as refused:
        posted(f"{prefix}-new", f"{prefix}-taken")
    assert f'POST of record "name: {prefix}-taken" failed. Reason: duplicate entry' in str(refused.value)
    assert set(found(prefix)) == {f"{prefix}-taken"}


def test_records_are_changed_and_deleted(prefix: str) -> None:
    """``patch_collection`` and ``delete_collection`` with ``records``."""
    posted(f"{prefix}-a", f"{prefix}-b")
    records = list(found(prefix).values())
    for svm in records:
        svm.name += "2"
    assert Svm.patch_collection({}, records=records).http_response.ok
    assert set(found(prefix)) == {f"{prefix}-a2", f"{prefix}-b2"}
    assert Svm.delete_collection(records=list(found(prefix).values())).http_response.ok
    assert found(prefix) == {}


def test_what_a_query_matches(prefix: str) -> None:
    """``patch_collection`` and ``delete_collection`` with a query, the latter following the links."""
    posted(*(f"{prefix}-{letter}" for letter in "abc"))
    assert Svm.patch_collection({"name": f"{prefix}-z"}, name=f"{prefix}-b").http_response.json()["num_records"] == 1
    assert set(found(prefix)) == {f"{prefix}-a", f"{prefix}-c", f"{prefix}-z"}
    Svm.delete_collection(name=f"{prefix}-*", max_records=1)
    assert found(prefix) == {}
    with pytest.raises(NetAppRestError) as refused:
        Svm.delete_collection()
    assert refused.value.response_body["error"]["code"] == "262212"


def test_key_servers(installed: Installed) -> None:
    """Key servers: changed and deleted by query. (By records the client can only do so for objects without parents.)"""
    manager = installed.key_manager(*installed.servers[:3])
    manager.post(hydrate=True)
    first, second, third = installed.servers[:3]

    def shown() -> dict[str, int]:
        return {server.server: server.timeout for server in KeyServer.get_collection(manager.uuid, fields="timeout")}

    assert KeyServer.patch_collection({"timeout": 11}, manager.uuid, server=f"!{first}").http_response.ok
    assert shown().pop(first) == 25
    assert sorted(shown().values()) == [11, 11, 25]
    KeyServer.delete_collection(manager.uuid, server=f"{second}|{third}", max_records=1)
    assert set(shown()) == {first}
    KeyServer.delete_collection(manager.uuid, timeout=">20")
    assert shown() == {}
