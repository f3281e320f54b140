"""The pages of certificates: who uses each, what its end means, and forms that install, request, replace and delete."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from keystead.core.availability import UsedCertificate
from keystead.core.model import Observation, PeerCertificate, State
from keystead.service.configuration.certificate_uses import CertificateEffect
from keystead.web.certificates import Entry, effects, entries, filtered, new_certificate, shown_again
from keystead.web.pages.certificates import PAGES
from keystead.web.security import COOKIE, form_token
from keystead.web.tones import Tone
from tests.peers.certificates import DAY, Authority, client
from tests.web.commands import check_commands
from tests.web.conftest import NOON, ORIGIN, SVM, forms

if TYPE_CHECKING:
    from pathlib import Path

    from keystead.service.ports.store import Transaction
    from tests.peers.asgi import Response
    from tests.peers.certificates import Credentials
    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group
    from tests.web.conftest import Browser, Site

INSTALL = "/certificates/install"


async def of_manager(site: Site, manager: str) -> tuple[str, str]:
    """Return the paths of the pages of a key manager's client certificate and server CA."""
    external = (await site.admin.get(f"/api/security/key-managers/{manager}?fields=external")).body["external"]
    client, ca = external["client_certificate"]["uuid"], external["server_ca_certificates"][0]["uuid"]
    return f"/certificates/{client}", f"/certificates/{ca}"


async def installed(site: Site) -> set[str]:
    """Return the uuids of all installed certificates."""
    answer = await site.admin.get("/api/security/certificates")
    return {each["uuid"] for each in answer.body["records"]}


async def audited(site: Site) -> str:
    """Return all audit records as text."""
    answer = await site.admin.get("/api/security/audit/messages?fields=*")
    return answer.content.decode()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the files that commands name."""
    for name in ("certificate.pem", "private.key"):
        (tmp_path / name).write_text("x")
    monkeypatch.chdir(tmp_path)


async def test_without_certificates(browser: Browser) -> None:
    """The page says so."""
    page = (await browser.log_in(url="/certificates")).content.decode()
    assert "There is no certificate yet." in page


@pytest.mark.usefixtures("files")
async def test_install_show_delete(site: Site, browser: Browser, pki: Pki) -> None:
    """A certificate of a form is installed with its key, which is never shown again; unused, it can be deleted."""
    await browser.log_in(url=INSTALL)
    await check_commands(browser)
    fields = {"type": "client", "public_certificate": pki.client.chain_pem, "private_key": pki.client.key_pem}
    page = (await browser.submit(INSTALL, {**fields, "name": "<i>mine</i>"})).content.decode()
    assert "&lt;i&gt;mine&lt;/i&gt;" in page
    assert "<i>mine" not in page
    assert "CN=Client CA" in page
    assert "used by nobody" in page
    assert "no enabled key manager uses it" in page
    assert "PRIVATE KEY" not in page
    assert pki.client.certificate_pem.splitlines()[1] in page
    assert "PRIVATE KEY" not in await audited(site)
    await check_commands(browser)
    (uuid,) = await installed(site)
    await browser.submit(f"/certificates/{uuid}/delete")
    assert await installed(site) == set()


def test_deletion_asks_for_the_password() -> None:
    """A private key is destroyed with its certificate."""
    assert [page.path for page in PAGES if page.asks_password] == ["/certificates/{uuid}/delete"]


async def test_install_files(site: Site, browser: Browser, pki: Pki) -> None:
    """Files do as well as text: here one with certificate and key."""
    await browser.log_in(url=INSTALL)
    assert browser.page is not None
    parts = {**forms(browser.page)[INSTALL], "type": "client", "public_certificate": "", "private_key": ""}
    lines = [
        f'--x\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in parts.items()
    ]
    bundle = pki.client.certificate_pem + pki.client.key_pem
    disposition = 'form-data; name="public_certificate"; filename="client.pem"'
    lines.append(f"--x\r\ncontent-disposition: {disposition}\r\n\r\n{bundle}\r\n--x--\r\n")
    sent = {"content_type": "multipart/form-data; boundary=x", "origin": ORIGIN}
    answer = await browser.send("POST", INSTALL, "".join(lines).encode(), **sent)
    assert answer.status == 303, answer.content
    assert len(await installed(site)) == 1
    assert "PRIVATE KEY" not in await audited(site)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"public_certificate": "nonsense"}, "Code 5"),
        ({"private_key": "nonsense"}, "Code 5"),
        ({"private_key": ""}, "Code 3735693"),
        ({"type": "server_ca"}, "Code 37"),
        ({"type": "root_ca"}, "Code 3735622"),
        ({"svm": "nobody"}, "Code "),
    ],
)
async def test_bad_certificates(site: Site, browser: Browser, pki: Pki, fields: dict[str, str], said: str) -> None:
    """The form comes again with the reason and what was typed, but without the private key; nothing is installed."""
    await browser.log_in(url=INSTALL)
    sound = {"type": "client", "public_certificate": pki.client.certificate_pem, "private_key": pki.client.key_pem}
    page = await browser.submit(INSTALL, {**sound, "name": "typed", **fields})
    text = page.content.decode()
    assert page.status in {400, 404}
    assert said in text
    assert 'value="typed"' in text
    assert "PRIVATE KEY" not in text
    assert pki.client.key_pem.splitlines()[1] not in text
    assert await installed(site) == set()


async def test_a_request(browser: Browser, site: Site) -> None:
    """Its key is shown once, and is stored nowhere."""
    await browser.log_in(url="/certificates/request")
    await check_commands(browser)
    fields = {"subject_name": "CN=client", "dns": "a.example, b.example", "kind": "ec-128"}
    page = await browser.submit("/certificates/request", fields)
    text = page.content.decode()
    assert "-----BEGIN CERTIFICATE REQUEST-----" in text
    assert "-----BEGIN PRIVATE KEY-----" in text
    assert page.headers["cache-control"] == "no-store"
    assert "PRIVATE KEY" not in (await browser.open("/certificates/request")).content.decode()
    assert "PRIVATE KEY" not in await audited(site)


@pytest.mark.parametrize("fields", [{"subject_name": ""}, {"dns": "a b!"}, {"ip": "1.2.3"}, {"kind": "dsa-1"}])
async def test_bad_requests(browser: Browser, fields: dict[str, str]) -> None:
    """The form comes again with the reason."""
    await browser.log_in(url="/certificates/request")
    page = await browser.submit("/certificates/request", {"subject_name": "CN=typed", **fields})
    assert page.status == 400
    assert b"Nothing was changed" in page.content
    assert b"BEGIN" not in page.content
    assert (b"CN=typed" in page.content) is ("subject_name" not in fields)


async def test_what_an_end_means(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """Without its client certificate a key manager loses all servers, without a CA those that it proves."""
    manager = await site.key_manager(pki, [server.address for server in pykmip_group.primaries[:2]])
    path = f"/api/security/key-managers/{manager}/volume-keys"
    assert (await site.admin.post(path, {"name": "vol1"})).status == 201
    of_client, of_ca = await of_manager(site, manager)

    def store(tx: Transaction) -> None:
        (node,) = tx.nodes()
        shown = PeerCertificate("ks", "Key Server CA", "1", datetime.now(UTC) + DAY)
        first, second = tx.key_servers(manager)
        known = {each.key_server for each in tx.observations([first.uuid, second.uuid])}
        for server, chain in ((first, (shown,)), (second, ())):
            seen = Observation(node.uuid, server.uuid, "", State.AVAILABLE, NOON, certificates=chain)
            tx.put_observations([seen], new=server.uuid not in known)

    await site.open_.store.write(store)
    page = (await browser.log_in(url=of_client)).content.decode()
    assert "would lose 2 of 2 key servers: no key could be read from any server." in page
    assert "It cannot be deleted" in page
    assert f"{of_client}/delete" not in forms(await browser.open(of_client))
    page = (await browser.open(of_ca)).content.decode()
    assert "would lose 1 of 2 key servers: every key could still be read, but no further" in page
    assert "Not known for 1 key server: it has shown no proven certificate." in page
    page = (await browser.open("/certificates?type=server")).content.decode()
    assert "shown by key server" in page
    assert of_client not in page


def renewed(pki: Pki, authority: Authority) -> Credentials:
    """Issue another certificate for the key pair of the client."""
    return authority.issue((), common_name="keystead", purpose="client", key=pki.client.key)


async def successor(site: Site, browser: Browser, manager: str, new: Credentials) -> tuple[str, Response]:
    """Install a successor of a client certificate in use by the form. Return the path of step 2, and its page."""
    of_client, _ = await of_manager(site, manager)
    first = (await browser.open(f"{of_client}/successor")).content.decode()
    assert "-subj /CN=keystead" in first
    await check_commands(browser)
    fields = {"public_certificate": new.certificate_pem, "private_key": new.key_pem}
    page = await browser.submit(f"{of_client}/successor", fields)
    (step,) = [path for path in forms(page) if path.startswith(f"{of_client}/successor/")]
    return step, page


@pytest.mark.usefixtures("files")
async def test_a_successor(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """It is installed, then the key manager is changed to it, then the old one can be deleted."""
    manager = await site.key_manager(pki, [server.address for server in pykmip_group.primaries[:2]])
    key = f"/api/security/key-managers/{manager}/volume-keys"
    assert (await site.admin.post(key, {"name": "vol1"})).status == 201
    before, _ = await of_manager(site, manager)
    await browser.log_in()
    step, page = await successor(site, browser, manager, renewed(pki, pki.client_ca))
    assert "uses the old certificate" in page.content.decode()
    assert (await of_manager(site, manager))[0] == before
    await check_commands(browser)

    page = await browser.submit(step)
    assert "uses the new certificate" in page.content.decode()
    assert "No key manager uses the old certificate any more" in page.content.decode()
    after, _ = await of_manager(site, manager)
    assert after != before
    assert step.endswith(after.rpartition("/")[2])
    await browser.open(before)
    assert (await browser.submit(f"{before}/delete")).status == 200
    assert before.rpartition("/")[2] not in await installed(site)


@pytest.mark.usefixtures("files")
async def test_a_successor_that_key_servers_refuse(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """The page says which key server refuses it, and that the key manager goes on with the old one."""
    servers = [server.address for server in pykmip_group.primaries[:2]]
    manager = await site.key_manager(pki, servers)
    before, _ = await of_manager(site, manager)
    await browser.log_in()
    step, _ = await successor(site, browser, manager, renewed(pki, Authority("Another CA")))
    page = await browser.submit(step)
    text = page.content.decode()
    assert page.status == 400
    assert "goes on with the old certificate" in text
    assert servers[0] in text
    assert "<b>" + servers[0] in text
    assert "Code 66" in text
    assert step in forms(page)
    assert (await of_manager(site, manager))[0] == before

    page = await browser.submit(step, {"key_manager": "5f1a3ee8-0a2b-4f4e-9a3f-000000000000"})
    assert page.status == 404
    listed = (await browser.open(f"{before}/successor")).content.decode()
    assert step in listed  # to come back to it
    assert (await browser.open(f"{before}/successor/nothing")).status == 404


async def test_a_successor_with_another_key(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """It is refused before it is installed, because no key manager could be changed to it."""
    manager = await site.key_manager(pki, [pykmip_group.primaries[0].address])
    before, _ = await of_manager(site, manager)
    known, new = await installed(site), client(pki.client_ca)
    await browser.log_in(url=f"{before}/successor")
    fields = {"name": "typed", "public_certificate": new.certificate_pem, "private_key": new.key_pem}
    page = await browser.submit(f"{before}/successor", fields)
    text = page.content.decode()
    assert page.status == 400
    assert "Code 65536850" in text
    assert 'value="typed"' in text
    assert "PRIVATE KEY" not in text
    assert await installed(site) == known


async def test_who_sees_what(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """An SVM's account sees the SVM's own certificates only; a reader of pages no form."""
    manager = await site.key_manager(pki, [pykmip_group.primaries[0].address])
    cluster, _ = await of_manager(site, manager)
    own = await site.certificate("server_ca", pki.server_ca.pem, svm={"name": SVM.name})

    page = await browser.log_in("auditor", url=cluster)
    assert forms(page).keys() == {"/theme", "/logout"}
    assert b"/successor" not in page.content
    assert INSTALL not in (await browser.open("/certificates")).content.decode()

    tenant = site.browser()
    text = (await tenant.log_in("vs1-admin", url="/certificates")).content.decode()
    assert own in text
    assert cluster not in text
    assert "127.0.0.1" not in text
    assert (await tenant.open(cluster)).status == 404
    assert (await tenant.open(f"{cluster}/successor")).status == 404
    await tenant.open(f"/certificates/{own}")
    await tenant.submit(f"/certificates/{own}/delete")
    assert own not in await installed(site)


@pytest.mark.parametrize("account", ["auditor", "vs1-auditor", "reader"])
async def test_who_may_not_write(site: Site, pki: Pki, account: str) -> None:
    """A forged form is refused, and changes nothing."""
    own = await site.certificate("server_ca", pki.server_ca.pem, svm={"name": SVM.name})
    browser = site.browser()
    await browser.log_in(account)
    one = f"/certificates/{own}"
    for path in (INSTALL, "/certificates/request", f"{one}/delete", f"{one}/successor", f"{one}/successor/{own}"):
        body = f"form_token={form_token(browser.cookies[COOKIE], path)}".encode()
        sent = {"content_type": "application/x-www-form-urlencoded", "origin": ORIGIN}
        assert (await browser.send("POST", path, body, **sent)).status == 403
    assert await installed(site) == {own}


@pytest.mark.parametrize("query", ["type=onboard", "from=x", "from=-1"])
async def test_a_bad_query(browser: Browser, query: str) -> None:
    """It is refused in words."""
    await browser.log_in()
    assert (await browser.open(f"/certificates?{query}")).status == 400


# --- words ---


@pytest.mark.parametrize(
    ("effect", "tone", "sentence"),
    [
        (
            CertificateEffect("vs0", 4, 3, 0, 10, 10, 0),
            Tone.BAD,
            "On 10 Mar 2026 vs0 would lose 3 of 4 key servers: no key could be read from any server.",
        ),
        (
            CertificateEffect("vs0", 4, 3, 0, 10, 2, 0),
            Tone.BAD,
            "On 10 Mar 2026 vs0 would lose 3 of 4 key servers: 2 of 10 keys could not be read.",
        ),
        (
            CertificateEffect("v", 4, 2, 0, 10, 0, 1),
            Tone.WARN,
            "On 10 Mar 2026 v would lose 2 of 4 key servers: every key could be read, and any 1 more domain may fail.",
        ),
        (
            CertificateEffect("vs0", 1, 0, 0, 0, 0, 0),
            Tone.OK,
            "On 10 Mar 2026 vs0 would lose 0 of 1 key server: it has no keys.",
        ),
    ],
)
def test_effects_in_words(effect: CertificateEffect, tone: Tone, sentence: str) -> None:
    """How many servers, and what could be read then."""
    ends = datetime(2026, 3, 10, tzinfo=UTC)
    assert effects([effect], ends, NOON) == [(tone, sentence)]
    ((_, past),) = effects([effect], ends, ends + DAY)
    assert past.startswith(f"It ended on 10 Mar 2026. Without it, {effect.vserver} loses {effect.lost} of")
    assert "could" not in past


def test_the_timeline() -> None:
    """A certificate that key servers showed is listed once; an end far ahead has no place."""
    shown = [
        UsedCertificate("ks", "1", "CA", "server", SVM, "vs1", NOON + DAY, "ks1"),
        UsedCertificate("CA", "2", "CA", "server_ca", SVM, "vs1", NOON + 500 * DAY, "ks1"),
        UsedCertificate("CA", "2", "CA", "server_ca", SVM, "vs1", NOON + 500 * DAY, "ks2"),
        UsedCertificate("ours", "3", "CA", "client", SVM, "vs1", NOON + DAY),
    ]
    found = entries([], shown, NOON)
    assert [(each.name, each.place, each.tone) for each in found] == [("ks", 0.2, Tone.WARN), ("CA", None, Tone.OK)]
    assert [each.name for each in filtered(found, {"type": "server"})] == ["ks"]
    assert filtered(found, {"svm": "vs2"}) == []
    ended = Entry("n", "", "client", "", frozenset(), "", "", NOON, timedelta(days=-1))
    assert (ended.place, ended.tone) == (0.0, Tone.BAD)


def test_a_form_never_shows_a_private_key(pki: Pki) -> None:
    """Not even one that was pasted into the wrong field."""
    bundle = pki.client.key_pem + pki.client.chain_pem
    assert shown_again({"public_certificate": bundle, "name": "n"}, ("public_certificate", "name")) == {
        "public_certificate": "",
        "name": "n",
    }
    new = new_certificate({"type": "client", "public_certificate": bundle})
    assert "PRIVATE" not in new.public_certificate
    assert new.private_key is not None
