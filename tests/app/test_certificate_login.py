"""Login by client certificate at a real listener, by real clients, over TLS 1.2 and 1.3."""

from __future__ import annotations

import http.client
import re
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import uuid4

import netapp_ontap
import pytest
import requests
from cryptography.x509.oid import NameOID
from netapp_ontap.resources import Svm

from tests.peers.asgi import Response
from tests.peers.certificates import DAY, Authority, Credentials, self_signed
from tests.peers.keystead import PASSWORD, Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.keystead import Service

ACCOUNTS = "/security/accounts"
CERTIFICATES = "/security/certificates"
WHOAMI = "/api/security/login/whoami"
CERTIFICATE_ONLY = [{"application": "http", "authentication_methods": ["certificate"]}]
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass
class Door:
    """A service with a CA for logins and an account ``<name>`` that logs in by certificate."""

    service: Service
    admin: Client
    authority: Authority
    ca_uuid: str
    name: str
    path: str

    @property
    def credentials(self) -> Credentials:
        """A certificate of the account."""
        return self.issue(self.name)

    def issue(
        self,
        name: str,
        authority: Authority | None = None,
        starts: timedelta = -DAY,
        ends: timedelta = 10 * DAY,
    ) -> Credentials:
        """Return a client certificate in this name."""
        issuer = authority or self.authority
        return issuer.issue((), common_name=name, purpose="client", starts=starts, ends=ends)

    def connect(self, credentials: Credentials | None, version: str = "1.3") -> http.client.HTTPSConnection:
        """Return a connection with a certificate, or without one."""
        context = ssl.create_default_context(cafile=self.service.installation.data / "tls.crt")
        context.minimum_version = context.maximum_version = VERSIONS[version]
        if credentials is not None:
            credentials.load_into(context)
        return http.client.HTTPSConnection("127.0.0.1", self.service.port, timeout=20, context=context)

    def install(self, pem: str, svm: str | None = None) -> str:
        """Install a CA for logins; return its uuid."""
        body = {"type": "client_ca", "public_certificate": pem, "name": uuid4().hex}
        uuid: str = self.admin.create(CERTIFICATES, body | ({"svm": {"name": svm}} if svm else {}))["uuid"]
        return uuid

    def account(self, name: str, **more: Any) -> str:
        """Create an account that logs in by certificate; return its path."""
        body: dict[str, Any] = {"name": name, "applications": CERTIFICATE_ONLY, **more}
        path: str = self.admin.create(ACCOUNTS, body)["_links"]["self"]["href"]
        return path.removeprefix("/api")


def ask(connection: http.client.HTTPSConnection, **headers: str) -> Response:
    """Ask who calls, on this very connection."""
    connection.request("GET", WHOAMI, headers=headers)
    answer = connection.getresponse()
    return Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


@pytest.fixture
def door(shared_service: Service) -> Iterator[Door]:
    """Yield a CA, an account of the role readonly; the CAs are gone at the end, so that the others are not asked."""
    name, authority = f"op-{uuid4().hex[:8]}", Authority(f"Login CA {uuid4().hex[:8]}")
    with shared_service.client() as admin:
        made = Door(shared_service, admin, authority, "", name, "")
        made.ca_uuid = made.install(authority.pem)
        made.path = made.account(name, role={"name": "readonly"})
        yield made
        for record in admin.get(f"{CERTIFICATES}?type=client_ca")["records"]:
            assert admin("DELETE", f"{CERTIFICATES}/{record['uuid']}").status == 200


@pytest.mark.parametrize("version", VERSIONS)
def test_a_certificate_logs_in(door: Door, version: str) -> None:
    """Who it names, with its role, for request after request on one connection; and through an intermediate."""
    intermediate = Authority("Login Intermediate", parent=door.authority)
    for credentials in (door.credentials, door.issue(door.name, intermediate)):
        with closing(door.connect(credentials, version)) as connection:
            for _ in range(3):
                answer = ask(connection)
                assert (answer.status, answer.body["username"], answer.body["roles"]) == (200, door.name, ["readonly"])
            assert connection.sock is not None
            assert connection.sock.version() == f"TLSv{version}"


@pytest.mark.parametrize("version", VERSIONS)
def test_who_has_no_certificate_is_unaffected(door: Door, version: str) -> None:
    """A password logs in as before; nothing at all is 401, with the challenge."""
    with closing(door.connect(None, version)) as connection:
        assert ask(connection, **door.admin.headers).body["username"] == "admin"
        refused = ask(connection)
        assert (refused.status, refused.body["error"]["code"]) == (401, "6691623")
        assert refused.headers["www-authenticate"].startswith("Basic")


def test_a_basic_credential_counts_before_a_certificate(door: Door) -> None:
    """Given both, the credential decides, also when it is wrong."""
    with closing(door.connect(door.credentials)) as connection:
        assert ask(connection, **door.admin.headers).body["username"] == "admin"
        assert ask(connection, Authorization="Basic bm9ib2R5Ong=").status == 401
        assert ask(connection).body["username"] == door.name


def test_real_clients_log_in(door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries requests and netapp-ontap library, from files."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # requests prefers them to a session's own ``verify``
        monkeypatch.delenv(name, raising=False)
    certificate, key = door.credentials.write(tmp_path, "operator")
    ca = str(door.service.installation.data / "tls.crt")
    with requests.Session() as session:
        answer = session.get(f"{door.service.url}{WHOAMI}", cert=(str(certificate), str(key)), verify=ca, timeout=20)
    assert answer.json()["username"] == door.name
    host = netapp_ontap.HostConnection(
        "127.0.0.1", cert=str(certificate), key=str(key), verify=ca, port=door.service.port
    )
    with host:
        assert all(svm.uuid for svm in Svm.get_collection())
        host.session.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_removed_ca_ends_logins_on_open_connections(door: Door, version: str) -> None:
    """The next request of a connection that is open is 401, and counts again when the CA is back."""
    with closing(door.connect(door.credentials, version)) as connection:
        assert ask(connection).status == 200
        assert door.admin("DELETE", f"{CERTIFICATES}/{door.ca_uuid}").status == 200
        assert ask(connection).status == 401
        door.install(door.authority.pem)
        assert ask(connection).status == 200


@pytest.mark.parametrize(
    "change",
    [
        {"locked": True},
        {"applications": [{"application": "http", "authentication_methods": ["password"]}], "password": PASSWORD + "1"},
        None,
    ],
)
def test_a_changed_account_counts_at_once(door: Door, change: dict[str, Any] | None) -> None:
    """Locked, without this way to log in, or gone: the next request of an open connection is 401."""
    with closing(door.connect(door.credentials)) as connection:
        assert ask(connection).status == 200
        answer = door.admin("PATCH", door.path, change) if change else door.admin("DELETE", door.path)
        assert answer.status == 200, answer.content
        assert ask(connection).status == 401


def test_a_certificate_that_expires_while_connected(door: Door) -> None:
    """It counts until its end and not after it, without a new handshake."""
    with closing(door.connect(door.issue(door.name, ends=timedelta(seconds=2)))) as connection:
        assert ask(connection).status == 200
        time.sleep(3)
        assert ask(connection).status == 401


def test_certificates_that_name_nobody(door: Door) -> None:
    """Of a name without account, of an account that logs in by password only, of nobody: 401."""
    for name in ("nobody-here", "admin", "x" * 64):
        with closing(door.connect(door.issue(name))) as connection:
            assert ask(connection).status == 401


@pytest.mark.parametrize("version", VERSIONS)
def test_a_certificate_that_tls_refuses(door: Door, version: str) -> None:
    """Of no installed CA, expired, not for clients: the handshake ends with an alert, and nothing is answered."""
    refused = [
        door.issue(door.name, Authority("Another CA")),
        door.issue(door.name, starts=-3 * DAY, ends=-DAY),
        door.authority.issue((), common_name=door.name, purpose="server"),
        self_signed(),
    ]
    for credentials in refused:
        assert_tls_refuses(door, credentials, version)


def assert_tls_refuses(door: Door, credentials: Credentials, version: str = "1.3") -> None:
    """Nothing is answered on such a connection, whatever credential is sent with it.

    In a thread of its own: OpenSSL keeps errors by thread, and Python may take them for those of another connection.
    """

    def attempt() -> None:
        with closing(door.connect(credentials, version)) as connection:
            ask(connection, **door.admin.headers)

    with ThreadPoolExecutor(1) as thread, pytest.raises((ssl.SSLError, OSError)):
        thread.submit(attempt).result()


def test_a_self_signed_certificate_that_is_installed(door: Door) -> None:
    """Log in as ONTAP's guides say: the certificate itself is the ``client_ca``."""
    name = f"self-{uuid4().hex[:8]}"
    own = Authority(name)
    door.install(own.pem)
    door.account(name)
    with closing(door.connect(Credentials(own.certificate, own.key))) as connection:
        assert ask(connection).body["username"] == name


@pytest.fixture
def tenants(door: Door) -> dict[str, str]:
    """Two SVMs, each with an account that logs in by certificate: SVM to account."""
    made = {}
    for letter in "ab":
        svm = f"vs-{letter}-{uuid4().hex[:8]}"
        door.admin.create("/svm/svms", {"name": svm})
        door.account(f"of-{svm}", owner={"name": svm})
        made[svm] = f"of-{svm}"
    return made


def test_an_svms_ca_vouches_for_its_svm_alone(door: Door, tenants: dict[str, str]) -> None:
    """Not for the cluster's accounts, not for another SVM's; and the cluster's CA not for accounts of SVMs."""
    (svm, own), (_, other) = tenants.items()
    authority = Authority(f"SVM CA {uuid4().hex[:8]}")
    door.install(authority.pem, svm)
    for name, expected in ((own, 200), (other, 401), (door.name, 401), ("admin", 401)):
        with closing(door.connect(door.issue(name, authority))) as connection:
            assert ask(connection).status == expected, name
    with closing(door.connect(door.issue(own))) as connection:
        assert ask(connection).status == 401
    with closing(door.connect(door.issue(own, authority))) as connection:
        assert ask(connection).body["roles"] == ["vsadmin"]


def test_an_svms_namesake_of_a_ca_spoils_nothing(door: Door, tenants: dict[str, str]) -> None:
    """A CA of the same name and another key in an SVM: the cluster's accounts log in as before, the SVM's do not."""
    svm, own = next(iter(tenants.items()))
    subject = door.authority.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    namesake = Authority(str(subject))
    door.install(namesake.pem, svm)
    for _ in range(3):
        with closing(door.connect(door.credentials)) as connection:
            assert ask(connection).status == 200
    assert_tls_refuses(door, door.issue(own, namesake))


@pytest.mark.parametrize("version", VERSIONS)
def test_no_session_is_resumed(door: Door, tmp_path: Path, version: str) -> None:
    """OpenSSL's client keeps what it is given and offers it: every handshake is a whole one."""
    certificate, key = door.credentials.write(tmp_path, "operator")
    session = tmp_path / "session.pem"
    common = [
        *("openssl", "s_client", "-connect", f"127.0.0.1:{door.service.port}", "-cert", str(certificate)),
        *("-key", str(key), f"-tls{version.replace('.', '_')}", "-sess_out", str(session)),
    ]
    request = f"GET {WHOAMI} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    for _ in range(3):
        given = ["-sess_in", str(session)] if session.exists() else []
        done = subprocess.run(
            [*common, *given, "-ign_eof"], input=request, capture_output=True, timeout=20, check=False
        )
        assert door.name.encode() in done.stdout
        assert b"\nNew, TLSv" in done.stdout
        assert b"Reused" not in done.stdout
        assert b"Post-Handshake New Session Ticket" not in done.stdout


def test_nothing_is_renegotiated(door: Door) -> None:
    """A TLS 1.2 client that asks for another handshake on its connection does not get one."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{door.service.port}", "-tls1_2"]
    done = subprocess.run(command, input=b"R\n", capture_output=True, timeout=20, check=False)
    assert b"no renegotiation" in done.stderr or b"renegotiat" in done.stderr.split(b"RENEGOTIATING")[-1]


def test_many_connections_at_once_while_cas_change(door: Door) -> None:
    """Contexts are made anew while handshakes are under way; none of them fails."""
    other = Authority(f"Other CA {uuid4().hex[:8]}")
    for _ in range(5):
        with ExitStack() as stack:
            uuid = door.install(other.pem)
            connections = [
                stack.enter_context(closing(door.connect(door.credentials, version))) for version in ("1.2", "1.3") * 4
            ]
            for connection in connections:
                connection.connect()
            assert [ask(connection).status for connection in connections] == [200] * 8
            assert door.admin("DELETE", f"{CERTIFICATES}/{uuid}").status == 200


def test_refused_handshakes_disturb_no_other_connection(door: Door) -> None:
    """Connections that are open go on, on the same thread of the service as those that fail."""
    stranger = door.issue(door.name, Authority("Another CA"))
    with closing(door.connect(door.credentials, "1.2")) as old, closing(door.connect(door.credentials)) as new:
        for turn in range(30):
            assert_tls_refuses(door, stranger, "1.2" if turn % 2 else "1.3")
            assert [ask(connection).status for connection in (old, new)] == [200, 200]


# --- the console ---


def log_in_by_form(connection: http.client.HTTPSConnection, path: str) -> tuple[str, http.client.HTTPResponse]:
    """Read the login page, and send its form for this path. Return the page, and the answer to the form."""
    connection.request("GET", "/login?next=/keys", headers={"Accept": "text/html"})
    shown = connection.getresponse()
    text = shown.read().decode()
    cookie = (shown.getheader("Set-Cookie") or "").partition(";")[0]
    found = re.search(rf'action="{path}\?next=/keys">\s*<input type="hidden" name="form_token" value="([^"]+)"', text)
    headers = {
        "Cookie": cookie,
        "Origin": f"https://127.0.0.1:{connection.port}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    body = urlencode({"form_token": found[1]} if found else {})
    connection.request("POST", f"{path}?next=/keys", body, headers)
    answer = connection.getresponse()
    answer.read()
    return text, answer


def test_a_browser_logs_in_with_its_certificate(door: Door) -> None:
    """By a button, which only a browser sees that showed a certificate. The session is the account's."""
    with closing(door.connect(door.credentials)) as connection:
        text, answer = log_in_by_form(connection, "/login/certificate")
        assert "Log in with the certificate of this browser" in text
        assert (answer.status, answer.getheader("Location")) == (303, "/keys")
        cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]
        connection.request("GET", "/sessions", headers={"Cookie": cookie})
        page = connection.getresponse()
        assert (page.status, door.name in page.read().decode()) == (200, True)
    with closing(door.connect(door.issue("nobody"))) as connection:
        _, answer = log_in_by_form(connection, "/login/certificate")
        assert (answer.status, answer.getheader("Location")) == (401, None)


def test_a_browser_without_a_certificate_sees_no_button(door: Door) -> None:
    """And its form is refused."""
    with closing(door.connect(None)) as connection:
        text, answer = log_in_by_form(connection, "/login/certificate")
        assert "certificate of this browser" not in text
        assert answer.status == 403
