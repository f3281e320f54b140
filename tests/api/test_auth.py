"""keystead.api.auth: credentials, roles and the rules for browsers."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from keystead.api.auth import read_basic
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.model import Account, Role
from keystead.core.secret import Secret
from keystead.sealing.passwords import Argon2Hasher
from tests.peers.asgi import AsgiClient, assert_error
from tests.peers.certificates import Authority
from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api

SVMS = "/api/svm/svms"


def basic(text: bytes) -> str:
    """Return a Basic credential."""
    return f"Basic {base64.b64encode(text).decode()}"


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic YWRtaW4",
        basic(b"admin"),
        basic(b":" + PASSWORD.encode()),
        basic(b"admin\0:" + PASSWORD.encode()),
        basic(b"ad\nmin:" + PASSWORD.encode()),
        basic(b"admin:wrong"),
        basic(b"nobody:" + PASSWORD.encode()),
        basic(b"Admin:" + PASSWORD.encode()),
        "Basic " + "A" * 8192,
        "Bearer YWRtaW46",
        "Digest username=admin",
    ],
)
async def test_without_a_valid_credential_nothing_is_said(api: Api, value: str | None) -> None:
    """401 with a challenge and the same body, whatever is wrong, for any path; the body is not read."""
    for path in (SVMS, "/api/nosuch"):
        answer = await api.admin.post(path, {"name": "x"}, headers={"authorization": value})
        error = assert_error(answer, errors.AUTHENTICATION_FAILED)
        assert error["message"] == "User is not authorized."
        assert answer.headers["www-authenticate"].startswith('Basic realm="')
    assert api.admin.body_reads == 0
    assert await api.audit() == []


def test_credentials_are_utf8_or_latin1() -> None:
    """Ansible sends UTF-8, requests sends Latin-1; a password may hold colons; the scheme has any case."""
    assert read_basic(basic("ü:ö:ä".encode()).encode()) == ("ü", Secret("ö:ä"))
    assert read_basic(basic("ü:ö".encode("latin-1")).encode()) == ("ü", Secret("ö"))
    assert read_basic(b"bASIC " + base64.b64encode(b"a:")) == ("a", Secret(""))


def test_a_refused_credential_is_not_repeated() -> None:
    """The error holds nothing of the header."""
    with pytest.raises(OntapError) as caught:
        read_basic(b"Basic canary")
    assert "canary" not in str(caught.value)


async def test_a_password_outside_ascii_logs_in(api: Api) -> None:
    """Both encodings of one password are the same credential."""
    hasher = Argon2Hasher()
    hashed = await hasher.hash(Secret("pässwörd"))
    hasher.close()

    def add(tx: Transaction) -> None:
        tx.put_account(Account("umlaut", Role.ADMIN, hashed))

    await api.store.write(add)
    for encoding in ("utf-8", "latin-1"):
        headers = {"authorization": basic("umlaut:pässwörd".encode(encoding))}
        assert (await api.admin.get(SVMS, headers=headers)).status == 200


async def test_a_certificate_is_looked_at_without_a_credential(api: Api) -> None:
    """Its account calls, in its role; with an Authorization header, even a broken one, the header decides."""
    authority = Authority("Login CA")
    await api.certificate("client_ca", authority.pem)
    body = {
        "name": "operator",
        "role": {"name": "readonly"},
        "applications": [{"application": "http", "authentication_methods": ["certificate"]}],
    }
    assert (await api.admin.post("/api/security/accounts", body)).status == 201
    client = AsgiClient(api.admin.app, "admin", PASSWORD)
    client.client_chain = (authority.issue((), common_name="operator", purpose="client").certificate_pem,)
    whoami, none = "/api/security/login/whoami", {"authorization": None}
    assert (await client.get(whoami)).body["username"] == "admin"
    assert (await client.get(whoami, headers=none)).body["username"] == "operator"
    assert_error(await client.get(whoami, headers={"authorization": "Basic"}), errors.AUTHENTICATION_FAILED)
    assert_error(await client.post(SVMS, {"name": "vs0"}, headers=none), errors.NOT_AUTHORIZED)
    client.client_chain = (Authority("Another CA").issue((), common_name="operator").certificate_pem,)
    answer = await client.get(whoami, headers=none)
    assert_error(answer, errors.AUTHENTICATION_FAILED)
    assert answer.headers["www-authenticate"].startswith("Basic")


async def test_readonly_reads(api: Api) -> None:
    """GET, HEAD and OPTIONS are for every role."""
    for method in ("GET", "HEAD", "OPTIONS"):
        assert (await api.readonly(method, SVMS)).status == 200


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE", "PURGE"])
async def test_readonly_writes_nothing(api: Api, method: str) -> None:
    """403 code 6 before anything else is looked at: path, query and body; and it is recorded once."""
    for path in (SVMS, "/api/nosuch?x=y"):
        assert_error(await api.readonly(method, path, b"{"), errors.NOT_AUTHORIZED)
    assert api.readonly.body_reads == 0
    records = await api.audit()
    assert [(record.account, record.method, record.state, record.code) for record in records] == [
        ("auditor", method, "error", "6")
    ] * 2
    assert records[0].location == "192.0.2.7"
    assert (await api.admin.get(SVMS)).body["num_records"] == 0


@pytest.mark.parametrize(
    ("origin", "content_type", "expected"),
    [
        ("https://keystead.test", "application/json", 201),
        ("https://keystead.test", "Application/JSON; charset=utf-8", 201),
        ("HTTPS://KEYSTEAD.TEST", "application/hal+json", 201),
        ("https://keystead.test", "application/x-www-form-urlencoded", 415),
        ("https://keystead.test", "text/plain", 415),
        ("https://keystead.test", None, 415),
        ("http://keystead.test", "application/json", 403),
        ("https://keystead.test:8443", "application/json", 403),
        ("https://evil.test", "application/json", 403),
        ("https://evil.test", "text/plain", 403),
        ("null", "application/json", 403),
        (None, "text/plain", 201),
        (None, None, 201),
    ],
)
async def test_browsers_write_from_our_own_origin_only(
    api: Api, origin: str | None, content_type: str | None, expected: int
) -> None:
    """With an Origin header a write needs our own origin and a JSON type; without one any type is JSON."""
    headers = {"origin": origin, "content-type": content_type}
    answer = await api.admin.post(SVMS, {"name": "vs0"}, headers=headers)
    assert answer.status == expected
    if expected == 415:
        assert_error(answer, errors.UNSUPPORTED_CONTENT)
    if expected == 403:
        assert_error(answer, errors.NOT_AUTHORIZED)
    (record,) = await api.audit()
    assert record.state == ("success" if expected == 201 else "error")
    assert (await api.admin.get(SVMS, headers={"origin": "https://evil.test"})).status == 200


async def test_a_browser_deletes_without_a_type(api: Api) -> None:
    """A write without body declares no type; its origin counts all the same."""
    path = "/api/security/certificates/00000000-0000-4000-8000-000000000000"
    own = await api.admin.delete(path, headers={"origin": "https://keystead.test"})
    assert_error(own, errors.ENTRY_NOT_FOUND, "uuid")
    assert_error(await api.admin.delete(path, headers={"origin": "https://evil.test"}), errors.NOT_AUTHORIZED)


async def test_a_client_without_address_is_served(api: Api) -> None:
    """A server on a Unix socket knows no address."""
    client = AsgiClient(api.admin.app, "admin", PASSWORD)
    client.address = None
    assert (await client.get(SVMS)).status == 200
