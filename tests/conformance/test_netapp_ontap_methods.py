"""Every public method of the client's classes for key management, against a real service on each database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from netapp_ontap import NetAppRestError, config
from netapp_ontap.resources import (
    Cluster,
    Job,
    KeyServer,
    SecurityCertificate,
    SecurityConfig,
    SecurityKeyManager,
    SecurityKeystore,
    Svm,
)

from tests.conformance.conftest import BOTH_DATABASES
from tests.conformance.driven import expect_every_method

if TYPE_CHECKING:
    from collections.abc import Callable

    from netapp_ontap import HostConnection
    from netapp_ontap.resource import Resource

    from tests.conformance.conftest import Installed

pytestmark = BOTH_DATABASES


def key_servers(at: Installed) -> None:
    """A list's life: one is added, then two; they are changed, looked for and removed, one and all."""
    first, second, third, fourth = at.servers[:4]
    uuid = made_manager(at).uuid
    server = KeyServer(uuid, server=second)
    server.post(hydrate=True)
    server.timeout = 11
    server.patch(hydrate=True)
    assert (server.timeout, server.poll(hydrate=True).http_response.status_code) == (11, 200)
    added = KeyServer.post_collection(
        [KeyServer(server=each) for each in (third, fourth)], uuid, hydrate=True, return_records=True
    )
    assert [each.timeout for each in added] == [25, 25]
    assert KeyServer.patch_collection({"timeout": 12}, uuid, server=f"{third}|{fourth}").http_response.ok
    assert KeyServer.count_collection(uuid, timeout=">=12") == 3
    by_size = KeyServer.get_collection(uuid, timeout="11..12", order_by="timeout desc", fields="timeout", max_records=1)
    assert [each.timeout for each in by_size] == [12, 12, 11]
    quick = list(KeyServer.fast_get_collection(uuid, fields="connectivity"))
    assert [each.promote().connectivity.cluster_availability for each in quick] == [True] * 4
    found = KeyServer.find(uuid, server=f"!{first}", timeout="<12")
    assert found.server == second
    with pytest.raises(NetAppRestError, match=r"Only 1 resource was expected\. Found 4"):
        KeyServer.find(uuid, server="127.0.0.1*")
    offline(server, found, uuid)
    assert server.delete().http_response.json() == {}
    assert refusal(server.delete) == (400, "65536843")
    assert KeyServer.delete_collection(uuid, server="127.*").http_response.json()["num_records"] == 3
    assert KeyServer.count_collection(uuid) == 0


def key_managers(at: Installed) -> None:
    """Key managers of two SVMs, made one by one and as records, given a policy and new certificates, and removed."""
    manager = made_manager(at)
    manager.get(fields="**")
    assert manager.external.servers[0].connectivity.cluster_availability is True
    ca = SecurityCertificate(
        type="server_ca", public_certificate=at.server_ca.public_certificate, svm={"uuid": at.svm.uuid}
    )
    ca.post(hydrate=True)
    manager.external = {"server_ca_certificates": [{"uuid": at.server_ca.uuid}, {"uuid": ca.uuid}]}
    manager.patch(hydrate=True)
    assert [each.uuid for each in manager.external.server_ca_certificates] == [at.server_ca.uuid, ca.uuid]
    manager.external = {"server_ca_certificates": [{"uuid": at.server_ca.uuid}]}
    started = manager.patch(poll=False, validate_certificates=True)
    assert started.http_response.status_code == 202
    assert manager.poll().http_response.json()["state"] == "success"
    other = Svm(name=f"{at.svm.name}-2")
    other.post(hydrate=True)
    values = at.key_manager(at.servers[1], svm=False).to_dict() | {"svm": {"name": other.name}}
    (second,) = SecurityKeyManager.post_collection([SecurityKeyManager.from_dict(values)], hydrate=True)
    assert second.svm.uuid == other.uuid
    both = {"svm.name": f"{at.svm.name}*"}
    assert SecurityKeyManager.count_collection(**both) == 2
    assert SecurityKeyManager.patch_collection({"policy": "one"}, **both).http_response.json()["num_records"] == 2
    assert [each.policy for each in SecurityKeyManager.get_collection(fields="policy", **both)] == ["one", "one"]
    quick = list(SecurityKeyManager.fast_get_collection(policy="one", max_records=1, **both))
    assert {each.promote().uuid for each in quick} == {manager.uuid, second.uuid}
    found = SecurityKeyManager.find(**{"external.servers.server": at.servers[1], "svm.name": other.name})
    assert found.uuid == second.uuid
    offline(manager, found)
    assert manager.restore(body={}).http_response.json()["state"] == "success"
    assert refusal(manager.migrate, body={}) == (404, "3")
    assert manager.delete().http_response.json() == {}
    assert refusal(manager.get) == (404, "4")
    assert SecurityKeyManager.delete_collection(records=[second]).http_response.ok
    assert SecurityKeyManager.count_collection(**both) == 0


def certificates(at: Installed) -> None:
    """An authority and certificates, made by us and installed, found by what is in them, and removed."""
    prefix = f"{at.svm.name}-made"
    authority = SecurityCertificate(type="root_ca", common_name="Authority", name=f"{prefix}-a")
    authority.post(hydrate=True)
    made = SecurityCertificate.post_collection(
        [SecurityCertificate(type="client", common_name=name, name=f"{prefix}-{name}") for name in ("b", "c")],
        hydrate=True,
    )
    assert [each.common_name for each in made] == ["b", "c"]
    ours = {"name": f"{prefix}*"}
    assert SecurityCertificate.count_collection(type="client", **ours) == 2
    listed = SecurityCertificate.get_collection(order_by="name desc", max_records=2, fields="key_size,ca", **ours)
    assert [(each.name, each.ca) for each in listed] == [(f"{prefix}-{name}", name) for name in ("c", "b")] + [
        (f"{prefix}-a", "Authority")
    ]
    quick = SecurityCertificate.fast_get_collection(common_name="b|c", expiry_time=">2026-01-01T00:00:00Z", **ours)
    assert len(list(quick)) == 2
    found = SecurityCertificate.find(serial_number=authority.serial_number)
    assert found.uuid == authority.uuid
    request = SecurityConfig().certificate_signing_request(body={"subject_name": "CN=signed", "algorithm": "ec"})
    signed = authority.sign(body={"signing_request": request.http_response.json()["csr"]}).http_response.json()
    assert signed["public_certificate"].startswith("-----BEGIN CERTIFICATE-----")
    offline(authority, found)
    assert authority.poll().http_response.status_code == 200
    assert authority.delete().http_response.json() == {}
    assert SecurityCertificate.delete_collection(**ours).http_response.json()["num_records"] == 2
    assert SecurityCertificate.count_collection(**ours) == 0


def key_stores(at: Installed) -> None:
    """An inactive configuration of the cluster is enabled; another is made, listed and deleted."""
    inactive = at.key_manager(at.servers[0], svm=False)
    inactive.post(create_inactive=True)
    store = SecurityKeystore.find(uuid=inactive.uuid)
    assert (store.enabled, store.type, store.location, store.scope) == (False, "kmip", "external", "cluster")
    store.enabled = True
    store.patch(hydrate=True)
    assert (store.state, store.poll().http_response.status_code) == ("active", 200)
    assert refusal(store.delete) == (400, "65538905")
    assert SecurityKeystore.count_collection(enabled="true", scope="cluster") == 1
    offline(store, SecurityKeystore.find(uuid=store.uuid))
    SecurityKeyManager(uuid=store.uuid).delete()
    for way in ("one", "many"):
        again = at.key_manager(at.servers[0], svm=False)
        again.post(create_inactive=True)
        (listed,) = SecurityKeystore.get_collection(enabled="false", fields="**")
        (quick,) = SecurityKeystore.fast_get_collection(enabled="false")
        assert listed.uuid == again.uuid == quick.promote().uuid
        listed.get()
        if way == "one":
            assert listed.delete().http_response.json() == {}
        else:
            assert SecurityKeystore.delete_collection(uuid=again.uuid).http_response.json()["num_records"] == 1
    last = at.key_manager(at.servers[0], svm=False)
    last.post(create_inactive=True)
    assert SecurityKeystore.patch_collection({"enabled": True}, uuid=last.uuid).http_response.ok
    assert SecurityKeystore.count_collection(enabled="true", scope="cluster") == 1
    last.delete()


def svms(at: Installed) -> None:
    """SVMs are made, renamed, found and deleted, one by one, by query and as records."""
    prefix = f"{at.svm.name}-"
    one = Svm(name=f"{prefix}a")
    one.post(hydrate=True)
    one.name = f"{prefix}b"
    one.patch(hydrate=True)
    assert (one.name, one.poll(hydrate=True).http_response.status_code) == (f"{prefix}b", 200)
    made = Svm.post_collection([Svm(name=f"{prefix}{letter}") for letter in "cde"], hydrate=True)
    ours = {"name": f"{prefix}*"}
    assert (Svm.count_collection(**ours), Svm.count_collection(state="stopped", **ours)) == (4, 0)
    assert [svm.name[-1] for svm in Svm.get_collection(order_by="name desc", max_records=3, **ours)] == list("edcb")
    assert Svm.find(name=f"{prefix}b").uuid == one.uuid
    assert {raw.promote().uuid for raw in Svm.fast_get_collection(**ours)} == {svm.uuid for svm in (one, *made)}
    made[0].name = f"{prefix}f"
    assert Svm.patch_collection({}, records=made[:1]).http_response.ok
    made[0].get()
    assert made[0].name == f"{prefix}f"
    offline(one, made[0])
    assert one.delete().http_response.json() == {}
    assert Svm.delete_collection(**ours).http_response.json()["num_records"] == 3
    assert Svm.count_collection(**ours) == 0


def cluster(at: Installed) -> None:
    """The cluster is read and renamed; it cannot be made, and has no mediator."""
    one = Cluster()
    one.get()
    before = one.name
    one.name = f"renamed-{at.svm.name}"
    one.patch(hydrate=True)
    assert one.name == f"renamed-{at.svm.name}"
    one.name = before
    one.patch()
    assert one.poll().http_response.status_code == 200
    again = Cluster()
    again.get(fields="version")
    assert (again.version.generation, again.version.major) == (9, 18)
    assert refusal(Cluster(name="new").post) == (405, "3")
    assert refusal(one.mediator_ping, body={}) == (404, "3")
    security = SecurityConfig()
    security.get(fields="*")
    assert (security.fips.enabled, security.tls.protocol_versions) == (False, ["TLSv1.3", "TLSv1.2"])
    security.fips.enabled = True
    assert refusal(security.patch) == (405, "3")
    offline(one, one)


def jobs(at: Installed) -> None:
    """A job is found by what it did and when; one that has ended cannot be cancelled."""
    Svm.post_collection([Svm(name=f"{at.svm.name}-job")])
    ours = {"description": "POST /api/svm/svms", "state": "success"}
    newest, *_ = Job.get_collection(order_by="start_time desc", fields="*", **ours)
    newest.get()
    assert (newest.state, newest.code, newest.message) == ("success", 0, "success")
    assert newest.poll(hydrate=True).http_response.json()["uuid"] == newest.uuid
    found = Job.find(uuid=newest.uuid, start_time=f"<={newest.end_time.isoformat()}")
    assert (found.uuid, found.description) == (newest.uuid, ours["description"])
    assert Job.count_collection(**ours) == len(list(Job.fast_get_collection(max_records=1, **ours)))
    offline(newest, found)
    assert refusal(newest.patch, action="cancel") == (400, "458762")
    assert refusal(Job.patch_collection, {}, action="cancel", uuid=newest.uuid) == (405, "3")


LIVES: dict[type[Resource], Callable[[Installed], None]] = {
    KeyServer: key_servers,
    SecurityKeyManager: key_managers,
    SecurityCertificate: certificates,
    SecurityKeystore: key_stores,
    Svm: svms,
    Cluster: cluster,
    Job: jobs,
}


@pytest.mark.parametrize("resource", LIVES, ids=lambda resource: resource.__name__)
def test_every_method(installed: Installed, resource: type[Resource]) -> None:
    """All that the class offers is used, with what is expected of it: the client's method list decides, not ours."""
    with expect_every_method(resource):
        LIVES[resource](installed)


def test_what_is_not_used_is_named(connection: HostConnection) -> None:
    """The check of the methods can fail."""
    with pytest.raises(AssertionError, match="mediator_ping"), expect_every_method(Cluster), connection:
        Cluster().get()


def made_manager(at: Installed) -> SecurityKeyManager:
    """The SVM's key manager, with its first server."""
    manager = at.key_manager(at.servers[0])
    manager.post(hydrate=True)
    return manager


def offline(resource: Resource, read: Resource, *parents: str) -> None:
    """Return what a class offers beside calls: paths, forms, and its own check of what came from us."""
    answered = read.to_dict()
    plain = {name: value for name, value in answered.items() if not isinstance(value, (dict, list))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "STRICT_FIELD_ACCEPTANCE", True)  # a field that it does not know is an error
        assert type(read).from_dict(answered, *parents).to_dict() == answered
        type(read).from_dict(plain, *parents).validate_schema()  # it cannot check nested objects that it read
    assert resource.instance_location.startswith(resource.get_collection_url().removeprefix(at_origin(resource)))
    assert len(resource.path_keys) == len(parents)
    resource.set_connection(resource.get_connection())
    assert resource.get().http_response.status_code == 200


def at_origin(resource: Resource) -> str:
    """The beginning of the service's URLs."""
    origin: str = resource.get_connection().origin
    return origin


def refusal(method: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[int, str]:
    """Status and code of a call that is refused."""
    with pytest.raises(NetAppRestError) as refused:
        method(*args, **kwargs)
    return refused.value.status_code, refused.value.response_body["error"]["code"]
