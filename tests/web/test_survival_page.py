"""The page of survival over real key servers: the API's numbers, jobs that run, and reports that can be checked."""

from __future__ import annotations

import asyncio
import html
import re
from dataclasses import replace
from datetime import datetime
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import pytest
from click.testing import CliRunner

from keystead.cli.main import cli
from keystead.core.keys.model import Presence
from keystead.core.model import State
from keystead.web.pages.survival import ACTIONS
from keystead.web.security import COOKIE, form_token
from keystead.web.survival import query_of
from tests.peers.keystead import PASSWORD
from tests.web.commands import check_commands
from tests.web.conftest import ORIGIN, SVM, forms

if TYPE_CHECKING:
    from pathlib import Path

    from keystead.service.ports.store import Transaction
    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group
    from tests.peers.keystead import Installation
    from tests.web.conftest import Browser, Site

API = "/api/security/key-managers"
UP, DOWN = (State.AVAILABLE, ""), (State.NOT_RESPONDING, "connection_refused")
MARKUP = "<b>bold</b>&"
ABSENT = "5f1a3ee8-0a2b-4f4e-9a3f-000000000000"
JOB_S = 20.0

_TAGS = re.compile(r"<[^>]*>")
_BLANKS = re.compile(r"\s+")


class Kept(NamedTuple):
    """A key manager with keys, and its page."""

    uuid: str
    page: str


async def kept(site: Site, pki: Pki, group: Group, number: int = 3, **more: object) -> Kept:
    """Create a key manager with three keys: one on all its servers, one that the last lacks, one on the first only.

    With two servers, two keys are on the first only.
    """
    uuid = await site.key_manager(pki, [server.address for server in group.primaries[:number]], **more)
    for name, held in (("everywhere", number), ("nearly", number - 1), (MARKUP, 1)):
        answer = await site.admin.post(f"{API}/{uuid}/volume-keys", {"name": name})
        assert answer.status == 201, answer.content
        await lose(site, uuid, answer.headers["location"].rpartition("/")[2], held)
    await site.observe(uuid, *[UP] * number)
    return Kept(uuid, f"/key-managers/{uuid}/survival")


async def lose(site: Site, key_manager: str, key_id: str, after: int) -> None:
    """Have the copies of a key be known as missing on all servers after the first ``after``."""

    def work(tx: Transaction) -> None:
        key = tx.key_by_id(key_manager, key_id)
        assert key is not None
        lost = {server.uuid for server in tx.key_servers(key_manager)[after:]}
        missing = [
            replace(each, presence=Presence.MISSING) for each in tx.copies([key.uuid]) if each.key_server in lost
        ]
        tx.put_copies(missing, new=False)

    await site.open_.store.write(work)


async def survival(site: Site, key_manager: str) -> dict[str, Any]:
    """Return the survival report of the API."""
    answer = await site.admin.get(f"{API}/{key_manager}/key-survival?fields=**")
    assert answer.status == 200, answer.content
    found: dict[str, Any] = answer.body
    return found


def words(text: str) -> str:
    """Return the words of a page or a part of it."""
    return _BLANKS.sub(" ", html.unescape(_TAGS.sub(" ", text))).strip()


def part(page: str, id_: str) -> str:
    """Return a page's element with this id, up to the next section."""
    return re.split(r"</section>", page.split(f'id="{id_}"', 1)[1].split(">", 1)[1], maxsplit=1)[0]


def to_second(time: str | None) -> str | None:
    """Return a time of the API as a page shows it: without fractions of a second."""
    return time and datetime.fromisoformat(time).replace(microsecond=0).isoformat()


class Said(NamedTuple):
    """What the page says about a choice: keys readable, keys lost by name, and the oldest proof."""

    readable: int
    lost: set[str]
    oldest_proof: str | None


async def said(browser: Browser, url: str) -> Said:
    """Open the page, and read its answer."""
    answer = part((await browser.open(url)).content.decode(), "answer")
    readable = re.search(r"<b>(\d+)</b> of 3 keys readable", answer)
    assert readable is not None
    proof = re.search(r'rests on</dt><dd>(?:<time datetime="([^"]+)">|none)', answer)
    assert proof is not None
    return Said(int(readable[1]), set(map(html.unescape, re.findall(r"<code>(.*?)</code>", answer))), proof[1])


async def end_of_jobs(site: Site) -> list[dict[str, Any]]:
    """Wait until no job runs, and return all."""
    async with asyncio.timeout(JOB_S):
        while True:
            answer = await site.admin.get("/api/cluster/jobs?fields=*")
            jobs: list[dict[str, Any]] = answer.body["records"]
            if not any(job["state"] in {"queued", "running"} for job in jobs):
                return jobs
            await asyncio.sleep(0.05)


# --- what is true now, and what was chosen ---


async def test_the_same_numbers_as_the_api(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """For every set of domains that fails: keys, names, and the oldest proof that is left."""
    of = await kept(site, pki, pykmip_group)
    await browser.log_in()
    api = await survival(site, of.uuid)
    domains = [domain["uuid"] for domain in api["domains"]]
    sets = [each for number in range(1, 4) for each in combinations(domains, number)]
    assert [loss["domains"] for loss in api["losses"]] == [list(each) for each in sets]
    for loss in api["losses"]:
        shown = await said(browser, f"{of.page}?{query_of(loss['domains'])}")
        assert shown == (3 - loss["keys"], set(loss.get("key_names", ())), to_second(loss.get("oldest_proof")))
    assert {loss["keys"] for loss in api["losses"]} == {0, 1, 2, 3}


@pytest.mark.parametrize("down", [(0,), (2,), (0, 1), (0, 1, 2)])
async def test_it_begins_with_now(
    site: Site, browser: Browser, pki: Pki, pykmip_group: Group, down: tuple[int, ...]
) -> None:
    """Servers that are away start as failed, as in the API; every combination counts with them lost."""
    of = await kept(site, pki, pykmip_group)
    await site.observe(of.uuid, *(DOWN if at in down else UP for at in range(3)))
    await browser.log_in()
    api = await survival(site, of.uuid)
    now = api["now"]
    shown = await said(browser, of.page)
    unreadable = set(now.get("unreadable_key_names", ()))
    assert shown == (3 - now["unreadable"], unreadable, to_second(now.get("oldest_proof")))

    assert browser.page is not None
    page = browser.page.content.decode()
    domains = [domain["uuid"] for domain in api["domains"]]
    gone = {domains[at] for at in down}
    checked = set(re.findall(r'name="fail" value="([^"]+)" checked', page))
    assert checked == gone
    assert "As it is now" in part(page, "answer")
    keys = {frozenset(loss["domains"]): loss["keys"] for loss in api["losses"]}
    rows = re.findall(r'\?chosen=1&amp;([^"]+)">.*?<b>(\d+)', part(page, "further"))
    counted = {frozenset(re.findall(r"fail=([^&;]+)", query)): int(number) for query, number in rows}
    assert counted == {each: number for each, number in keys.items() if each > gone}


async def test_a_form_without_scripts(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """A GET form with a checkbox for each domain. Nothing chosen means that all answer, also one that is lost now."""
    of = await kept(site, pki, pykmip_group, 2)
    await site.observe(of.uuid, DOWN, UP)
    page = (await browser.log_in(url=of.page)).content.decode()
    assert f'<form class="domains" method="get" action="{of.page}"' in page
    first, second = (server.address for server in pykmip_group.primaries[:2])
    assert f"{first} fails lost now" in words(page)
    assert "New keys are refused: 2 copies are needed, 1 server answers." in words(page)
    assert await said(browser, of.page) == (
        1,
        {"nearly", MARKUP},
        to_second((await survival(site, of.uuid))["now"]["oldest_proof"]),
    )
    shown = await said(browser, f"{of.page}?chosen=1")
    assert (shown.readable, shown.lost) == (3, set())
    assert browser.page is not None
    text = words(browser.page.content.decode())
    assert "as if it were back" in text
    assert f"Left to read from {first}, {second}" in text
    assert "As it is now" in text  # the way back


async def test_keys_by_server(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """The rows are the API's patterns: number of keys, marks, names. Each name leads to its key."""
    of = await kept(site, pki, pykmip_group)
    await site.observe(of.uuid, UP, UP, DOWN)
    page = (await browser.log_in(url=of.page)).content.decode()
    table = part(page, "patterns").split("<tbody>")[1]
    rows = [words(row) for row in table.split("<tr>")[1:]]
    marks = {"proven": "proven", "proven_away": "proven, away", "missing": "missing"}
    patterns = (await survival(site, of.uuid))["patterns"]
    for row, pattern in zip(rows, patterns, strict=True):
        shown = " ".join(marks[copy["state"]] for copy in pattern["copies"])
        assert row.startswith(f"{pattern['keys']} {shown} ")
        assert row.endswith(" ".join(pattern["key_names"]))
    assert [row.split(" of 3")[0][-1] for row in rows] == ["1", "2", "2"]  # the third is away
    (link,) = re.findall(r'href="(/keys/[^"]+)"><code>everywhere', page)
    assert b"<h1>everywhere</h1>" in (await browser.open(link)).content


async def test_names_are_text(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """Markup in names, and in the address of the page, is shown and never obeyed."""
    of = await kept(site, pki, pykmip_group, 2)
    await browser.log_in()
    page = (await browser.open(f"{of.page}?fail={quote('<i>nobody</i>')}")).content.decode()
    assert "<b>bold" not in page
    assert "<i>nobody" not in page
    assert "has no replication domain <i>nobody</i>" in html.unescape(_TAGS.sub("", page))


async def test_who_gets_a_new_key(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """The sentence tells what the API would do: a key is created while it says enough, and refused while not."""
    of = await kept(site, pki, pykmip_group)
    text = words((await browser.log_in(url=of.page)).content.decode())
    assert "Enough servers answer for new keys: 2 copies are needed, 3 servers answer." in text
    path = f"{API}/{of.uuid}/volume-keys"
    assert (await site.admin.post(path, {"name": "one more"})).status == 201
    assert (await site.admin.patch(f"{API}/{of.uuid}", {"min_copies": 4})).status == 200
    text = words((await browser.open(of.page)).content.decode())
    assert "New keys are refused: 4 copies are needed, 3 servers answer." in text
    assert (await site.admin.post(path, {"name": "too many"})).status == 400


# --- prove and repair ---


async def test_jobs_and_reports(
    site: Site, browser: Browser, pki: Pki, pykmip_group: Group, installation: Installation, tmp_path: Path
) -> None:
    """A form starts a job, and the page shows how far it is. Its report can be checked without the service."""
    of = await kept(site, pki, pykmip_group, 2)
    page = await browser.log_in(url=of.page)
    assert "There is no report yet" in page.content.decode()
    await check_commands(browser)
    for name, title in (("prove", "Prove every copy"), ("reboot-drill", "Reboot drill")):
        page = await browser.submit(f"{of.page}/{name}")
        assert page.status == 200
        assert title in words(part(page.content.decode(), "jobs"))
        await end_of_jobs(site)
    page = await browser.open(of.page)
    jobs = words(part(page.content.decode(), "jobs"))
    assert re.match(r"done Reboot drill .*done Prove every copy", jobs), jobs
    reports = part(page.content.decode(), "saved")
    links = re.findall(r'href="([^"]+/reports/[^"]+)" download', reports)
    assert len(links) == 2
    assert "Reboot drill" in words(reports)

    printing = ["report", "public-key", "--data", str(installation.data)]
    key = await asyncio.to_thread(CliRunner().invoke, cli, printing)  # a loop of its own
    assert key.exit_code == 0, key.output
    (tmp_path / "cluster.pub").write_text(key.output)
    for at, link in enumerate(links):
        answer = await browser.send("GET", link)
        assert answer.headers["content-type"] == "application/json"
        assert re.fullmatch(r'attachment; filename="[\w-]+\.json"', answer.headers["content-disposition"])
        (tmp_path / f"{at}.json").write_bytes(answer.content)
        check = ["report", "verify", str(tmp_path / f"{at}.json"), "--public-key", str(tmp_path / "cluster.pub")]
        done = CliRunner().invoke(cli, check)
        assert (done.exit_code, "the signature is good" in done.output) == (0, True), done.output
    assert (await browser.send("GET", f"{of.page}/reports/{ABSENT}")).status == 404


async def test_replicate(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """Missing copies are written on real key servers; then any one may fail. The job is the same as one of the API."""
    of = await kept(site, pki, pykmip_group, 2)
    await browser.log_in(url=of.page)
    await browser.submit(f"{of.page}/replicate")
    (job,) = await end_of_jobs(site)
    assert (job["state"], job["description"]) == ("success", f"POST {API}/{of.uuid}/replicate")
    await site.observe(of.uuid, UP, UP)
    page = (await browser.open(of.page)).content.decode()
    assert "done Write missing copies 2 copies written" in words(part(page, "jobs"))
    assert "0 of 2 lose keys" in words(part(page, "further"))
    assert (await survival(site, of.uuid))["survives"] == 1


async def test_a_job_that_fails_says_why(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """Its text, its code, and which key server did not answer."""
    of = await kept(site, pki, pykmip_group, 2)
    pykmip_group.primaries[1].kill()
    await browser.log_in(url=of.page)
    await browser.submit(f"{of.page}/replicate")
    (job,) = await end_of_jobs(site)
    shown = words(part((await browser.open(of.page)).content.decode(), "jobs"))
    assert job["state"] == "failure"
    assert shown.startswith(f"failed Write missing copies {job['message']}")
    assert f"Code {job['code']}." in shown
    assert f"{pykmip_group.primaries[1].address} : connection refused" in shown


async def test_a_job_that_is_refused(
    site: Site, browser: Browser, pki: Pki, pykmip_group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page says why, and no job was begun."""
    of = await kept(site, pki, pykmip_group, 2)
    monkeypatch.setattr("keystead.service.cluster.jobs.PER_ACCOUNT", 0)
    await browser.log_in(url=of.page)
    for action in ACTIONS:
        page = await browser.submit(f"{of.page}/{action.name}")
        assert page.status == 429
        assert "Nothing was changed" in page.content.decode()
    assert await end_of_jobs(site) == []


# --- who sees what ---


async def test_an_account_that_only_reads(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """It sees all, without a button that starts a job."""
    of = await kept(site, pki, pykmip_group, 2)
    page = await browser.log_in("auditor", url=of.page)
    assert "of 3 keys readable" in words(page.content.decode())
    assert forms(page).keys() == {of.page, "/theme", "/logout"}
    assert "The same by" not in page.content.decode()


async def test_an_account_of_an_svm(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """It sees and repairs the key manager of its SVM; that of the cluster does not exist for it."""
    own = await kept(site, pki, pykmip_group, 2, svm={"uuid": SVM.uuid})
    other = await kept(site, pki, pykmip_group, 2)
    page = await browser.log_in("vs1-admin", url="/survival")
    assert "What would survive?" in page.content.decode()  # the only one: no list before it
    assert own.page in forms(page)
    assert other.uuid not in page.content.decode()
    await browser.submit(f"{own.page}/prove")
    (job,) = await end_of_jobs(site)
    assert (job["state"], job["svm"]["name"]) == ("success", SVM.name)
    assert (await browser.open(other.page)).status == 404
    answer = await site.admin.get(f"{API}/{own.uuid}/key-reports")
    report = answer.body["records"][0]["uuid"]
    assert (await browser.send("GET", f"{own.page}/reports/{report}")).status == 200
    assert (await browser.send("GET", f"{other.page}/reports/{report}")).status == 404


@pytest.mark.parametrize("account", ["auditor", "vs1-auditor", "reader"])
async def test_who_may_not_start_a_job(site: Site, pki: Pki, pykmip_group: Group, account: str) -> None:
    """A form that somebody forged from their own session is refused, and begins nothing."""
    of = await kept(site, pki, pykmip_group, 2, svm={"uuid": SVM.uuid})
    browser = site.browser()
    await browser.log_in(account)
    for action in ACTIONS:
        path = f"{of.page}/{action.name}"
        body = f"form_token={form_token(browser.cookies[COOKIE], path)}".encode()
        sent = {"content_type": "application/x-www-form-urlencoded", "origin": ORIGIN}
        assert (await browser.send("POST", path, body, **sent)).status == 403
    assert await end_of_jobs(site) == []


async def test_the_list(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """Without a key manager it says so. Of several, the one that survives least comes first."""
    page = (await browser.log_in(url="/survival")).content.decode()
    assert "No key manager is enabled." in page
    sound = await kept(site, pki, pykmip_group, 2)
    lost = await kept(site, pki, pykmip_group, 2, svm={"uuid": SVM.uuid})
    await site.observe(lost.uuid, DOWN, UP)
    page = (await browser.open("/survival")).content.decode()
    assert page.index(lost.page) < page.index(sound.page)
    assert f"{SVM.name} 3 2 keys cannot be read." in words(page)
    assert "If one more replication domain fails, 2 keys could not be read." in words(page)


async def test_nothing_new(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """A poll of an open page is answered in one line until something changes."""
    of = await kept(site, pki, pykmip_group, 2)
    page = await browser.log_in(url=of.page)
    tag = page.headers["etag"]
    assert (await browser.send("GET", of.page, if_none_match=tag)).status == 304
    await site.observe(of.uuid, DOWN, UP)
    assert (await browser.send("GET", of.page, if_none_match=tag)).status == 200


@pytest.mark.parametrize("path", [f"/key-managers/{ABSENT}/survival", "/key-managers/x/survival"])
async def test_a_key_manager_that_is_not(browser: Browser, path: str) -> None:
    """It is not found; so is its report."""
    await browser.log_in("admin", PASSWORD)
    assert (await browser.open(path)).status == 404
    assert (await browser.open(f"{path}/reports/{ABSENT}")).status == 404
