"""What the examples of the client's documentation take for granted. Each function makes it by calls of the API.

A function returns what stands in place of the printed identifiers, as a mapping from the printed ones.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests.peers.fault_servers import refused_port

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.testing.key_servers import KeyServers
    from tests.conformance.documented.running import Login
    from tests.peers.certificates import Credentials
    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Client, Service

Given = Mapping[str, str]

PASSWORD = "7 words for a test"
NEW_PASSWORD = "8 words for the same test"
WITHIN_S = 60
SECONDARIES = ("127.0.0.2", "127.0.0.3")
ADMINISTRATOR, ALLOWED, NOT_ALLOWED = "the SVM's administrator", "SVM with protocols", "SVM without protocols"
"""Names of what no example names."""


@dataclass(frozen=True)
class World:
    """A running service, its administrator, and key servers: sound ones, and some that keep objects."""

    service: Service
    call: Client
    login: Login
    pki: Pki
    ports: Sequence[int]
    keeping: KeyServers

    def server(self, number: int) -> str:
        """The address of a sound key server."""
        return f"127.0.0.1:{self.ports[number]}"

    def svm(self) -> tuple[str, str]:
        """Make an SVM: its uuid and name."""
        name = f"svm-{uuid4().hex[:8]}"
        return self.call.create("/svm/svms", {"name": name})["uuid"], name

    def node(self) -> str:
        """The uuid of the one node."""
        (found,) = self.call.get("/cluster/nodes")["records"]
        uuid: str = found["uuid"]
        return uuid

    def installed(self, body: Mapping[str, Any], svm: str = "") -> str:
        """Install or make a certificate, of the cluster without an SVM's uuid; its uuid."""
        owner = {"svm": {"uuid": svm}} if svm else {}
        named = {"name": uuid4().hex[:8], **body, **owner}
        uuid: str = self.call.create("/security/certificates", named)["uuid"]
        return uuid

    def pair(self, svm: str = "", client: Credentials | None = None, ca: str = "") -> tuple[str, str]:
        """Install a client certificate and a server CA, those of the sound key servers by default: their uuids."""
        client = client or self.pki.client
        pair = {"public_certificate": client.certificate_pem, "private_key": client.key_pem}
        server_ca = {"type": "server_ca", "public_certificate": ca or self.pki.server_ca.pem}
        return self.installed({"type": "client", **pair}, svm), self.installed(server_ca, svm)

    def manager(self, *servers: str, svm: str = "", pair: tuple[str, str] = ("", ""), query: str = "") -> str:
        """Make a key manager, of the cluster without an SVM's uuid; its uuid."""
        client, ca = pair if all(pair) else self.pair(svm)
        external = {
            "client_certificate": {"uuid": client},
            "server_ca_certificates": [{"uuid": ca}],
            "servers": [{"server": server} for server in servers],
        }
        owner = {"svm": {"uuid": svm}} if svm else {}
        path = f"/security/key-managers?return_records=true{query}"
        answer = self.call("POST", path, {"external": external, **owner})
        assert answer.status == 201, answer.content
        uuid: str = answer.body["records"][0]["uuid"]
        return uuid

    def patch(self, path: str, body: Mapping[str, Any]) -> None:
        """Change something."""
        answer = self.call("PATCH", path, body)
        assert answer.status == 200, answer.content

    def account(self, svm: str = "") -> str:
        """Make an account that logs in with :data:`PASSWORD`: its name."""
        name = f"user-{uuid4().hex[:8]}"
        by_password = [{"application": "http", "authentication_methods": ["password"]}]
        owner = {"owner": {"uuid": svm}} if svm else {}
        body = {"name": name, "password": PASSWORD, "applications": by_password, **owner}
        self.call.create("/security/accounts", body)
        return name

    def clear(self) -> None:
        """Take away what a cluster has only one of, and destinations."""
        for path in (
            *("/security/key-managers?scope=cluster&enabled=true", "/security/key-stores?enabled=false"),
            *("/security/audit/destinations?address=*", "/support/ems/destinations?name=*"),
        ):
            answer = self.call("DELETE", path)
            assert answer.status == 200, answer.content


# --- key managers ----------------------------------------------------------------------------------------------------


def nothing(_: World) -> Given:
    """Make nothing."""
    return {}


def servers_of(world: World) -> Given:
    """Name sound key servers."""
    return {
        "10.225.89.33:5696": world.server(0),
        "10.225.89.34:5696": world.server(1),
        "104.224.89.33:5696": world.server(0),
        "104.224.89.34:5696": world.server(1),
        "{server}": world.server(0),
        "1.1.1.1": SECONDARIES[0],
        "secondarykeyserver.com": SECONDARIES[1],
    }


def certificates(world: World) -> Given:
    """Install certificates in the cluster and in an SVM that has no key manager yet."""
    svm, _ = world.svm()
    client, ca = world.pair()
    client_of_svm, ca_of_svm = world.pair(svm)
    return {
        **servers_of(world),
        "5fb1701a-d922-11e8-bfe8-005056bb017d": client,
        "827d7d31-d6c8-11e8-b5bf-005056bb017d": ca,
        "91dcaf7c-dbbd-11e8-9b2c-005056bb017d": client_of_svm,
        "a4d4b8ba-dbbd-11e8-9b2c-005056bb017d": ca_of_svm,
        "216e6c26-d6c6-11e8-b5bf-005056bb017d": svm,
    }


def _of_svm(world: World, *servers: str) -> Given:
    svm, _ = world.svm()
    uuid = world.manager(*servers, svm=svm)
    ca = world.installed({"type": "server_ca", "public_certificate": world.pki.server_ca.pem}, svm)
    node = world.call.get(f"/cluster/nodes/{world.node()}")["name"]
    return {
        **servers_of(world),
        "<uuid>": uuid,
        "{uuid}": uuid,
        "43e0c191-dc5c-11e8-9b2c-005056bb017d": uuid,
        "23b05c58-d790-11e8-b5bf-005056bb017d": ca,
        "sti65-vsim-ucs148i": node,
    }


def key_manager(world: World) -> Given:
    """Make an SVM's key manager with two key servers, of which the first has secondaries."""
    given = _of_svm(world, world.server(0), world.server(1))
    path = f"/security/key-managers/{given['<uuid>']}/key-servers/{world.server(0)}"
    world.patch(path, {"secondary_key_servers": SECONDARIES})
    return given


def key_manager_without_secondaries(world: World) -> Given:
    """Make an SVM's key manager with a key server that has no secondaries."""
    return _of_svm(world, world.server(0))


def key_manager_with_another_server(world: World) -> Given:
    """Make an SVM's key manager, with a key server that no example names."""
    return _of_svm(world, world.server(2))


def key_managers(world: World) -> Given:
    """Make key managers of the cluster and of an SVM."""
    world.manager(world.server(2))
    return key_manager(world)


def key_store(world: World) -> Given:
    """Make a key manager of the cluster."""
    return {"33421d82-0a8d-11ec-ae88-005056bb5955": world.manager(world.server(0))}


def inactive_key_store(world: World) -> Given:
    """Make an inactive key manager of the cluster."""
    uuid = world.manager(world.server(0), query="&create_inactive=true")
    return {"33421d82-0a8d-11ec-ae88-005056bb5955": uuid}


def volume_key(world: World) -> Given:
    """Make an SVM's key manager on key servers that keep objects, and a volume key."""
    svm, _ = world.svm()
    pair = world.pair(svm, world.keeping.client, world.keeping[0].ca)
    uuid = world.manager(*(server.address for server in world.keeping), svm=svm, pair=pair)
    key = world.call.create(f"/security/key-managers/{uuid}/volume-keys", {"name": "volume", "key_tag": "vsim1"})
    return {
        "f4f98a48-8a5c-c548-cd03-c6335f5803a8": uuid,
        "00000000-0000-0000-0000-000000000000": world.node(),
        "000000000000000002000000000005009ad4da8fea2cafe2bed803078b780ebe0000000000000c01": key["key_id"],
    }


def authentication_keys(world: World) -> Given:
    """Make a key manager of the cluster on key servers that keep objects, and two authentication keys."""
    pair = world.pair("", world.keeping.client, world.keeping[0].ca)
    uuid = world.manager(*(server.address for server in world.keeping), pair=pair)
    keys = [world.call.create(f"/security/key-managers/{uuid}/auth-keys", {"key_tag": "vsim1"}) for _ in range(2)]
    return {
        "5fb1701a-d922-11e8-bfe8-005056bb017d": uuid,
        "0000000000000000020000000000010041a2dda969b0d179db8f1c78d629d0f10000000000000000": keys[0]["key_id"],
        "7c179931-044b-11ed-b7cd-005056bbc535": uuid,
        "44dac31e-0449-11ed-b7cd-005056bbc535": world.node(),
    }


# --- all else --------------------------------------------------------------------------------------------------------


def svm(world: World) -> Given:
    """Make an SVM, and name one that does not exist yet."""
    uuid, name = world.svm()
    return {"f16f0935-5281-11e8-b94d-005056b46485": uuid, **dict.fromkeys(("testVs", "svm5", "svm_new"), f"new-{name}")}


def svms_with_and_without_protocols(world: World) -> Given:
    """Make an SVM that may have protocols, and one that may not."""
    (uuid, name), (_, other) = world.svm(), world.svm()
    world.patch(f"/svm/svms/{uuid}", {protocol: {"allowed": True} for protocol in ("fcp", "cifs", "ndmp", "s3")})
    return {ALLOWED: name, NOT_ALLOWED: other}


def svm_with_certificate(world: World) -> Given:
    """Make an SVM with a certificate for a server."""
    given = svm(world)
    certificate = {"type": "server", "common_name": "vs0"}
    uuid = world.installed(certificate, given["f16f0935-5281-11e8-b94d-005056b46485"])
    return {**given, "1cd8a442-86d1-11e0-ae1c-123478563412": uuid}


def svm_account(world: World) -> Given:
    """Make an SVM with an account."""
    uuid, name = world.svm()
    return {
        "aaef7c38-4bd3-11e9-b238-0050568e2e25": uuid,
        "aef7c38-4bd3-11e9-b238-0050568e2e25": uuid,
        "svm_user1": world.account(uuid),
        "cluster_user1": world.account(),
        "svm1": name,
        "<USER-PASSWORD>": NEW_PASSWORD,
    }


def roles(world: World) -> Given:
    """Make roles of an SVM and of the cluster, each with access to a path and to a path with an identifier in it."""
    uuid, name = world.svm()
    path = "/api/security/certificates"
    qualified = f"/api/security/key-managers/{uuid4()}/key-servers"
    privileges = [{"path": each, "access": "readonly"} for each in (path, qualified)]
    world.call.create("/security/roles", {"name": "svm_role1", "owner": {"uuid": uuid}, "privileges": privileges})
    cluster_role = f"role-{uuid4().hex[:8]}"
    owner = {"owner": {"uuid": uuid}}
    world.call.create("/security/roles", {"name": cluster_role, "privileges": privileges, **owner})
    made = world.call.create("/security/roles", {"name": cluster_role, "privileges": privileges})
    return {
        "aaef7c38-4bd3-11e9-b238-0050568e2e25": uuid,
        "secure_role": "svm_role1",
        "223e4567-e89b-12d3-a456-426614174000": made["owner"]["uuid"],
        "a6786ae5-93a0-411c-bcfd-16c53ecff612": made["owner"]["uuid"],
        "cluster_role1": cluster_role,
        "/api/protocols": path,
        "/api/storage/volumes/742ef001-24f0-4d5a-9ec1-2fdaadb282f4/files": qualified,
        "/api/storage/volumes/d0f3b91a-4ce7-4de4-afb9-7eda668659dd//snapshots": qualified,
        "/api/storage/svm/6e000659-9a16-11ec-819e-005056bb1a7c/top-metrics/files": qualified,
        "/api/data-engine/policies/*/versions": qualified,
        "/api/data-engine/workspaces/d0f3b91a-4ce7-4de4-afb9-7eda668659dd/entities": qualified,
        "/api/dcn/network/ports/91796b96-5207-4d0b-93fb-7a2062b8358e/metrics": qualified,
        "svm1": name,
    }


def login_messages(world: World) -> Given:
    """Set the login messages of the cluster and of two SVMs."""
    uuid, name = world.svm()
    world.patch(f"/security/login/messages/{uuid}", {"message": "Welcome to SVM1", "show_cluster_message": True})
    other, _ = world.svm()
    world.patch(f"/security/login/messages/{other}", {"banner": "WARNING"})
    of_cluster = {"banner": "WARNING", "message": "Welcome to Cluster X", "show_cluster_message": True}
    world.patch("/security/login/messages?scope=cluster", of_cluster)
    return {"7b1b3715-9ffa-11e8-a5dd-005056bbef18": uuid, "svm1": name, ADMINISTRATOR: world.account(uuid)}


def login_messages_of_the_cluster(world: World) -> Given:
    """Set the login messages of a cluster without SVMs."""
    world.patch("/security/login/messages?scope=cluster", {"banner": "WARNING", "message": "Welcome"})
    return {}


def installed_certificates(world: World) -> Given:
    """Install certificates in the cluster and in an SVM."""
    uuid, name = world.svm()
    world.pair()
    return {
        "dad2363b-8ac0-11e8-9058-005056b482fc": world.installed({"type": "server", "common_name": name}, uuid),
        "vs0": name,
    }


def certificate_to_install(world: World) -> Given:
    """Make an SVM, and name a certificate."""
    _, name = world.svm()
    return {"vs0": name, "<CERTIFICATE-CONTENT>": _in_text(world.pki.server_ca.pem)}


def authority(world: World) -> Given:
    """Make an authority, and name a request for it to sign."""
    answer = world.call("POST", "/security/certificate-signing-request", {"subject_name": "CN=signed"})
    return {
        "253add53-8ac9-11e8-9058-005056b482fc": world.installed({"type": "root_ca", "common_name": "ROOT"}),
        "<CERTIFICATE-CONTENT>": _in_text(answer.body["csr"]),
    }


def _in_text(pem: str) -> str:
    """Return PEM as it is written in a literal of Python."""
    return pem.replace("\n", "\\n")


def job(world: World) -> Given:
    """Have something done as a job."""
    given = key_manager(world)
    ca = {"external": {"server_ca_certificates": [{"uuid": given["23b05c58-d790-11e8-b5bf-005056bb017d"]}]}}
    world.patch(f"/security/key-managers/{given['<uuid>']}?validate_certificates=true&return_timeout=15", ca)
    (newest, *_) = world.call.get("/cluster/jobs?order_by=start_time%20desc")["records"]
    names = (
        *("b5145e1d-b53b-11e8-8252-005056bbd8f5", "b5bc07e2-1e9-11e9-a751-005056bbd95f"),
        *("ebcbd82d-1cd4-11ea-8f75-005056ac4adc", "8e7f59ee-a9c4-4faa-9513-bef689bbf2c2"),
        "b45b6290-f4f2-442a-aa0e-4d3ffefe5e0d",
    )
    return dict.fromkeys(names, newest["uuid"])


def event(world: World) -> Given:
    """Have an event: an account may read keys now."""
    name = world.account()
    world.patch(f"/security/accounts?name={name}", {"role": {"name": "key-reader"}})
    return {}


def no_audit_destination(_: World) -> Given:
    """Name a syslog server on this host."""
    return {"1.1.1.1": "127.0.0.1"}


def audit_destination(world: World) -> Given:
    """Have a destination of audit records."""
    given = no_audit_destination(world)
    world.call.create("/security/audit/destinations", {"address": given["1.1.1.1"], "port": 514, "facility": "kern"})
    return given


def event_destination(world: World) -> Given:
    """Have a destination of events."""
    name = f"siem-{uuid4().hex[:8]}"
    destination = {"type": "syslog", "destination": "127.0.0.1", "filters": [{"name": "important-events"}]}
    world.call.create("/support/ems/destinations", {"name": name, **destination})
    return {"snmp-traphost": name, "test-destination": name}


def failing_webhook(world: World) -> Given:
    """Have a webhook that nobody serves, and an event for it."""
    name = f"hook-{uuid4().hex[:8]}"
    url = f"https://127.0.0.1:{refused_port()}/in"
    filters = [{"name": "important-events"}]
    hook = {"name": name, "type": "rest_api", "destination": url, "filters": filters}
    world.call.create("/support/ems/destinations", hook)
    event(world)
    state = f"/support/ems/destinations/{name}?fields=connectivity.state"
    until = time.monotonic() + WITHIN_S
    while world.call.get(state)["connectivity"]["state"] != "fail":
        assert time.monotonic() < until
        time.sleep(0.05)
    return {"rest-api-destination": name}


def event_filter(world: World) -> Given:
    """Have a filter of events with a rule."""
    name = f"filter-{uuid4().hex[:8]}"
    rule = {"type": "include", "message_criteria": {"name_pattern": "km.*", "severities": "alert"}}
    world.call.create("/support/ems/filters", {"name": name, "rules": [rule]})
    return {"aggregate-events": name, "test-filter": name}


def node(world: World) -> Given:
    """Name the node."""
    return {"{uuid}": world.node()}


def kinds_of_events(_: World) -> Given:
    """Name the beginning of the names of some events."""
    return {"C*": "k*"}


def described_cluster(world: World) -> Given:
    """Say where the cluster is, and who looks after it."""
    world.patch("/cluster", {"contact": "me", "location": "datacenter1"})
    return {}
