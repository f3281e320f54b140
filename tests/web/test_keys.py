"""The pages of keys: what they say in words, to whom, and what their forms do to real key servers."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import pytest

from keystead.core.errors import OntapError
from keystead.core.keys.model import Copy, Key, KeyState, KeyType, Presence
from keystead.core.keys.survival import CopyMark
from keystead.core.keys.waiting import WaitingCopy, WaitsFor, Work
from keystead.core.model import ONTAP_LEVEL, Node
from keystead.service.keys.catalogue import CopyView, KeyView
from keystead.service.keys.listing import Copies, KeyFilter, ListedKey
from keystead.service.keys.reporting.waiting import WaitingView
from keystead.web import keys as words
from keystead.web.keys import copy_summary, deletion, key_filter, next_page, place, standing
from keystead.web.pages.keys import PAGES
from keystead.web.security import COOKIE, form_token
from keystead.web.tones import Tone
from tests.web.commands import check_commands
from tests.web.conftest import SVM, forms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group
    from tests.web.conftest import Browser, Site

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
MARKUP = "<b>bold</b>&"


async def made(site: Site, key_manager: str, name: str, **more: object) -> str:
    """Create a key by the API, and return the path of its page."""
    path = f"/api/security/key-managers/{key_manager}/volume-keys"
    answer = await site.admin.post(path, {"name": name, **more})
    assert answer.status == 201, answer.content
    return f"/keys/{key_manager}/{answer.headers['location'].rpartition('/')[2]}"


async def state_of(site: Site, page: str) -> str:
    """Return the state of the key that a page shows, by the API."""
    _, _, key_manager, key_id = page.split("/")
    answer = await site.admin.get(f"/api/security/key-managers/{key_manager}/volume-keys/{key_id}?fields=state")
    return str(answer.body["state"])


async def recovery_days(site: Site, days: int) -> None:
    """Set how long keys can be recovered."""
    answer = await site.admin.patch("/api/security/key-manager-configs", {"key_recovery_days": days})
    assert answer.status == 200, answer.content


async def test_without_a_key_manager(browser: Browser) -> None:
    """The page says so, and offers no form."""
    page = (await browser.log_in(url="/keys")).content.decode()
    assert "There is no key manager yet" in page
    assert "/keys/create" not in page
    page = (await browser.open("/keys/create")).content.decode()
    assert "no key can be created" in page


async def test_create_delete_recover(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """A key of a form has proven copies. Deleted, it can be recovered until a time that the page says."""
    manager = await site.key_manager(pki, [server.address for server in pykmip_group.primaries[:2]])
    await browser.log_in(url="/keys/create")
    await check_commands(browser)
    page = await browser.submit("/keys/create", {"key_manager": manager, "name": MARKUP, "key_tag": "prod"})
    text = page.content.decode()
    assert page.status == 200
    assert "<b>bold" not in text
    assert "&lt;b&gt;bold&lt;/b&gt;&amp;" in text
    assert "2 of 2 domains hold a proven copy." in text
    assert "in use" in text
    await check_commands(browser)
    (delete,) = [path for path in forms(page) if path.endswith("/delete")]
    key = delete.removesuffix("/delete")
    assert "it can be recovered" in text

    page = await browser.submit(delete)
    assert await state_of(site, key) == "retired"
    assert "can be recovered for 6 days" in page.content.decode()
    await check_commands(browser)
    assert delete not in forms(page)

    listed = (await browser.open("/keys")).content.decode()
    assert "can be recovered for 6 days" in listed
    assert "2 of 2 domains" in listed
    assert "did not confirm" not in text
    await browser.open(key)
    page = await browser.submit(f"{key}/recover")
    assert await state_of(site, key) == "committed"
    assert f"{key}/recover" not in forms(page)

    other = Node("another", "the other node", ONTAP_LEVEL)
    await site.open_.store.write(lambda tx: tx.put_node(other))
    page = await browser.submit(delete)
    assert page.status == 200
    assert "Node the other node did not confirm that key" in page.content.decode()


def test_deletion_asks_for_the_password() -> None:
    """Nobody destroys a key from a browser that was left open."""
    assert [page.path for page in PAGES if page.asks_password] == ["/keys/{uuid}/{key_id}/delete"]


async def test_a_key_that_cannot_be_recovered(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """Without a recovery window the page says that it is destroyed at once. Then it cannot be recovered."""
    manager = await site.key_manager(pki, [server.address for server in pykmip_group.primaries[:2]])
    await recovery_days(site, 7)
    key = await made(site, manager, "vol1")
    await recovery_days(site, 0)
    page = (await browser.log_in(url=key)).content.decode()
    assert "It is destroyed at once: key_recovery_days is 0" in page
    await browser.submit(f"{key}/delete")
    assert await state_of(site, key) != "committed"
    assert f"{key}/delete" not in forms(await browser.open(key))


async def test_an_authentication_key(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """It is created, deleted and recovered by the same forms; its key id is its name."""
    manager = await site.key_manager(pki, [server.address for server in pykmip_group.primaries[:2]])
    await browser.log_in(url="/keys/create")
    page = await browser.submit("/keys/create", {"key_manager": manager, "type": "nse_ak", "key_tag": "drives"})
    assert "authentication key, 32 bytes" in page.content.decode()
    await check_commands(browser)
    (delete,) = [path for path in forms(page) if path.endswith("/delete")]
    page = await browser.submit(delete)
    recover = delete.replace("/delete", "/recover")
    await check_commands(browser)
    page = await browser.submit(recover)
    assert delete in forms(page)


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"name": ""}, 400, "printable characters"),
        ({"name": " vol\x1b "}, 400, "printable characters"),
        ({"name": "taken"}, 409, "taken"),
        ({"name": "x", "key_tag": "two words"}, 400, "about key_tag"),
        ({"name": "x", "svm": "nobody"}, 400, "Code "),
        ({"name": "x", "type": "onboard"}, 400, "there is no such type"),
        ({"name": "x", "key_manager": ""}, 400, "key_manager"),
        ({"name": "x", "key_manager": "5f1a3ee8-0a2b-4f4e-9a3f-000000000000"}, 404, "Code 4"),
    ],
)
async def test_bad_input(
    site: Site,
    browser: Browser,
    pki: Pki,
    pykmip_group: Group,
    fields: Mapping[str, str],
    status: int,
    said: str,
) -> None:
    """The form comes again with the reason and what was typed; no key is made."""
    manager = await site.key_manager(pki, [server.address for server in pykmip_group.primaries[:2]])
    await made(site, manager, "taken")
    await browser.log_in(url="/keys/create")
    page = await browser.submit("/keys/create", {"key_manager": manager, "type": "vek", **fields})
    text = page.content.decode()
    assert page.status == status, text
    assert said in text
    assert "Nothing was changed" in text
    if fields["name"] == "x":
        assert 'value="x"' in text
    answer = await site.admin.get(f"/api/security/key-managers/{manager}/volume-keys")
    assert answer.body["num_records"] == 1


NUL = ("name=a%00", "svm=%00", "key_manager=%00a", 'after=[null,"a%5cu0000","b"]', 'after=["%5cud800","a","b"]')
"""Texts that no column of PostgreSQL can hold."""


@pytest.mark.parametrize(
    "query", ["state=gone", "after=x", "after=[1,2,3]", "after=[]", 'after=[0,"a","b"]', f"name={'x' * 256}", *NUL]
)
async def test_a_bad_query(browser: Browser, query: str) -> None:
    """It is refused in words."""
    await browser.log_in()
    page = await browser.open(f"/keys?{query}")
    assert page.status == 400
    assert b"This did not work" in page.content


async def test_pages_and_filters(
    site: Site, browser: Browser, pki: Pki, pykmip_group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys come by SVM and name, the cluster's last, page by page; names are patterns."""
    monkeypatch.setattr("keystead.web.pages.keys.PAGE_SIZE", 2)
    servers = [server.address for server in pykmip_group.primaries[:2]]
    manager = await site.key_manager(pki, servers)
    for name, more in (("b", {}), ("a1", {}), ("z", {"svm": {"name": SVM.name}}), ("a2", {})):
        await made(site, manager, name, **more)
    seen: list[str] = []
    page = (await browser.log_in(url="/keys")).content.decode()
    while True:
        seen += [name for name in ("a1", "a2", "b", "z") if f">{name}</a>" in page]
        if "Next 50 keys" not in page:
            break
        following = page.split('href="/keys?')[1].split('"')[0].replace("&amp;", "&")
        page = (await browser.open(f"/keys?{following}")).content.decode()
    assert seen == ["a1", "z", "a2", "b"]  # two names on each page, there by name

    for query, names in (("name=a*", {"a1", "a2"}), ("svm=v*1", {"z"}), ("name=b", {"b"}), ("state=retired", set())):
        page = (await browser.open(f"/keys?{query}")).content.decode()
        assert {name for name in ("a1", "a2", "b", "z") if f">{name}</a>" in page} == names
    page = (await browser.open(f"/keys?key_manager={manager}&name=b")).content.decode()
    assert ">b</a>" in page


async def test_who_sees_what(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """An SVM's account sees its own key in the cluster's key manager, but no key server; a reader of pages no form."""
    servers = [server.address for server in pykmip_group.primaries[:2]]
    manager = await site.key_manager(pki, servers)
    own = await made(site, manager, "own", svm={"name": SVM.name})
    other = await made(site, manager, "other")

    page = (await browser.log_in("auditor", url=own)).content.decode()
    assert servers[0] in page
    assert forms(await browser.open(own)).keys() == {"/theme", "/logout"}
    assert "The same by" not in page
    assert "/keys/create" not in (await browser.open("/keys")).content.decode()

    tenant = site.browser()
    page = (await tenant.log_in("vs1-admin", url="/keys")).content.decode()
    assert ">own</a>" in page
    assert "other" not in page
    assert "kept by the cluster" in page
    page = (await tenant.open(own)).content.decode()
    assert servers[0] not in page
    assert "not shown" in page
    assert (await tenant.open(other)).status == 404
    await tenant.open(own)
    await tenant.submit(f"{own}/delete")
    assert await state_of(site, own) == "retired"
    await tenant.open("/keys/create")
    page = (await tenant.submit("/keys/create", {"key_manager": manager, "name": "mine"})).content.decode()
    assert "<dd>vs1, in the cluster" in page


@pytest.mark.parametrize("account", ["auditor", "vs1-auditor", "reader"])
async def test_who_may_not_write(site: Site, pki: Pki, pykmip_group: Group, account: str) -> None:
    """A form that somebody forged from their own session is refused, and changes nothing."""
    manager = await site.key_manager(pki, [server.address for server in pykmip_group.primaries[:2]])
    key = await made(site, manager, "vol1", svm={"name": SVM.name})
    browser = site.browser()
    await browser.log_in(account)
    token = browser.cookies[COOKIE]
    for path in (f"{key}/delete", f"{key}/recover", "/keys/create"):
        body = f"form_token={form_token(token, path)}&key_manager={manager}&name=new&type=vek".encode()
        sent = {"content_type": "application/x-www-form-urlencoded", "origin": "https://keystead.test"}
        assert (await browser.send("POST", path, body, **sent)).status == 403
    assert await state_of(site, key) == "committed"


# --- words ---


def listed(state: KeyState = KeyState.COMMITTED, **more: object) -> ListedKey:
    """Return a key as the list has it."""
    key = Key("u", "k", "m", SVM, "vol1", "", KeyType.VEK, state, 64, NOON)
    values = {"vserver": "vs1", "copies": None, "recoverable": False, "recovery_ends": None} | more
    return ListedKey(key, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("of", "destroys", "word", "detail"),
    [
        (listed(), True, "in use", ""),
        (listed(KeyState.PENDING), True, "being created", ""),
        (
            listed(KeyState.RETIRED, recoverable=True, recovery_ends=NOON + 6 * DAY),
            True,
            "deleted",
            "can be recovered for 6 days",
        ),
        (
            listed(KeyState.RETIRED, recoverable=True, recovery_ends=NOON),
            True,
            "deleted",
            "can be recovered until the next round destroys it",
        ),
        (
            listed(KeyState.RETIRED, recoverable=True, recovery_ends=NOON + DAY),
            False,
            "deleted",
            "can be recovered while destruction is held",
        ),
        (
            listed(KeyState.RETIRED, recoverable=True),
            True,
            "deleted",
            "can be recovered: destroyed only if it is deleted again",
        ),
        (
            listed(KeyState.RETIRED),
            True,
            "deleted",
            "cannot be recovered, waits for key servers to be destroyed",
        ),
        (listed(KeyState.PURGING), True, "being destroyed", ""),
        (
            listed(KeyState.PURGING),
            False,
            "being destroyed",
            "waits until an administrator releases destruction",
        ),
        (listed(KeyState.PURGED), True, "destroyed", ""),
    ],
)
def test_states_in_words(of: ListedKey, destroys: bool, word: str, detail: str) -> None:
    """Each state has its words, and says what follows."""
    shown = standing(of, NOON, destroys=destroys)
    assert (shown.word, shown.detail) == (word, detail)


AWAY = "2 of 2 domains hold a proven copy. 1 key server with a copy cannot be read now."


@pytest.mark.parametrize(
    ("marks", "proven", "tone", "sentence"),
    [
        ((CopyMark.PROVEN, CopyMark.PROVEN), 2, Tone.OK, "2 of 2 domains hold a proven copy."),
        ((CopyMark.PROVEN, CopyMark.PROVEN_AWAY), 2, Tone.WARN, AWAY),
        ((CopyMark.PROVEN, CopyMark.MISSING), 1, Tone.WARN, "1 of 2 domains holds a proven copy."),
        ((CopyMark.UNKNOWN, CopyMark.DIFFERENT), 0, Tone.BAD, "0 of 2 domains hold a proven copy."),
    ],
)
def test_copies_in_words(marks: tuple[CopyMark, ...], proven: int, tone: Tone, sentence: str) -> None:
    """A key without a proven copy is bad; one that lacks some, or whose servers are away, is a warning."""
    found = listed(copies=Copies(tuple((f"ks{at}", mark) for at, mark in enumerate(marks)), proven, 2, NOON))
    shown = copy_summary(found)
    assert shown is not None
    assert (shown.tone, shown.sentence) == (tone, sentence)
    assert [mark for _, _, mark in shown.marks] == [words.MARKS[mark][1] for mark in marks]


def test_a_proven_copy_on_a_server_that_is_away() -> None:
    """It is neither green nor red."""
    of = [Copy("u", 1, "s1", Presence.PRESENT), Copy("u", 1, "s2", Presence.PRESENT), Copy("u", 1, "s3", Presence.SENT)]
    view = KeyView(listed().key, tuple(CopyView(each, f"k{each.key_server}", detached=False) for each in of))
    marks = (("ks1", CopyMark.PROVEN), ("ks2", CopyMark.PROVEN_AWAY), ("ks3", CopyMark.UNKNOWN))
    shown = words.copies(view, listed(copies=Copies(marks, 2, 3, NOON)))
    assert [mark for *_, mark in shown] == ["proven", "proven, away", "sent, no answer yet"]


def test_a_server_without_a_copy_whose_domain_has_one() -> None:
    """It is not called missing: the other server of its domain has the copy."""
    marks = (("ks1", CopyMark.PROVEN), ("ks2", CopyMark.MISSING), ("ks3", CopyMark.MISSING))
    of = [Copy("u", 1, "s1", Presence.PRESENT), *(Copy("u", 1, at, Presence.MISSING) for at in ("s2", "s3"))]
    view = KeyView(listed().key, tuple(CopyView(each, f"k{each.key_server}", detached=False) for each in of))
    key = listed(copies=Copies(marks, 1, 2, NOON, frozenset({"ks2"})))
    assert [mark for *_, mark in words.copies(view, key)] == ["proven", "in its domain", "missing"]
    shown = copy_summary(key)
    assert shown is not None
    assert [(tone, mark) for _, tone, mark in shown.marks][1:] == [(Tone.OK, "in its domain"), (Tone.BAD, "missing")]


def test_what_waits() -> None:
    """For the key alone, in words."""
    key, other = listed().key, replace(listed().key, key_id="other")
    copy = Copy("u", 1, "s1", Presence.SENT)
    found = [WaitingView(WaitingCopy(copy, each, Work.PURGE, WaitsFor.SERVER, NOON), "ks1") for each in (other, key)]
    ((work, waits, address, of),) = words.waiting_for(found, key.key_id)
    assert (work, waits, address) == ("Destroy the copy", "the key server must answer and show our keys", "ks1")
    assert of.key is key
    assert set(words.WORKS) == set(Work)
    assert set(words.WAITS) == set(WaitsFor)
    assert set(words.PRESENCES) == set(Presence)


def test_what_deletion_means() -> None:
    """It says until when, or that it is at once."""
    assert "Until 08 Mar 2026, 12:00 UTC it can be recovered." in deletion(7, NOON + 7 * DAY, destroys=True)
    assert "at once" in deletion(0, NOON, destroys=True)
    assert "releases destruction" in deletion(0, NOON, destroys=False)


def test_the_next_page_begins_after_the_last_key() -> None:
    """Its path keeps the filter, and leads to the same place."""
    wanted = KeyFilter(name="a*&b", state=KeyState.RETIRED)
    query = dict(pair.split("=") for pair in urlsplit(next_page(wanted, listed())).query.split("&"))
    assert query["name"] == quote("a*&b", safe="") or query["name"] == "a%2A%26b"
    assert query["state"] == "retired"
    assert place(json.dumps(["vs1", "vol1", "u"])) == ("vs1", "vol1", "u")
    assert place("") is None
    with pytest.raises(OntapError):
        place("[" * 5000)
    assert key_filter({"name": " x ", "state": ""}) == KeyFilter(name="x")
