"""The list of key servers and the page of one: what they say of servers that really fail, to whom, and the probe."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from keystead import web
from keystead.core import events
from keystead.core.model import Access, Account, CustomRole, Observation, PeerCertificate, Privilege, State
from keystead.testing.faults import FAULTS
from tests.web.commands import check_commands
from tests.web.conftest import NOON, SVM, forms

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from keystead.testing.key_servers import KeyServers
    from tests.web.conftest import Browser, Site

DAY = timedelta(days=1)
FINE, LOST = (State.AVAILABLE, ""), (State.NOT_RESPONDING, "connection_refused")
TEMPLATES = Path(str(web.__file__)).parent / "templates"
SURVIVAL = "/api/security/key-managers/*/key-survival"
LIVE_BY_PLACE = re.compile(r'id="[^"]*loop\.index[^>]*data-live[ >]')
SHOWN = (
    PeerCertificate("ks1", "Issuing CA", "3F", NOON - DAY, NOON - 300 * DAY),
    PeerCertificate("Issuing CA", "Root CA", "4A", NOON + 9000 * DAY, NOON - 900 * DAY),
)
PROBED = [(word, fault.reason) for word, fault in FAULTS.items() if fault.reason and word not in {"silent", "refused"}]


def path_of(key_manager: str, address: str) -> str:
    """Return the path of a key server's page."""
    return f"/key-managers/{key_manager}/key-servers/{address}"


async def see(site: Site, key_manager: str, reason: str) -> None:
    """Store that the first server of a key manager failed at TLS for a reason, and what it showed."""

    def store(tx: Transaction) -> None:
        (node,) = tx.nodes()
        server = tx.key_servers(key_manager)[0]
        seen = Observation(node.uuid, server.uuid, "", State.NOT_RESPONDING, NOON, "tls", reason, SHOWN, NOON - DAY)
        tx.put_observations([seen], new=False)

    await site.open_.store.write(store)


async def test_without_a_key_server(browser: Browser) -> None:
    """The page says so, and leads to where one is set up."""
    page = (await browser.log_in(url="/key-servers")).content.decode()
    assert "There is no key server yet." in page
    assert 'href="/key-managers/add"' in page


async def test_the_list(site: Site, browser: Browser, machines: KeyServers) -> None:
    """The lost come first; each leads to its page; a text finds some of them."""
    manager = await site.key_manager_of(machines, 0, 1)
    await site.observe(manager, (State.AVAILABLE, ""), (State.NOT_RESPONDING, "connection_refused"))
    page = (await browser.log_in(url="/key-servers")).content.decode()
    lost, sound = path_of(manager, machines[1].address), path_of(manager, machines[0].address)
    assert page.index(lost) < page.index(sound)
    assert "1 lost, 1 available." in page
    assert "connection refused" in page
    assert f"/key-managers/{manager}/key-servers/add" in page
    page = (await browser.open(f"/key-servers?text={machines[0].address}")).content.decode()
    assert sound in page
    assert lost not in page
    refused = await browser.open("/key-servers?from=%3Cb%3E")
    assert refused.status == 400
    assert "it is no place in the list" in refused.content.decode()
    page = (await browser.open("/key-servers?text=%3Cb%3Enone")).content.decode()
    assert "No key server has “&lt;b&gt;none”" in page


def test_live_elements_of_lists() -> None:
    """Their ids never depend on the place in a list, or the script would put a value beside another name."""
    steps = "replace_key_server.html"  # always the same four, in the same order
    found = [path for path in TEMPLATES.glob("*.html") if path.name != steps and LIVE_BY_PLACE.search(path.read_text())]
    assert not found


async def test_live_elements_of_the_list(site: Site, browser: Browser, machines: KeyServers) -> None:
    """A server that gets a higher place takes its ids along."""
    manager = await site.key_manager_of(machines, 0, 1)
    rows: list[dict[str, set[str]]] = []
    for states in ((LOST, FINE), (FINE, LOST)):
        await site.observe(manager, *states)
        page = (await (browser.open if rows else browser.log_in)(url="/key-servers")).content.decode()
        table = page.partition("</table>")[0]
        rows.append(
            {text.split("</th>")[0]: set(re.findall(r'id="([^"]*)"', text)) for text in table.split("<tr>")[2:]}
        )
    assert rows[0] == rows[1]
    assert len(set.union(*rows[0].values())) == 10


async def test_a_lost_secondary(site: Site, browser: Browser, machines: KeyServers) -> None:
    """The overview, the list and the page of the server say the same: degraded, because a secondary is lost."""
    manager = await site.key_manager_of(machines, 0)

    def store(tx: Transaction) -> None:
        (node,) = tx.nodes()
        (server,) = tx.key_servers(manager)
        tx.change_key_server(replace(server, secondary_key_servers=("localhost",)))
        lost = Observation(node.uuid, server.uuid, "localhost", State.NOT_RESPONDING, NOON, "tls", "not_tls")
        tx.put_observations([lost], new=True)

    await site.open_.store.write(store)
    for url in ("/", "/key-servers", path_of(manager, machines[0].address)):
        page = (await (browser.open if browser.page else browser.log_in)(url=url)).content.decode()
        assert "a secondary is lost" in page
        assert "egraded" in page


async def test_a_silent_node(site: Site, browser: Browser, machines: KeyServers) -> None:
    """Accounts of the cluster see that it is silent; those of an SVM see that it has not looked."""
    own = await site.key_manager_of(machines, 0, svm={"uuid": SVM.uuid})

    def store(tx: Transaction) -> None:
        (node,) = tx.nodes()
        tx.put_node(replace(node, uuid=str(uuid4()), name="node2"))
        tx.hear_node(node.uuid, NOON)

    await site.open_.store.write(store)
    path = path_of(own, machines[0].address)
    assert "silent" in (await browser.log_in(url=path)).content.decode()
    page = (await site.browser().log_in("vs1-admin", url=path)).content.decode()
    assert "has not looked" in page
    assert "silent" not in page


async def test_the_overview_leads_to_the_page(site: Site, browser: Browser, machines: KeyServers) -> None:
    """Its cell and the item of attention do."""
    manager = await site.key_manager_of(machines, 0, 1)
    await site.observe(manager, (State.AVAILABLE, ""), (State.NOT_RESPONDING, "connection_refused"))
    page = (await browser.log_in()).content.decode()
    assert page.count(f'href="{path_of(manager, machines[1].address)}"') == 2
    assert page.count(f'href="{path_of(manager, machines[0].address)}"') == 1


async def test_a_lost_server(site: Site, browser: Browser, machines: KeyServers) -> None:
    """Its page says at which stage, why, since when, which certificate is at fault, and what to do."""
    manager = await site.key_manager_of(machines, 0, 1)
    await see(site, manager, "server_certificate_expired")
    page = (await browser.log_in(url=path_of(manager, machines[0].address))).content.decode()
    assert "It is lost: server certificate expired." in page
    assert "Since <time" in page
    assert "2026-03-01 12:00 UTC" in page
    assert "The certificate at fault is the server&#39;s: ks1, issued by Issuing CA. It ended on 2026-02-28" in page
    assert page.count('<strong class="bad">at fault</strong>') == 1
    assert "Renew it on the key server." in page
    assert "Whoever runs the key server" in page
    assert page.index("What it showed us") < page.index("4A") < page.index("What we showed it")
    assert machines.client.certificate_pem[:40] not in page
    assert "Canary" in page
    await check_commands(browser)


async def test_our_chain_is_at_fault(site: Site, browser: Browser, machines: KeyServers) -> None:
    """The CA that the server does not know is named."""
    manager = await site.key_manager_of(machines, 0)
    await see(site, manager, "client_certificate_untrusted")
    page = (await browser.log_in(url=path_of(manager, machines[0].address))).content.decode()
    assert "The certificate at fault is ours" in page
    assert "The CA that is not known is Client CA." in page
    assert "its issuer is not known" in page


async def test_a_server_that_hides_our_keys(site: Site, browser: Browser, machines: KeyServers) -> None:
    """It answers, so the look passed; the page says all the same that it is lost, and what to do."""
    manager = await site.key_manager_of(machines, 0)

    def store(tx: Transaction) -> None:
        (node,) = tx.nodes()
        (server,) = tx.key_servers(manager)
        tx.put_observations(
            [
                Observation(
                    *(node.uuid, server.uuid, "", State.AVAILABLE, NOON - DAY),
                    keys_visible=False,
                    hidden_since=NOON,
                )
            ],
            new=False,
        )

    answer = await site.admin.post(f"/api/security/key-managers/{manager}/volume-keys", {"name": "vol1"})
    assert answer.status == 201  # the server is learned now
    await site.open_.store.write(store)
    page = (await browser.log_in(url=path_of(manager, machines[0].address))).content.decode()
    assert "It is lost: does not show our keys." in page
    since = page[page.index('id="verdict-text"') :]
    assert since.index("2026-03-01 12:00 UTC") < since.index("</p>")
    assert "The server does not show the canary" in page
    assert "Otherwise use external confirm-server, or remove it and add it again." in page


async def test_a_probe_that_passes(site: Site, browser: Browser, machines: KeyServers) -> None:
    """Each stage has its time and the fact that it told; the call is recorded."""
    manager = await site.key_manager_of(machines, 0)
    path = path_of(manager, machines[0].address)
    await browser.log_in(url=path)
    page = await browser.submit(path)
    text = page.content.decode()
    assert page.status == 200
    assert "Probe at <!--~--><time" in text
    assert "Every stage passed." in text
    assert "TLSv1.3" in text
    assert "KMIP 2.1" in text
    assert "Where the time went" in text
    answer = await site.admin.get("/api/security/audit/messages?fields=*&message=probe*")
    assert answer.body["num_records"] == 1


@pytest.mark.parametrize(("fault", "reason"), PROBED, ids=str)
async def test_a_probe_that_fails(site: Site, browser: Browser, machines: KeyServers, fault: str, reason: str) -> None:
    """The failed stage is opened, with the reason, ONTAP's code and what to do."""
    manager = await site.key_manager_of(machines, 0)
    path = path_of(manager, machines[0].address)
    await browser.log_in(url=path)
    machines[0].break_(fault)
    page = await browser.submit(path)
    text = page.content.decode()
    probed = text[text.index('id="probed"') : text.index('id="look"')]
    assert page.status == 200
    assert f"<code>{reason}</code>" in probed
    assert "<code>6606" in probed or "<code>6553" in probed
    assert "What to do" in probed
    assert "Probe again." in probed


async def test_who_may_only_read(site: Site, browser: Browser, machines: KeyServers) -> None:
    """There are no buttons, and no form does anything."""
    manager = await site.key_manager_of(machines, 0)
    path = path_of(manager, machines[0].address)
    page = (await browser.log_in("auditor", url=path)).content.decode()
    assert "Probe now" not in page
    for end in ("/change", "/remove", "/replace"):
        assert f"{path}{end}" not in page
        assert (await browser.open(f"{path}{end}")).status == 403
    await browser.open("/key-servers")
    assert browser.page is not None
    assert b"Add key servers" not in browser.page.content
    assert b"Set up a key manager" not in browser.page.content
    for target in (path, f"{path}/change", f"{path}/remove", f"/key-managers/{manager}/key-servers/add"):
        answer = await browser.send(
            "POST", target, b"x=y", content_type="application/x-www-form-urlencoded", origin="https://keystead.test"
        )
        assert answer.status == 403


async def test_what_an_account_of_an_svm_sees(site: Site, browser: Browser, machines: KeyServers) -> None:
    """Its own servers, without what tells about our network: no reason, no chains, no learned facts."""
    own = await site.key_manager_of(machines, 0, svm={"uuid": SVM.uuid})
    other = await site.key_manager_of(machines, 1)
    await see(site, own, "client_certificate_untrusted")
    path = path_of(own, machines[0].address)
    page = (await browser.log_in("vs1-admin", url=path)).content.decode()
    assert "TLS fails." in page
    assert "An account of the cluster sees the reason." in page
    for hidden in ("client_certificate_untrusted", "client certificate untrusted", "Issuing CA", "What it can do"):
        assert hidden not in page
    await see(site, own, "server_certificate_expired")  # proved, and shown by the API to accounts of the cluster only
    page = (await browser.open(path)).content.decode()
    assert "Issuing CA" not in page
    machines[0].break_("client_ca")
    page = (await browser.submit(path)).content.decode()
    for hidden in ("client_certificate_untrusted", "What we showed it", "TLSv1", " ms<"):
        assert hidden not in page
    assert "<code>66060339</code>" in page
    page = (await browser.open("/key-servers")).content.decode()
    assert path in page
    assert other not in page
    assert (await browser.open(path_of(other, machines[1].address))).status == 404


async def test_a_role_that_may_not_see_all(site: Site, browser: Browser, machines: KeyServers) -> None:
    """Without the survival it sees no numbers of keys, and no page that names keys; without events no outages."""
    manager = await site.key_manager_of(machines, 0, 1)
    answer = await site.admin.post(f"/api/security/key-managers/{manager}/volume-keys", {"name": "vol1"})
    assert answer.status == 201
    rows = (
        Privilege("/api/security/key-managers", Access.ALL),
        Privilege(SURVIVAL, Access.NONE),
        Privilege("/api/support/attention", Access.READONLY),
    )

    def store(tx: Transaction) -> None:
        admin = tx.account("admin")
        assert admin is not None
        role = CustomRole("servers", None, rows)
        tx.put_role(role)
        tx.put_account(Account("operator", role, admin.password_hash))

    await site.open_.store.write(store)
    path = path_of(manager, machines[0].address)
    page = (await browser.log_in(url=path)).content.decode()
    assert "1 key<" in page
    assert f"{path}/remove" in page
    assert "The last 30 days" in page
    assert "Last 24 hours" in (await browser.open("/")).content.decode()
    other = site.browser()
    page = (await other.log_in("operator", url=path)).content.decode()
    assert "Copies on it" in page
    assert "1 key<" not in page
    assert "The last 30 days" not in page
    assert "Last 24 hours" not in (await other.open("/")).content.decode()
    assert f"{path}/change" in page
    for end in ("/remove", "/replace"):
        assert f"{path}{end}" not in page
        assert (await other.open(f"{path}{end}")).status == 403


@pytest.mark.parametrize("server", ["127.0.0.1:1", "no%20host", "a:b:c"])
async def test_a_server_that_there_is_not(site: Site, browser: Browser, machines: KeyServers, server: str) -> None:
    """Its page is not found, nor its forms."""
    manager = await site.key_manager_of(machines, 0)
    for end in ("", "/change", "/remove", "/replace"):
        page = await browser.log_in(url=f"{path_of(manager, server)}{end}")
        assert page.status == 404
        await browser.open("/sessions")
        if browser.page and "/logout" in forms(browser.page):
            await browser.submit("/logout")


async def test_a_server_that_was_removed(site: Site, browser: Browser, machines: KeyServers) -> None:
    """The path of its page leads to its events, and to no others."""
    manager = await site.key_manager_of(machines, 0, 1)
    gone, other = machines[0].address, machines[1].address
    answer = await site.admin.delete(f"/api/security/key-managers/{manager}/key-servers/{gone}")
    assert answer.status == 200

    def report(tx: Transaction) -> None:
        (node,) = tx.nodes()
        values = {"vserver": "cluster"}
        tx.add_events(
            [events.AVAILABLE.happened(node.uuid, NOON, None, {**values, "address": each}) for each in (gone, other)],
            1000,
        )

    await site.open_.store.write(report)
    page = await browser.log_in(url=path_of(manager, gone))
    assert page.status == 404
    (link,) = re.findall(r'href="(/events\?text=[^"]*)"', page.content.decode())
    shown = (await browser.open(link)).content.decode()
    assert gone in shown
    assert other not in shown


async def test_texts_are_shown_as_text(site: Site, browser: Browser, machines: KeyServers) -> None:
    """Markup in what somebody declared is no markup."""
    manager = await site.key_manager_of(machines, 0)
    path = f"/api/security/key-managers/{manager}/key-servers/{machines[0].address}"
    answer = await site.admin.patch(path, {"replication_domain": "<b>east</b>", "username": "", "password": ""})
    assert answer.status == 200, answer.content
    page = (await browser.log_in(url=path_of(manager, machines[0].address))).content.decode()
    assert "&lt;b&gt;east" in page
    assert "<b>east" not in page
