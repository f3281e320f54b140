"""``/svm/svms``, ``/cluster`` and ``/cluster/nodes``."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from tests.api.conftest import ABSENT
from tests.peers.asgi import assert_error

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki

SVMS = "/api/svm/svms"


async def test_an_svm_is_created_and_read(api: Api) -> None:
    """201 with Location and an empty object; then found by name, by uuid, and in the list."""
    answer = await api.admin.post(f"{SVMS}?return_timeout=30", {"name": "vs0"})
    assert (answer.status, answer.body) == (201, {})
    location = answer.headers["location"]
    uuid = location.removeprefix(f"{SVMS}/")
    expected = {"uuid": uuid, "name": "vs0", "_links": {"self": {"href": location}}}
    assert (await api.admin.get(f"{location}?fields=name")).body == expected
    assert (await api.readonly.get(f"{SVMS}?name=vs0&fields=uuid")).body["records"] == [expected]
    assert (await api.admin.get(f"{SVMS}?uuid={uuid.upper()}")).body["num_records"] == 1


async def test_a_created_record_is_returned(api: Api) -> None:
    """``return_records=True`` shows the key fields and the link."""
    answer = await api.admin.post(f"{SVMS}?return_records=True", {"name": "vs0"})
    (record,) = answer.body["records"]
    assert answer.body["num_records"] == 1
    assert record["_links"]["self"]["href"] == answer.headers["location"]
    assert set(record) == {"uuid", "name", "_links"}


async def test_a_name_is_taken_once(api: Api) -> None:
    """Code 1, 409, and one success and one refusal in the audit log, with the input."""
    await api.admin.post(SVMS, {"name": "vs0"})
    assert_error(await api.admin.post(SVMS, {"name": "vs0"}), errors.DUPLICATE_ENTRY, "name")
    success, refusal = await api.audit()
    assert (success.state, refusal.state, refusal.code) == ("success", "error", "1")
    assert success.input == refusal.input == '{"name":"vs0"}'
    assert (success.method, success.path, success.account) == ("POST", SVMS, "admin")


@pytest.mark.parametrize("body", [{"name": 5}, {"name": None}, {"name": ["a"]}, {"name": "x" * 256}, {"name": {}}])
async def test_a_name_is_text(api: Api, body: dict[str, object]) -> None:
    """Anything else is refused with target name."""
    answer = await api.admin.post(SVMS, body)
    assert (answer.status, answer.body["error"]["target"]) == (400, "name")


async def test_an_absent_svm_is_code_4(api: Api) -> None:
    """404 with ONTAP's text."""
    error = assert_error(await api.admin.get(f"{SVMS}/{ABSENT}"), errors.ENTRY_NOT_FOUND, "uuid")
    assert error["message"] == "entry doesn't exist"


async def test_the_cluster_says_its_version(api: Api) -> None:
    """Answer what every client asks first: all four members, numbers as integers."""
    answer = await api.readonly.get("/api/cluster?fields=version")
    assert answer.body == {
        "version": {"full": "Keystead Release 9.18.1", "generation": 9, "major": 18, "minor": 1},
        "_links": {"self": {"href": "/api/cluster"}},
    }


async def test_the_cluster_is_one_plain_object(api: Api) -> None:
    """No ``records``, its name and uuid among the default fields."""
    answer = (await api.admin.get("/api/cluster?max_records=1024&fields=%2A")).body
    assert set(answer) == {"name", "uuid", "contact", "location", "version", "_links"}
    assert (await api.admin.get("/api/cluster")).body == answer
    assert set((await api.admin.get("/api/cluster?fields=ntp_servers,dns_domains,timezone.name")).body) == {"_links"}


async def test_a_node_that_is_gone_is_removed(api: Api) -> None:
    """Not one that is heard, nor the one that answers, whatever ``force`` says."""
    (own,) = await api.store.read(lambda tx: tx.nodes())
    other = replace(own, uuid=ABSENT, name="keystead-02")
    await api.store.write(
        lambda tx: (tx.put_node(other), [tx.hear_node(each.uuid, datetime.now(UTC)) for each in (own, other)])
    )
    for uuid in (own.uuid, ABSENT):
        refused = await api.admin.delete(f"/api/cluster/nodes/{uuid}?force=true")
        assert_error(refused, errors.NODE_IS_UP, "uuid")
    await api.store.write(lambda tx: tx.leave_node(ABSENT))
    assert (await api.admin.delete(f"/api/cluster/nodes/{ABSENT}")).status == 200
    assert_error(await api.admin.delete(f"/api/cluster/nodes/{ABSENT}"), errors.ENTRY_NOT_FOUND, "uuid")
    assert [record["name"] for record in (await api.admin.get("/api/cluster/nodes")).body["records"]] == [own.name]


async def test_a_node_that_is_not_heard_of_is_down(api: Api) -> None:
    """Its state says so in the list, in a filter and on its own; that of the node that answers is up."""
    (own,) = await api.store.read(lambda tx: tx.nodes())
    other = replace(own, uuid=ABSENT, name="keystead-02")

    def go_on_alone(tx: Transaction) -> None:
        tx.put_node(other)
        tx.hear_node(own.uuid, datetime.now(UTC))

    await api.store.write(go_on_alone)
    listed = (await api.admin.get("/api/cluster/nodes?fields=state&order_by=name")).body["records"]
    assert [record["state"] for record in listed] == ["up", "down"]
    (down,) = (await api.admin.get("/api/cluster/nodes?state=down")).body["records"]
    assert down["uuid"] == ABSENT
    assert (await api.admin.get(f"/api/cluster/nodes/{ABSENT}?fields=state")).body["state"] == "down"


async def test_nodes_are_listed(api: Api) -> None:
    """Fields that ONTAP has and we have not may be named; the node is found under its uuid."""
    listed = (await api.admin.get("/api/cluster/nodes?fields=management_interfaces,name,state,version")).body
    (record,) = listed["records"]
    assert set(record) == {"uuid", "name", "state", "version", "_links"}
    assert record["version"] == {"full": "Keystead Release 9.18.1", "generation": 9, "major": 18, "minor": 1}
    own = {"keystead": {"release": "", "schema": ""}}  # no process has served yet
    assert (await api.admin.get(record["_links"]["self"]["href"])).body == record | own
    assert (await api.admin.get(f"/api/cluster/nodes?name={record['name']}")).body["num_records"] == 1
    assert (await api.admin.get("/api/cluster/nodes?version.major=17")).body["num_records"] == 0
    assert_error(await api.admin.get(f"/api/cluster/nodes/{ABSENT}"), errors.ENTRY_NOT_FOUND, "uuid")


@pytest.mark.parametrize("name", ["", "   ", " vs0", "vs0 ", "a\nb", "a\u001b[31mred", "a\u2028b", "a" * 256])
async def test_names_are_names(api: Api, name: str) -> None:
    """A name is not empty, has no blanks at its ends, and can be printed on one line."""
    assert_error(await api.admin.post(SVMS, {"name": name}), errors.INVALID_FIELD_VALUE, "name")
    assert (await api.admin.get(SVMS)).body["num_records"] == 0


async def test_an_svm_is_renamed(api: Api) -> None:
    """To a name that is free, or its own; whoever asks for the old name finds nothing."""
    uuid = (await api.admin.post(SVMS, {"name": "vs0"})).headers["location"].rpartition("/")[2]
    await api.admin.post(SVMS, {"name": "vs1"})
    for name in ("vs2", "vs2"):
        answer = await api.admin.patch(f"{SVMS}/{uuid}?return_timeout=60", {"name": name})
        assert (answer.status, answer.body) == (200, {})
    taken = assert_error(await api.admin.patch(f"{SVMS}/{uuid}", {"name": "vs1"}), errors.DUPLICATE_ENTRY, "name")
    assert taken["arguments"][0]["code"] == "uuid"
    assert (await api.admin.get(f"{SVMS}?name=vs0")).body["num_records"] == 0
    assert (await api.admin.get(f"{SVMS}/{uuid}")).body["name"] == "vs2"
    assert_error(await api.admin.patch(f"{SVMS}/{ABSENT}", {"name": "x"}), errors.ENTRY_NOT_FOUND, "uuid")
    assert_error(await api.admin.patch(f"{SVMS}/{uuid}", {"name": " "}), errors.INVALID_FIELD_VALUE, "name")
    assert_error(await api.admin.patch(f"{SVMS}/{uuid}", {"state": "stopped"}), errors.INVALID_FIELD_VALUE, "state")
    assert (await api.admin.patch(f"{SVMS}/{uuid}", {"state": "running"})).status == 200


async def test_a_name_means_the_cluster_or_one_svm(api: Api) -> None:
    """Code 1 (409) both ways: an account that is meant for an SVM must never become the cluster's."""
    uuid = (await api.admin.post(SVMS, {"name": "vs0"})).headers["location"].rpartition("/")[2]
    cluster = (await api.admin.get("/api/cluster")).body
    for answer in (
        await api.admin.post(SVMS, {"name": cluster["name"]}),
        await api.admin.patch(f"{SVMS}/{uuid}", {"name": cluster["name"]}),
    ):
        error = assert_error(answer, errors.DUPLICATE_ENTRY, "name")
        assert error["arguments"] == [{"code": "uuid", "message": cluster["uuid"]}]
    error = assert_error(await api.admin.patch("/api/cluster", {"name": "vs0"}), errors.DUPLICATE_ENTRY, "name")
    assert error["arguments"] == [{"code": "uuid", "message": uuid}]
    assert (await api.admin.patch("/api/cluster", {"name": cluster["name"]})).status == 200
    assert (await api.admin.get("/api/cluster")).body == cluster


async def test_an_svm_is_deleted_when_it_owns_nothing(api: Api, pki: Pki) -> None:
    """Code 8 (409) counts what it owns; what is deleted is gone, and its name free."""
    uuid = (await api.admin.post(SVMS, {"name": "vs0"})).headers["location"].rpartition("/")[2]
    certificate = await api.certificate("server_ca", pki.server_ca.pem, svm={"uuid": uuid})
    error = assert_error(await api.admin.delete(f"{SVMS}/{uuid}"), errors.IN_USE, "uuid")
    assert error["arguments"] == [
        {"code": "certificates", "message": "1"},
        {"code": "next", "message": "keystead security certificate show --vserver vs0"},
    ]
    await api.admin.delete(f"/api/security/certificates/{certificate}")
    answer = await api.admin.delete(f"{SVMS}/{uuid}?return_timeout=60", {})
    assert (answer.status, answer.body) == (200, {})
    assert_error(await api.admin.delete(f"{SVMS}/{uuid}"), errors.ENTRY_NOT_FOUND, "uuid")
    assert (await api.admin.post(SVMS, {"name": "vs0"})).status == 201
    last, refusal = (await api.audit())[-1], (await api.audit())[2]
    assert (refusal.code, refusal.svm) == ("8", "vs0")
    assert (last.state, last.message.split()[0]) == ("success", "created")


async def test_what_ansible_reads_of_an_svm(api: Api) -> None:
    """``na_ontap_svm`` needs these members, names others that are left out, and one of them twice."""
    await api.admin.post(SVMS, {"name": "vs0"})
    fields = (
        "subtype,aggregates,language,snapshot_policy,ipspace,comment,nfs,cifs,fcp,iscsi,nvme,state,s3,max_volumes,ndmp,"
        "s3,auto_enable_analytics,auto_enable_activity_tracking,storage"
    )
    (record,) = (await api.admin.get(f"{SVMS}?name=vs0&fields={fields.replace(',', '%2C')}")).body["records"]
    assert record["aggregates"] == []
    assert (record["ipspace"], record["snapshot_policy"]) == ({"name": "Default"}, {"name": "none"})
    assert (record["state"], record["subtype"]) == ("running", "default")
    assert set(record) == {
        *("uuid", "name", "aggregates", "comment", "ipspace", "language", "max_volumes", "snapshot_policy", "state"),
        *("subtype", "_links"),
    }
    assert (record["comment"], record["max_volumes"]) == ("", "unlimited")  # it changes only what it sees


LIMITS = (-1, "-1GB", "1.5GB", "1 GB", "8192PB", "GB", "1EB", True)
"""Values that are no limit of storage."""
STORAGE: dict[str, Any] = {
    "comment": "of the payroll",
    "language": "de.utf_8",
    "ipspace": {"name": "tenants"},
    "aggregates": [{"name": "aggr1"}, {"name": "aggr2", "uuid": ABSENT}],
    "snapshot_policy": {"name": "hourly"},
    "qos_policy_group_template": {"name": "performance-fixed"},
    "max_volumes": "200",
    "auto_enable_analytics": True,
    "storage": {"limit": 1 << 40, "limit_threshold_alert": 90},
    "nfs": {"allowed": True, "enabled": False},
}


async def test_what_is_stated_about_storage_is_shown_again(api: Api) -> None:
    """POST and PATCH take it; an object is merged, an array replaced; filters see it; it goes with the SVM."""
    created = await api.admin.post(SVMS, {"name": "vs0", "subtype": "default", **STORAGE})
    assert created.status == 201
    path = created.headers["location"]
    plain = {"accept": "application/json"}
    shown = (await api.admin.get(path, headers=plain)).body
    assert {name: shown[name] for name in STORAGE} == STORAGE
    change = {"name": "vs1", "nfs": {"allowed": False}, "aggregates": [], "comment": ""}
    assert (await api.admin.patch(path, change)).status == 200
    changed = (await api.admin.get(path, headers=plain)).body
    assert changed == shown | change | {"nfs": {"allowed": False, "enabled": False}}
    for query, count in (("storage.limit=>1000", 1), ("nfs.allowed=true", 0), ("ipspace.name=ten*", 1)):
        assert (await api.admin.get(f"{SVMS}?{query}")).body["num_records"] == count
    said = [record.message for record in await api.audit()]
    assert said[-1].endswith(" from vs0 and changed what is stated about SVM " + path.rpartition("/")[2])
    assert (await api.admin.delete(path)).status == 200
    assert (await api.store.read(lambda tx: tx.svm_attributes([path.rpartition("/")[2]]))) == {}


async def test_names_instead_of_objects(api: Api) -> None:
    """As Ansible sends an IPspace and a snapshot policy; what is no name is refused."""
    assert (await api.admin.post(SVMS, {"name": "vs0", "ipspace": "tenants", "snapshot_policy": "daily"})).status == 201
    path = f"{SVMS}?name=vs0"
    assert (await api.admin.patch(path, {"snapshot_policy": "hourly"})).status == 200
    (shown,) = (await api.admin.get(f"{path}&fields=ipspace,snapshot_policy")).body["records"]
    assert (shown["ipspace"], shown["snapshot_policy"]) == ({"name": "tenants"}, {"name": "hourly"})
    assert_error(await api.admin.patch(path, {"ipspace": "x" * 256}), errors.INVALID_FIELD_VALUE, "ipspace.name")
    assert_error(await api.admin.patch(path, {"ipspace": ["x"]}), errors.ARRAY_NOT_EXPECTED, "ipspace")


@pytest.mark.parametrize(
    ("written", "size"),
    [("40GB", 40 << 30), ("400mb", 400 << 20), ("1KB", 1024), ("8191PB", 8191 << 50), ("7", 7), (0, 0)],
)
async def test_a_limit_of_storage_may_have_a_unit(api: Api, written: Any, size: int) -> None:
    """It is shown in bytes."""
    created = await api.admin.post(SVMS, {"name": "vs0", "storage": {"limit": written}})
    assert (await api.admin.get(created.headers["location"])).body["storage"] == {"limit": size}


@pytest.mark.parametrize(
    ("stated", "kind", "target"),
    [
        *(({"storage": {"limit": size}}, errors.INVALID_FIELD_VALUE, "storage.limit") for size in LIMITS),
        ({"qos_policy": "gold"}, errors.INVALID_FIELD_VALUE, "qos_policy"),
        ({"nfs": {"enabled": True}}, errors.INVALID_FIELD_VALUE, "nfs.enabled"),
        ({"subtype": "dp_destination"}, errors.INVALID_FIELD_VALUE, "subtype"),
        ({"comment": "x" * 255}, errors.INVALID_FIELD_VALUE, "comment"),
        ({"aggregates": [{"uuid": "x"}]}, errors.INVALID_FIELD_VALUE, "aggregates[0].uuid"),
        ({"ip_interfaces": [{"name": "lif"}]}, errors.FIELD_NOT_SETTABLE, "ip_interfaces"),
        ({"dns": {"servers": ["192.0.2.1"]}}, errors.FIELD_NOT_SETTABLE, "dns"),
        ({"aggregates": [{"size": 1}]}, errors.UNEXPECTED_ARGUMENT, "aggregates[0].size"),
    ],
)
async def test_what_would_do_something_is_refused(api: Api, stated: Any, kind: errors.ErrorKind, target: str) -> None:
    """Nothing serves a protocol or an address here; and values have types."""
    assert_error(await api.admin.post(SVMS, {"name": "vs0", **stated}), kind, target)
    assert (await api.admin.get(SVMS)).body["num_records"] == 0


async def test_contact_and_location_of_the_cluster(api: Api) -> None:
    """Kept, changed one by one, and cleared; the change is audited, and a text that is too long changes nothing."""
    shown = (await api.admin.get("/api/cluster")).body
    assert (shown["contact"], shown["location"]) == ("", "")
    for change in ({"contact": "it@example.com", "location": "Basel"}, {"location": "Bern"}, {"contact": ""}):
        assert (await api.admin.patch("/api/cluster", change)).status == 200
        shown |= change
        assert (await api.admin.get("/api/cluster")).body == shown
    refused = await api.admin.patch("/api/cluster", {"name": "east", "contact": "x" * 256})
    assert_error(refused, errors.INVALID_FIELD_VALUE, "contact")
    assert (await api.admin.get("/api/cluster")).body == shown
    both = await api.admin.patch("/api/cluster", {"name": "east", "contact": "me"})
    assert both.status == 200
    said = "renamed the cluster from keystead and changed the cluster's contact or location"
    assert (await api.audit())[-1].message == said


async def test_the_cluster_is_renamed(api: Api) -> None:
    """The change is audited; the nodes keep their names."""
    answer = await api.admin.patch("/api/cluster?return_timeout=0", {"name": "east"})
    assert (answer.status, answer.body) == (200, {})
    assert (await api.admin.get("/api/cluster")).body["name"] == "east"
    assert (await api.admin.get("/api/cluster/nodes")).body["records"][0]["name"] == "keystead-01"
    assert [(record.path, record.message) for record in await api.audit()] == [
        ("/api/cluster", "renamed the cluster from keystead")
    ]
    assert_error(await api.admin.patch("/api/cluster", {"name": "a" * 45}), errors.INVALID_FIELD_VALUE, "name")
    assert_error(await api.admin.patch("/api/cluster", {"uuid": ABSENT}), errors.FIELD_NOT_SETTABLE, "uuid")
    assert_error(await api.readonly.patch("/api/cluster", {"name": "x"}), errors.NOT_AUTHORIZED)
