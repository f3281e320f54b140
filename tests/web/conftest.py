"""The console over the whole service in this process, and a browser without scripts that visits it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import urldefrag, urlencode, urljoin
from uuid import uuid4

import pytest

from keystead.api.app import create_app
from keystead.app.wiring import running
from keystead.core.model import Account, Observation, Role, State, Svm
from keystead.settings import Settings
from keystead.testing.key_servers import KeyServers
from keystead.web.app import with_console
from tests.peers.asgi import AsgiClient
from tests.peers.documented import DocumentedClient
from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from starlette.types import ASGIApp

    from keystead.app.wiring import Running
    from keystead.service.ports.store import Transaction
    from tests.peers.asgi import Response
    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Installation

HOST = "keystead.test"
ORIGIN = f"https://{HOST}"
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SVM = Svm("5f1a3ee8-0a2b-4f4e-9a3f-0a4f2f6a2b11", "vs1")
NAVIGATES = {"host": HOST, "accept": "text/html,*/*;q=0.8", "sec-fetch-site": "same-origin"}


class _Forms(HTMLParser):
    """Collects the forms of a page: their fields, by the path that they post to."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: dict[str, dict[str, str]] = {}
        self._fields: dict[str, str] | None = None
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._fields = self.forms.setdefault(found.get("action", ""), {})
        elif tag == "input" and self._fields is not None and "name" in found:
            self._fields[found["name"]] = found.get("value", "")
        elif tag == "select":
            self._select = found.get("name", "")
        elif tag == "option" and self._fields is not None:
            is_first = self._select not in self._fields
            if is_first or "selected" in found:
                self._fields[self._select] = found.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._fields = None
        elif tag == "select":
            self._select = ""


def forms(answer: Response) -> dict[str, dict[str, str]]:
    """Return the fields of a page's forms, by the path that a form posts to."""
    parser = _Forms()
    parser.feed(answer.content.decode())
    return parser.forms


@dataclass
class Browser:
    """A browser without scripts: it keeps cookies and sends forms as browsers do."""

    app: ASGIApp
    cookies: dict[str, str] = field(default_factory=dict)
    page: Response | None = None

    async def send(self, method: str, url: str, body: bytes = b"", **headers: str | None) -> Response:
        """Send a request, and keep the cookies of the answer."""
        sent: dict[str, str | None] = {**NAVIGATES, "authorization": None}
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await AsgiClient(self.app)(method, url, body or None, headers=sent)
        for name, morsel in SimpleCookie(answer.headers.get("set-cookie", "")).items():
            self.cookies[name] = morsel.value
        return answer

    async def open(self, url: str, **headers: str | None) -> Response:
        """Open a page, and follow where it leads."""
        answer = await self.send("GET", urldefrag(url).url, b"", **headers)
        while answer.status == 303:
            answer = await self.send("GET", urljoin(url, answer.headers["location"]))
        self.page = answer
        return answer

    async def submit(self, action: str, fields: Mapping[str, str] | None = None, **headers: str | None) -> Response:
        """Fill in and send a form of the open page, and follow where it leads."""
        assert self.page is not None
        filled = forms(self.page)[action] | dict(fields or {})
        sent = {"content_type": "application/x-www-form-urlencoded", "origin": ORIGIN} | headers
        answer = await self.send("POST", action, urlencode(filled).encode(), **sent)
        if answer.status == 303:
            return await self.open(answer.headers["location"])
        self.page = answer
        return answer

    async def log_in(self, name: str = "admin", password: str = PASSWORD, url: str = "/") -> Response:
        """Ask for a page, and log in with the form that comes instead."""
        asked = await self.open(url)
        (action,) = forms(asked)
        return await self.submit(action, {"name": name, "password": password})


@dataclass
class Site:
    """A running service with its console."""

    app: ASGIApp
    open_: Running

    def browser(self) -> Browser:
        """Return a new browser."""
        return Browser(self.app)

    @property
    def admin(self) -> DocumentedClient:
        """A client of the API."""
        return DocumentedClient(self.app, "admin", PASSWORD)

    async def certificate(self, type_: str, pem: str, **more: object) -> str:
        """Install a certificate under a new name, and return its uuid."""
        body = {"name": uuid4().hex, "type": type_, "public_certificate": pem, **more}
        answer = await self.admin.post("/api/security/certificates", body)
        assert answer.status == 201, answer.content
        return answer.headers["location"].rpartition("/")[2]

    async def key_manager(self, pki: Pki, servers: list[str], **more: object) -> str:
        """Create a key manager with these servers by the API, and return its uuid."""
        client = await self.certificate("client", pki.client.certificate_pem, private_key=pki.client.key_pem)
        server_ca = await self.certificate("server_ca", pki.server_ca.pem)
        external = {
            "client_certificate": {"uuid": client},
            "server_ca_certificates": [{"uuid": server_ca}],
            "servers": [{"server": server} for server in servers],
        }
        answer = await self.admin.post("/api/security/key-managers", {"external": external, **more})
        assert answer.status == 201, answer.content
        return answer.headers["location"].rpartition("/")[2]

    async def key_manager_of(self, machines: KeyServers, *numbers: int, **more: object) -> str:
        """Create a key manager with these of the machines (from 0) by the API, and return its uuid."""
        client, server_ca = await self.identity_of(machines)
        external = {
            "client_certificate": {"uuid": client},
            "server_ca_certificates": [{"uuid": server_ca}],
            "servers": [{"server": machines[number].address} for number in numbers],
        }
        answer = await self.admin.post("/api/security/key-managers", {"external": external, **more})
        assert answer.status == 201, answer.content
        return answer.headers["location"].rpartition("/")[2]

    async def identity_of(self, machines: KeyServers) -> tuple[str, str]:
        """Install the client certificate and the CA of the machines, and return their uuids."""
        of = machines.client
        client = await self.certificate("client", of.certificate_pem, private_key=of.key_pem)
        return client, await self.certificate("server_ca", machines[0].ca)

    async def forget_password(self) -> None:
        """Let the time be over within which a password is not asked again, in all sessions."""

        def forget(tx: Transaction) -> None:
            for session in tx.sessions(None):
                tx.put_session(replace(session, confirmed=None))

        await self.open_.store.write(forget)

    async def observe(self, key_manager: str, *states: tuple[State, str]) -> None:
        """Store what the node sees of each server, in their order: a state and a reason."""

        def store(tx: Transaction) -> None:
            (node,) = tx.nodes()
            servers = tx.key_servers(key_manager)
            known = {each.key_server for each in tx.observations([server.uuid for server in servers])}
            for server, (state, reason) in zip(servers, states, strict=True):
                stage = "tls" if reason else ""
                seen = Observation(node.uuid, server.uuid, "", state, NOON, stage, reason)
                tx.put_observations([seen], new=server.uuid not in known)

        await self.open_.store.write(store)


@pytest.fixture
async def site(installation: Installation) -> AsyncIterator[Site]:
    """Yield a console with an account of each role; they share a password."""
    async with running(Settings(data=installation.data, egress_allow=("127.0.0.0/8",))) as open_:

        def add(tx: Transaction) -> None:
            admin = tx.account("admin")
            assert admin is not None
            tx.add_svm(SVM)
            for name, role, svm in (
                ("auditor", Role.READONLY, None),
                ("vs1-admin", Role.VSADMIN, SVM),
                ("vs1-auditor", Role.VSADMIN_READONLY, SVM),
                ("reader", Role.KEY_READER, None),
            ):
                tx.put_account(Account(name, role, admin.password_hash, svm=svm))

        await open_.store.write(add)
        app = create_app(open_.services, pages=lambda api: with_console(api, open_.services))
        yield Site(app, open_)


@pytest.fixture(scope="session")
def _machines() -> Iterator[KeyServers]:
    with KeyServers(4, one_ca=True) as found:
        yield found


@pytest.fixture
def machines(_machines: KeyServers) -> Iterator[KeyServers]:
    """Four key servers that can be broken in each way; healed afterwards."""
    yield _machines
    for each in _machines:
        each.heal()


@pytest.fixture
def browser(site: Site) -> Browser:
    """A browser."""
    return site.browser()
