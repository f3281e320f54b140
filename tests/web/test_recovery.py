"""The page of recovery: what it says is held, to whom, and what its forms do on real key servers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from keystead.core import errors
from keystead.core.keys.away import Away
from keystead.core.keys.incarnations import Reason
from keystead.core.keys.model import Dismissal, KeyState, Orphan
from keystead.core.model import Observation, State
from keystead.kmip.testing.server import KeyServer
from keystead.service.keys.orphans.adopt import PlacedOrphan
from keystead.web.pages.recovery import PAGES
from keystead.web.recovery import REASONS, hidden_servers, reason_words, waiting_first
from keystead.web.security import COOKIE, form_token
from tests.core.attention.test_key_managers import seen, watched
from tests.peers.certificates import server_context
from tests.peers.keystead import PASSWORD
from tests.web.commands import check_commands
from tests.web.conftest import ORIGIN, forms

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group
    from tests.web.conftest import Browser, Site

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
INCARNATION = "/api/security/key-manager-incarnation"
NOTHING = "Nothing is held"


async def hold(site: Site) -> None:
    """Begin a new incarnation, as a restore does."""

    def work(tx: Transaction) -> None:
        current = tx.incarnations()[-1]
        tx.put_incarnation(
            replace(
                current,
                uuid="6" * 8 + current.uuid[8:],
                number=current.number + 1,
                reason="restored",
                began=NOON,
                destroys=False,
            )
        )

    await site.open_.store.write(work)


async def forget(site: Site, manager: str, name: str) -> Orphan:
    """Create a key, have the database forget it, and find its object on the first server."""
    made = await site.admin.post(f"/api/security/key-managers/{manager}/volume-keys", {"name": name})
    assert made.status == 201, made.content
    key_id = made.headers["location"].rpartition("/")[2]

    def work(tx: Transaction) -> Orphan:
        key = tx.key_by_id(manager, key_id)
        assert key is not None
        server = tx.key_servers(manager)[0]
        copy = next(each for each in tx.copies([key.uuid]) if each.key_server == server.uuid)
        (attempt,) = tx.attempts([key.uuid])
        object_name = f"keystead-{attempt.incarnation[:8]}-k{key.uuid.replace('-', '')[:16]}-1"
        found = Orphan(manager, server.uuid, copy.unique_identifiers[0], object_name, NOON)
        tx.change_key(replace(key, state=KeyState.PURGED), KeyState.COMMITTED)
        tx.drop_keys(manager, [KeyState.PURGED])
        tx.put_orphans([found])
        return found

    return await site.open_.store.write(work)


async def test_nothing_is_held(browser: Browser) -> None:
    """The page says so, and has no form of its own."""
    page = await browser.log_in(url="/recovery")
    assert NOTHING in page.content.decode()
    assert [each for each in forms(page) if each.startswith("/recovery")] == []


async def test_destruction_is_released(site: Site, browser: Browser) -> None:
    """The page says why and since when it is held; the form releases it."""
    await hold(site)
    page = (await browser.log_in(url="/recovery")).content.decode()
    assert NOTHING not in page
    assert "2026-03-01 12:00 UTC" in page
    assert REASONS["restored"] in page
    assert "keystead key-manager rebuild" in page
    await check_commands(browser)
    page = (await browser.submit("/recovery/release")).content.decode()
    assert NOTHING in page
    assert (await site.admin.get(f"{INCARNATION}?fields=destroys")).body["destroys"] is True


async def test_an_object_is_dismissed_undone_and_adopted(
    site: Site, browser: Browser, pki: Pki, pykmip_group: Group
) -> None:
    """A dismissed object needs nobody until that is undone; an adopted one is a key."""
    manager = await site.key_manager(pki, [server.address for server in pykmip_group.primaries[:2]])
    found = await forget(site, manager, "vol1")
    page = (await browser.log_in(url="/recovery")).content.decode()
    assert NOTHING not in page
    assert found.name in page
    assert pykmip_group.primaries[0].address in page
    assert "1 object waits" in page
    await check_commands(browser)

    page = (await browser.submit("/recovery/dismiss")).content.decode()
    assert NOTHING in page
    assert "admin dismissed it" in page
    await check_commands(browser)
    listed = await site.admin.get(f"/api/security/key-managers/{manager}/unclaimed-objects?fields=dismissed")
    assert [each["dismissed"] for each in listed.body["records"]] == [True]
    page = (await browser.submit("/recovery/undo")).content.decode()
    assert "1 object waits" in page

    refused = await browser.submit("/recovery/adopt", {"name": "", "svm": "vs1"})
    assert refused.status == 400
    assert 'value="vs1"' in refused.content.decode()
    refused = await browser.submit("/recovery/adopt", {"name": "vol2", "svm": "nobody"})
    assert refused.status == errors.SVM_NOT_FOUND.status
    assert f"Code {errors.SVM_NOT_FOUND.code}" in refused.content.decode()
    page = (await browser.submit("/recovery/adopt", {"name": "vol2", "svm": ""})).content.decode()
    assert NOTHING in page
    keys = await site.admin.get(f"/api/security/key-managers/{manager}/volume-keys?fields=name")
    assert [each["name"] for each in keys.body["records"]] == ["vol2"]


@pytest.mark.parametrize("name", ["adopt", "dismiss", "undo"])
async def test_an_object_that_is_not_listed(browser: Browser, name: str) -> None:
    """As when somebody else has adopted it meanwhile: the page says that it is not there."""
    await browser.log_in(url="/recovery")
    fields = {"key_manager": "none", "key_server": "none", "unique_identifier": "7", "name": "vol1"}
    assert await posted(browser, f"/recovery/{name}", fields) == 404


async def test_a_restored_server_is_confirmed(site: Site, browser: Browser, pki: Pki) -> None:
    """A real key server that lost its objects and has another public key: the form has it learned anew."""
    async with KeyServer(server_context(pki.server, client_ca=pki.client_ca)) as server:
        address = f"127.0.0.1:{server.port}"
        manager = await site.key_manager(pki, [address])
        made = await site.admin.post(f"/api/security/key-managers/{manager}/volume-keys", {"name": "vol1"})
        assert made.status == 201, made.content
        server.responder.store.forget_all()
        pki.server_ca.issue().load_into(server.context)
        server.disconnect()

        def hide(tx: Transaction) -> None:
            (node,), (stored,) = tx.nodes(), tx.key_servers(manager)
            found = Observation(
                node.uuid, stored.uuid, "", State.AVAILABLE, NOON, keys_visible=False, hidden_since=NOON
            )
            tx.put_observations([found], new=not tx.observations([stored.uuid]))

        await site.open_.store.write(hide)
        page = (await browser.log_in(url="/recovery")).content.decode()
        assert address in page
        await check_commands(browser)
        answer = await browser.submit("/recovery/confirm")
        assert answer.status == 200, answer.content
        assert server.responder.objects
        events = await site.admin.get("/api/support/ems/events?message.name=km.keyserver.confirmed&fields=log_message")
        (event,) = events.body["records"]
        assert address in event["log_message"]


@pytest.mark.parametrize("server", ["", "no address", "127.0.0.1:1"])
async def test_no_server_to_confirm(browser: Browser, server: str) -> None:
    """What is none of our key servers is not found."""
    await browser.log_in(url="/recovery")
    assert await posted(browser, "/recovery/confirm", {"key_manager": "none", "server": server}) == 404


async def posted(browser: Browser, path: str, fields: dict[str, str]) -> int:
    """Post a form that no page shows; return the status of the answer."""
    body = urlencode({"form_token": form_token(browser.cookies[COOKIE], path), **fields}).encode()
    headers = {"content_type": "application/x-www-form-urlencoded", "origin": ORIGIN}
    return (await browser.send("POST", path, body, **headers)).status


async def test_a_reader_sees_and_does_nothing(site: Site) -> None:
    """No button; each form is refused, and destruction stays held."""
    await hold(site)
    browser = site.browser()
    page = await browser.log_in("auditor", url="/recovery")
    assert REASONS["restored"] in page.content.decode()
    assert [each for each in forms(page) if each.startswith("/recovery")] == []
    for each in PAGES[1:]:
        assert await posted(browser, each.path, {}) == 403
    assert (await site.admin.get(f"{INCARNATION}?fields=destroys")).body["destroys"] is False


@pytest.mark.parametrize("name", ["vs1-admin", "reader"])
async def test_others_do_not_see_it(site: Site, name: str) -> None:
    """What is held belongs to the cluster, and the objects' owners are unknown."""
    browser = site.browser()
    page = await browser.log_in(name, url="/recovery")
    assert page.status == 403
    assert 'href="/recovery"' not in page.content.decode()


async def test_a_role_that_may_not_list_the_objects(site: Site, browser: Browser) -> None:
    """Who may read the incarnation alone gets no page with what the API hides, and no counts from it."""
    rights = [{"path": INCARNATION, "access": "readonly"}, {"path": "/api/cluster", "access": "readonly"}]
    made = await site.admin.post("/api/security/roles", {"name": "watcher", "privileges": rights})
    assert made.status == 201, made.content
    http = {"application": "http", "authentication_methods": ["password"]}
    account = {"name": "watching", "role": {"name": "watcher"}, "applications": [http], "password": PASSWORD}
    assert (await site.admin.post("/api/security/accounts", account)).status == 201
    await hold(site)
    page = await browser.log_in("watching", url="/recovery")
    assert page.status == 403
    assert REASONS["restored"] not in page.content.decode()
    assert 'id="count-' not in (await browser.open("/sessions")).content.decode()


def test_releasing_asks_for_the_password() -> None:
    """It lets overdue keys be destroyed."""
    assert [page.path for page in PAGES if page.asks_password] == ["/recovery/release"]


def test_each_reason_has_words() -> None:
    """And an unknown one stands for itself."""
    assert {each.value for each in Reason} == set(REASONS)
    assert reason_words("odd") == "odd"


async def test_the_password_is_needed(site: Site, browser: Browser) -> None:
    """After the time for which a password counts, the form asks for it; a wrong one releases nothing."""
    await hold(site)
    await browser.log_in(url="/recovery")
    await site.forget_password()
    page = await browser.submit("/recovery/release")
    assert "Show your password again" in page.content.decode()
    assert (await browser.submit("/recovery/release", {"own_password": "wrong"})).status == 401
    assert (await site.admin.get(f"{INCARNATION}?fields=destroys")).body["destroys"] is False
    page = await browser.submit("/recovery/release", {"own_password": PASSWORD})
    assert NOTHING in page.content.decode()


def test_servers_that_hide_their_keys() -> None:
    """The longest hidden first; others are left out."""
    first, later = NOON - timedelta(minutes=2), NOON - timedelta(minutes=1)
    looks = [
        seen("a", state=State.AVAILABLE, keys_visible=False, hidden_since=later),
        seen("b", state=State.AVAILABLE, keys_visible=False, hidden_since=later),
        replace(seen("b", state=State.AVAILABLE, keys_visible=False, hidden_since=first), node="2"),
    ]
    found = hidden_servers([watched(*looks, away={"a": Away.KEYS_HIDDEN, "b": Away.KEYS_HIDDEN})])
    assert [(each.address, each.since) for each in found] == [("b.example:5696", first), ("a.example:5696", later)]
    found = hidden_servers([watched(*looks, away={"a": Away.KEYS_HIDDEN, "b": Away.NOT_RESPONDING})])
    assert [each.address for each in found] == ["a.example:5696"]


@pytest.mark.parametrize("dismissed", [True, False])
def test_what_waits_comes_first(*, dismissed: bool) -> None:
    """Then the dismissed, and each the oldest first."""
    dismissal = Dismissal(NOON, "admin", b"")
    old = Orphan("km", "a", "1", "keystead-1", NOON - timedelta(days=1), dismissal if dismissed else None)
    new = Orphan("km", "forgotten", "2", "keystead-2", NOON)
    found = waiting_first([PlacedOrphan(old, True, "a.example:5696", None), PlacedOrphan(new, False, "", None)])
    assert [each.of for each in found] == ([new, old] if dismissed else [old, new])
