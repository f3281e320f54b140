"""Canaries: secrets given to a real service in every way they can be, and then looked for everywhere.

Promised is that passwords, passphrases, private keys and key material never appear where they were not meant to go. The
root key, the listener's key and the database's password are canaries too: each may be in its own place only.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from keystead.store.tables import metadata
from tests.canaries import Canaries
from tests.peers.certificates import client
from tests.peers.fault_servers import refused_port
from tests.peers.keystead import Certificates, Installation, Service, create_key_manager, install_certificates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.canaries import Sighting
    from tests.peers.asgi import Response
    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group
    from tests.peers.postgres import PostgresServer

CERTIFICATES = "/security/certificates"
MANAGERS = "/security/key-managers"
HTTP = {"application": "http", "authentication_methods": ["password"]}


@dataclass
class Scene:
    """A running service, the canaries, and everything that anybody got to see."""

    service: Service
    canaries: Canaries
    password: str
    ports: list[int]
    pki: Pki
    seen: list[tuple[str, bytes]] = field(default_factory=list)

    def secret(self, name: str) -> str:
        """Return a new canary."""
        return self.canaries.plant(name)

    def call(
        self, name: str, expected: int, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Response:
        """Make a call on a connection of its own, keep what is answered, assert its status."""
        with self.service.client(password=self.password) as caller:
            answer = caller(method, path, body, headers=headers)
        self.seen.append((name, json.dumps(dict(answer.headers)).encode() + answer.content))
        assert answer.status == expected, (name, answer.content)
        return answer

    def server(self, number: int) -> str:
        """Return the address of a sound key server."""
        return f"127.0.0.1:{self.ports[number]}"


def failed_logins(scene: Scene) -> None:
    """Wrong passwords, for an account that exists and for one that does not, and headers that make no sense."""
    wrong = scene.secret("wrong password")
    for account in ("admin", "nobody"):
        with scene.service.client(account, wrong) as stranger:
            answer = stranger("GET", "/cluster")
        assert answer.status == 401
        scene.seen.append(("failed login", answer.content))
    for scheme in ("Basic", "Bearer", "Basic x"):
        token = scene.secret(f"token of {scheme}").encode().hex()
        scene.call("malformed login", 401, "GET", "/cluster", headers={"Authorization": f"{scheme} {token}"})
    bare = base64.b64encode(scene.secret("login without a name").encode()).decode()
    scene.call("login without a name", 401, "GET", "/cluster", headers={"Authorization": f"Basic {bare}"})


def private_keys(scene: Scene) -> None:
    """Keys that are accepted, that do not fit, that are broken, and that stand where a certificate belongs."""
    accepted, other = client(scene.pki.client_ca), client(scene.pki.client_ca)
    for name, pem in (("accepted key", accepted.key_pem), ("other key", other.key_pem)):
        scene.canaries.plant(name, pem)
    whole = {"type": "client", "public_certificate": accepted.certificate_pem, "private_key": accepted.key_pem}
    broken = accepted.key_pem.replace("\n", "\nBROKEN", 2)
    scene.call("key accepted", 201, "POST", f"{CERTIFICATES}?return_records=true", whole | {"name": "good"})
    scene.call("key twice", 409, "POST", CERTIFICATES, whole | {"name": "good"})
    scene.call("key of another", 400, "POST", CERTIFICATES, whole | {"private_key": other.key_pem})
    scene.call("key broken", 400, "POST", CERTIFICATES, whole | {"private_key": broken})
    scene.call("no key at all", 400, "POST", CERTIFICATES, whole | {"private_key": scene.secret("no key at all")})
    scene.call("key in a list", 400, "POST", CERTIFICATES, whole | {"private_key": [other.key_pem]})
    scene.call("key for a CA", 400, "POST", CERTIFICATES, whole | {"type": "server_ca"})
    scene.call("key as certificate", 400, "POST", CERTIFICATES, whole | {"public_certificate": other.key_pem})
    scene.call("key as name", 400, "POST", CERTIFICATES, whole | {"name": {"private_key": other.key_pem}})
    scene.call("key misspelt", 400, "POST", CERTIFICATES, whole | {"private_kye": other.key_pem})
    scene.call("key shown", 400, "GET", f"{CERTIFICATES}?fields=private_key")
    scene.call("certificates shown", 200, "GET", f"{CERTIFICATES}?fields=**")
    scene.call("key in the URL", 400, "GET", f"{CERTIFICATES}?private_key={quote(other.key_pem, safe='')}")


def made_keys(scene: Scene) -> None:
    """A key that is shown once, to who asked for it, and then installed; one that never is shown has no text to plant.

    The answer that holds the first is meant to: it is the one that is not looked through.
    """
    made = scene.call("key made", 200, "POST", "/security/certificate-signing-request", {"subject_name": "CN=made"})
    scene.seen.pop()
    scene.canaries.plant("made key", made.body["generated_private_key"])
    root = {"type": "root_ca", "common_name": "Root", "name": "root"}
    created = scene.call("root made", 201, "POST", f"{CERTIFICATES}?return_records=true", root)
    order = {"signing_request": made.body["csr"], "expiry_time": "P30D"}
    path = f"{CERTIFICATES}/{created.body['records'][0]['uuid']}/sign"
    signed = scene.call("signed", 200, "POST", path, order).body["public_certificate"]
    whole = {"type": "client", "public_certificate": signed, "private_key": made.body["generated_private_key"]}
    scene.call("made key installed", 201, "POST", CERTIFICATES, whole)
    scene.call("made key in a request", 400, "POST", path, order | {"signing_request": whole["private_key"]})
    scene.call("all shown", 200, "GET", f"{CERTIFICATES}?fields=**")


def key_server_passwords(scene: Scene, path: str) -> None:
    """Passwords of servers that are stored, tried, refused, and given in a form or a place that is none."""

    def server(name: str, number: int = 1, **more: Any) -> dict[str, Any]:
        return {"server": scene.server(number), "username": "keystead", "password": scene.secret(name)} | more

    closed = f"127.0.0.1:{refused_port()}"
    tried = f"{path}?dry_run=true"
    scene.call("dry run", 200, "POST", tried, {"records": [server("tried"), server("tried too", server=closed)]})
    scene.call("accepted", 201, "POST", f"{path}?return_records=true", server("accepted"))
    scene.call("there already", 400, "POST", path, server("there already"))
    scene.call(
        "refused", 400, "POST", path, {"records": [server("with a refused", 2), server("refused", server=closed)]}
    )
    scene.call("without a user", 400, "POST", path, server("without a user", 2, username=""))
    scene.call("bad address", 400, "POST", path, server("bad address", server="a:b:c"))
    scene.call("bad timeout", 400, "POST", path, server("bad timeout", 2, timeout="soon"))
    for form in (lambda text: [text], lambda text: {"value": text}, lambda text: text + "\0"):
        secret = scene.secret("wrong form")
        scene.call("wrong form", 400, "POST", path, server("another", 2, password=form(secret)))
    long = scene.secret("endless") * 3000
    scene.call("endless", 413, "POST", path, server("beside an endless one", 2, password=long))
    scene.call("unknown field", 400, "POST", path, server("unknown", 2, credential={"password": scene.secret("inner")}))
    scene.call("in the URL", 400, "POST", f"{path}?password={quote(scene.secret('in the URL'), safe='')}", {})
    scene.call("asked for in the URL", 400, "GET", f"{path}?password={quote(scene.secret('asked for'), safe='')}")
    scene.call("no such resource", 404, "POST", "/no/such/resource", server("to nowhere"))
    scene.call("wrong method", 405, "PUT", path, server("by a wrong method"))
    scene.call("shown", 200, "GET", f"{path}?fields=**")
    external = {"servers": [server("in a key manager", server=closed)]}
    scene.call("incomplete", 400, "POST", MANAGERS, {"external": external})


def passphrases(scene: Scene, path: str) -> None:
    """Of an Onboard Key Manager, which there is not: refused in every call, form and place."""
    one = path.removesuffix("/key-servers")
    for name, method, where in (("made", "POST", MANAGERS), ("changed", "PATCH", one)):
        onboard = {"passphrase": scene.secret(name), "existing_passphrase": scene.secret(f"{name} before")}
        scene.call(f"onboard {name}", 400, method, where, {"onboard": onboard})
        scene.call(f"onboard {name} dotted", 400, method, where, {"onboard.passphrase": scene.secret(f"{name} dotted")})
        scene.call(f"onboard {name} listed", 400, method, where, {"onboard": {"passphrase": [scene.secret("listed")]}})
        secret = quote(scene.secret(f"{name} in the URL"), safe="")
        scene.call(f"onboard {name} in the URL", 400, method, f"{where}?onboard.passphrase={secret}", {})
    common_criteria = {"cc_mode_enabled": True, "passphrase": scene.secret("Common Criteria")}
    scene.call("Common Criteria mode", 400, "PATCH", "/security/key-manager-configs", common_criteria)


def kept_keys(scene: Scene, certificates: Certificates, servers: Sequence[str]) -> None:
    """Key material that is imported, made, refused and read; only what a key-reader is answered is meant to have it."""
    with scene.service.client(password=scene.password) as call:
        body = certificates.new_key_manager([{"server": server} for server in servers])
        path = f"{MANAGERS}/{call.create(MANAGERS, body)['uuid']}"
        password = scene.secret("password of reader")
        reader = {"name": "reader", "role": {"name": "key-reader"}, "password": password}
        call.create("/security/accounts", reader | {"applications": [HTTP]})
    keys = f"{path}/volume-keys?return_records=true"

    def material(name: str, octets: bytes) -> str:
        for number in range(0, len(octets), 32):
            scene.canaries.plant(f"{name} part {number}", octets[number : number + 32])
        return base64.b64encode(octets).decode()

    imported = {"name": "imported", "material": material("imported", os.urandom(64))}
    scene.call("imported", 201, "POST", keys, imported)
    scene.call("imported twice", 409, "POST", keys, imported)
    scene.call("too long", 400, "POST", keys, {"name": "x", "material": material("too long", os.urandom(96))})
    scene.call("alike", 400, "POST", keys, {"name": "x", "material": material("alike", os.urandom(32) * 2)})
    scene.call("in a list", 400, "POST", keys, {"name": "x", "material": [material("in a list", os.urandom(64))]})
    scene.call("misspelt", 400, "POST", keys, {"name": "x", "materail": material("misspelt", os.urandom(64))})
    inside = quote(material("in the URL of a key", os.urandom(64)), safe="")
    scene.call("in the URL", 400, "POST", f"{keys}&material={inside}", {"name": "x"})
    scene.call("made", 201, "POST", keys, {"name": "made"})
    ids = [key["key_id"] for key in scene.call("listed", 200, "GET", f"{path}/volume-keys?fields=**").body["records"]]
    for key_id in ids:
        scene.call("not read", 403, "POST", f"{path}/volume-keys/{key_id}/retrieve")
        with scene.service.client("reader", password) as caller:
            answer = caller("POST", f"{path}/volume-keys/{key_id}/retrieve", {})
        assert answer.status == 200, answer.content
        material(f"read {key_id}", base64.b64decode(answer.body["material"]))
    passphrase = f"drive {os.urandom(12).hex()}"
    scene.canaries.plant("passphrase of a drive", passphrase)
    scene.call("passphrase", 201, "POST", f"{path}/auth-keys?return_records=true", {"passphrase": passphrase})
    scene.call("passphrase too long", 400, "POST", f"{path}/auth-keys", {"passphrase": scene.secret("too long") * 2})
    scene.call("proven", 201, "POST", f"{path}/prove?return_timeout=60", {})
    scene.call("restored", 201, "POST", f"{path}/restore?return_timeout=60", {})
    scene.call("retired", 200, "DELETE", f"{path}/volume-keys/{ids[0]}")
    scene.call("reports", 200, "GET", f"{path}/key-reports?fields=**")
    scene.call("audit", 200, "GET", "/security/audit/messages?fields=**")


def malformed_bodies(scene: Scene, path: str) -> None:
    """Bodies that are not JSON, or not of our strict kind, with a secret inside."""

    def body(name: str) -> bytes:
        return json.dumps({"server": scene.server(2), "username": "u", "password": scene.secret(name)}).encode()

    scene.call("cut off", 400, "POST", path, body("cut off")[:-2])
    scene.call("continued", 400, "POST", path, body("continued") + b"}")
    scene.call("not UTF-8", 400, "POST", path, body("not UTF-8").replace(b'"u"', b'"\xff"'))
    scene.call("not a number", 400, "POST", path, body("NaN")[:-1] + b', "timeout": NaN}')
    scene.call("given twice", 400, "POST", path, body("once")[:-1] + b', "password": "twice"}')
    scene.call("not an object", 400, "POST", path, json.dumps(scene.secret("not an object")).encode())
    scene.call("a form", 400, "POST", path, f"password={quote(scene.secret('in a form'))}".encode())
    scene.call("a body of GET", 400, "GET", path, body("in a GET"))
    lone = json.dumps({"password": scene.secret("surrogate") + "\ud800"}).encode()
    scene.call("lone surrogate", 400, "POST", path, lone)


def broken_database(scene: Scene, path: str) -> None:
    """Failures of the database while secrets are on their way into it, which are logged."""
    file = scene.service.installation.data / "keystead.db"
    server = {"server": scene.server(3), "username": "u"}
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute(
            "CREATE TRIGGER broken BEFORE INSERT ON key_servers BEGIN SELECT RAISE(ABORT, 'broken on purpose'); END"
        )
        scene.call("not stored", 500, "POST", path, server | {"password": scene.secret("not stored")})
        database.execute("DROP TRIGGER broken")
        database.execute("ALTER TABLE key_servers RENAME TO hidden")
        scene.call("not readable", 500, "POST", path, server | {"password": scene.secret("not readable")})
        database.execute("ALTER TABLE hidden RENAME TO key_servers")


def sqlite_rows(scene: Scene) -> bytes:
    """Return all values of all rows."""
    with contextlib.closing(sqlite3.connect(scene.service.installation.data / "keystead.db")) as database:
        return joined(lambda statement: database.execute(statement).fetchall())


def joined(query: Callable[[str], list[tuple[Any, ...]]]) -> bytes:
    """Every value as the bytes that it is, in a line of its own."""
    rows = [row for table in metadata.tables for row in query(f"SELECT * FROM {table}")]  # noqa: S608
    return b"\n".join(value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row)


def sightings(scene: Scene, rows: bytes, init_output: str) -> list[Sighting]:
    """Look everywhere."""
    canaries, data = scene.canaries, scene.service.installation.data
    process = Path(f"/proc/{scene.service.pid}")
    places = [
        *scene.seen,
        ("rows", rows),
        ("init", init_output.encode()),
        ("command line", (process / "cmdline").read_bytes()),
        ("environment", (process / "environ").read_bytes()),
        ("standard output", scene.service.stdout.read_bytes()),
        ("log", scene.service.stderr.read_bytes()),
    ]
    found = [sighting for name, content in places for sighting in canaries.search_bytes(content, name)]
    return found + canaries.search_files([data])


def is_at_home(sighting: Sighting) -> bool:
    """Return True if a secret was found in the one place that it is for."""
    homes = {"root key": "root.key", "listener's key": "tls.key", "database password": "environment"}
    name = sighting.canary.partition(" part ")[0]
    return homes.get(name) == sighting.place.rpartition("/")[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Installation, Canaries, Any]]:
    """Yield an installation that is not there yet, on each engine; what reads its rows."""
    canaries, settings = Canaries(), {"log_level": "debug", "log_format": "json"}
    if request.param == "sqlite":
        yield Installation(tmp_path / "data", settings=settings), canaries, sqlite_rows
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database() as url:
        name = url.partition("@/")[2].partition("?")[0]
        password = f"canary{os.urandom(12).hex()}"
        with_password = server.url(name, canaries.plant("database password", password))
        yield (
            Installation(tmp_path / "data", with_password, settings),
            canaries,
            lambda _: joined(lambda statement: server.execute(statement, name)),
        )


def test_no_secret_is_found_where_it_does_not_belong(
    place: tuple[Installation, Canaries, Callable[[Scene], bytes]],
    sound_ports: list[int],
    pki: Pki,
    pykmip_group: Group,
) -> None:
    """Not in the database, its log, any file, the output, the answers, the audit log or the process's surface."""
    installation, canaries, rows = place
    password = canaries.plant("password of admin")
    file = installation.data.parent / "password-file"
    file.write_text(f"{password}\n")
    init = installation.run("init", "--admin-password-file", str(file))
    assert init.returncode == 0, init.stderr
    canaries.plant("root key", (installation.data / "root.key").read_bytes())
    canaries.plant("listener's key", (installation.data / "tls.key").read_bytes())
    canaries.plant("client key", pki.client.key_pem)
    with installation.serving() as service:
        scene = Scene(service, canaries, password, sound_ports, pki)
        with service.client(password=password) as call:
            certificates = install_certificates(call, pki.client, pki.server_ca)
            path = create_key_manager(call, certificates, scene.server(0))
        failed_logins(scene)
        private_keys(scene)
        made_keys(scene)
        key_server_passwords(scene, path)
        passphrases(scene, path)
        kept_keys(scene, certificates, [server.address for server in pykmip_group.primaries[:2]])
        malformed_bodies(scene, path)
        if rows is sqlite_rows:
            broken_database(scene, path)
        found = sightings(scene, rows(scene), init.stdout + init.stderr)
        service.signal(15)
        assert service.wait(60) == 0
    found += canaries.search_files([installation.data, service.stderr])
    assert [sighting for sighting in found if not is_at_home(sighting)] == []
    assert {sighting.canary.partition(" part ")[0] for sighting in found} >= {"root key", "listener's key"}
    kept = b"\n".join(pykmip_group.primaries[0].objects().values())
    there = {sighting.canary for sighting in canaries.search_bytes(kept, "key server")}
    assert there >= {"imported part 0", "imported part 32"}
    assert b"admin" in rows(scene)
    assert b"PRIVATE KEY" not in rows(scene)  # of keys that were made and never shown
    assert ("broken on purpose" in service.stderr.read_text()) == (rows is sqlite_rows)
    assert installation.run("audit", "verify").returncode == 0
