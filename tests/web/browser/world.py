"""What the pages show: a service over real PyKMIP servers and over key servers of which some are broken.

Two SVMs: ``vs1`` has keys on sound servers, ``vs2`` has lost two of four. Names are fixed, for the snapshots.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from keystead.core.console_paths import key_server_path
from keystead.testing.key_servers import KeyServers
from keystead.web.pages import PAGES
from tests.peers.certificates import DAY
from tests.peers.keystead import PASSWORD, create_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.peers.certificates import Credentials
    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Client, Installation, Service

QUICK: Final = {"monitor_interval": "1", "monitor_probe_interval": "2"}
SETTLED_S: Final = 60
HTTP: Final = {"application": "http", "authentication_methods": ["password"]}
ACCOUNTS: Final = (("auditor", "readonly", None), ("vs1-admin", "vsadmin", "vs1"), ("reader", "key-reader", None))
"""Name, role and SVM of the accounts beside ``admin``. All have its password."""


@dataclass(frozen=True)
class World:
    """A running service and its key servers. ``vs1`` and ``vs2`` are the uuids of the key managers.

    ``key``, ``deleted`` (both of vs1) and ``other_key`` (of vs2) are key ids. ``certificate`` and its ``successor`` are
    uuids of client certificates of vs1. ``job`` is the uuid of a proof of vs1 that has ended.
    """

    service: Service
    servers: KeyServers
    vs1: str
    vs2: str
    key: str
    deleted: str
    other_key: str
    certificate: str
    successor: str
    job: str


DOWNLOADS: Final = frozenset({"/key-managers/{uuid}/survival/reports/{report}"})
"""Paths that answer with a file."""

PATHS: Final = tuple(sorted(page.path for page in PAGES if page.method == "GET" and page.path not in DOWNLOADS))
"""The pages that can be opened."""


def server_path(of: World) -> str:
    """Return the path of the page of the server whose certificate is expired."""
    return key_server_path(of.vs2, of.servers[1].address)


EXAMPLES: Final[Mapping[str, Callable[[World], str]]] = {
    "/keys/{uuid}/{key_id}": lambda world: f"/keys/{world.vs1}/{world.key}",
    "/certificates/{uuid}": lambda world: f"/certificates/{world.certificate}",
    "/certificates/{uuid}/successor": lambda world: f"/certificates/{world.certificate}/successor",
    "/certificates/{uuid}/successor/{new}": lambda world: (
        f"/certificates/{world.certificate}/successor/{world.successor}"
    ),
    "/jobs/{uuid}": lambda world: f"/jobs/{world.job}",
    "/accounts/{name}": lambda _: "/accounts/auditor",
    "/key-managers/{uuid}/key-servers/add": lambda world: f"/key-managers/{world.vs1}/key-servers/add",
    "/key-managers/{uuid}/key-servers/{server}": server_path,
    "/key-managers/{uuid}/key-servers/{server}/change": lambda world: f"{server_path(world)}/change",
    "/key-managers/{uuid}/key-servers/{server}/remove": lambda world: f"{server_path(world)}/remove",
    "/key-managers/{uuid}/key-servers/{server}/replace": lambda world: f"{server_path(world)}/replace",
    "/key-managers/{uuid}/survival": lambda world: f"/key-managers/{world.vs2}/survival",
}
"""An example of each page whose path has parameters."""


def page_of(path: str, of: World) -> str:
    """Return the path of a page, or of its example."""
    return EXAMPLES[path](of) if "{" in path else path


@contextlib.contextmanager
def world(installation: Installation, pki: Pki, sound: Sequence[str]) -> Iterator[World]:
    """Run a world. ``sound`` are addresses of key servers that stay as they are, with the certificates of ``pki``."""
    with (
        KeyServers(4, one_ca=True) as servers,
        replace(installation, settings=QUICK).serving() as service,
        service.client() as call,
    ):
        vs1, (certificate, *_) = make_svm(call, "vs1", sound, pki.client, [pki.server_ca.pem])
        vs2, _ = make_svm(call, "vs2", [each.address for each in servers], servers.client, servers.cas)
        make_accounts(call)
        key, deleted = (str(make_key(call, vs1, name)) for name in ("vol1", "vol2"))
        assert call("DELETE", f"/security/key-managers/{vs1}/volume-keys/{deleted}").status == 200
        other_key = make_key(call, vs2, "vol3")
        renewed = pki.client_ca.issue((), common_name="keystead", purpose="client", key=pki.client.key, ends=20 * DAY)
        successor = install(call, "vs1-client-2", "client", "vs1", renewed.certificate_pem, renewed.key_pem)
        settled(call, vs1, len(sound) * ["available"])
        job = prove(call, vs1)
        break_(call, vs2, servers)
        yield World(service, servers, vs1, vs2, key, deleted, other_key, certificate, successor, job)


def make_svm(
    call: Client, name: str, servers: Sequence[str], client: Credentials, cas: Sequence[str]
) -> tuple[str, list[str]]:
    """Create an SVM with certificates and a key manager. Return the uuids of the key manager and the certificates."""
    call.create("/svm/svms", {"name": name})
    own = install(call, f"{name}-client", "client", name, client.certificate_pem, client.key_pem)
    trusted = [install(call, f"{name}-ca-{number}", "server_ca", name, pem) for number, pem in enumerate(cas, 1)]
    external = {
        "client_certificate": {"uuid": own},
        "server_ca_certificates": [{"uuid": each} for each in trusted],
        "servers": [{"server": each} for each in servers],
    }
    made = call.create("/security/key-managers", {"svm": {"name": name}, "external": external})
    return made["uuid"], [own, *trusted]


def install(call: Client, name: str, type_: str, svm: str, pem: str, key: str = "") -> str:
    """Install a certificate, and return its uuid."""
    body = {"name": name, "type": type_, "svm": {"name": svm}, "public_certificate": pem}
    return str(call.create("/security/certificates", body | ({"private_key": key} if key else {}))["uuid"])


def make_accounts(call: Client) -> None:
    """Create the accounts."""
    for name, role, svm in ACCOUNTS:
        body: dict[str, Any] = {"name": name, "role": {"name": role}, "applications": [HTTP], "password": PASSWORD}
        call.create("/security/accounts", body | ({"owner": {"name": svm}} if svm else {}))


def make_key(call: Client, key_manager: str, name: str) -> str:
    """Create a key, and return its key id."""
    return str(create_key(call, f"/security/key-managers/{key_manager}", name)["key_id"])


def prove(call: Client, key_manager: str) -> str:
    """Prove the copies of all keys. Return the uuid of the job, which has ended."""
    job = str(call("POST", f"/security/key-managers/{key_manager}/prove").body["job"]["uuid"])
    until = time.monotonic() + SETTLED_S
    while (state := call.get(f"/cluster/jobs/{job}")["state"]) in {"queued", "running"}:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert state == "success"
    return job


def state_of(call: Client, key_manager: str, key_id: str) -> str:
    """Return the state of a key."""
    path = f"/security/key-managers/{key_manager}/volume-keys/{key_id}?fields=state"
    return str(call.get(path)["state"])


def break_(call: Client, key_manager: str, servers: KeyServers) -> None:
    """Break two servers, one after the other, and wait until the service knows."""
    states = len(servers) * ["available"]
    settled(call, key_manager, states)
    for number, fault in ((1, "expired"), (2, "client_ca")):
        servers[number].break_(fault)
        states[number] = "not_responding"
        settled(call, key_manager, states)


def settled(call: Client, key_manager: str, wanted: Sequence[str]) -> None:
    """Wait until the node sees the servers of a key manager so, in their order."""
    until = time.monotonic() + SETTLED_S
    path = f"/security/key-managers/{key_manager}/key-servers?fields=connectivity"
    while (seen := [_state(each) for each in call.get(path)["records"]]) != list(wanted):
        assert time.monotonic() < until, seen
        time.sleep(0.1)


def _state(record: Mapping[str, Any]) -> str:
    (node,) = record["connectivity"]["node_states"]
    return str(node["state"])
