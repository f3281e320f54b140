"""The frame of every page: its counts, its ids, and whether it keeps itself true."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from keystead.web.pages import PAGES
from keystead.web.shell import PLACES
from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from tests.web.conftest import Browser, Site

PATHS = sorted(page.path for page in PAGES if page.method == "GET" and "{" not in page.path)


async def hold(site: Site) -> None:
    """Hold destruction, which is counted beside two places."""

    def work(tx: Transaction) -> None:
        last = tx.incarnations()[-1]
        began = datetime.now(UTC)
        held = replace(last, uuid="6" * 8 + last.uuid[8:], number=last.number + 1, began=began, destroys=False)
        tx.put_incarnation(held)

    await site.open_.store.write(work)


async def test_no_id_stands_twice(site: Site, browser: Browser) -> None:
    """Else a poll would put the count of one place beside another."""
    await hold(site)
    await browser.log_in()
    for path in PATHS:
        page = (await browser.open(path)).content.decode()
        found = Counter(re.findall(r'\bid="([^"]*)"', page))
        assert {name: number for name, number in found.items() if number > 1} == {}, path


LIST = "/api/security/key-managers"
ATTENTION = "/api/support/attention"


@pytest.mark.parametrize(
    ("rights", "links"),
    [
        ([LIST], ["/keys", "/survival"]),
        ([ATTENTION], ["/"]),
        ([LIST, ATTENTION], ["/", "/key-servers", "/keys", "/survival"]),
        (["/api/security/certificates"], []),
        (["/api/cluster/nodes"], []),
    ],
)
async def test_a_link_is_shown_only_to_who_may_open_its_page(
    site: Site, browser: Browser, rights: list[str], links: list[str]
) -> None:
    """A role that has one of the calls that a page needs, and not the others, sees no link to it."""
    privileges = [{"path": path, "access": "readonly"} for path in rights]
    made = await site.admin.post("/api/security/roles", {"name": "watcher", "privileges": privileges})
    assert made.status == 201, made.content
    http = {"application": "http", "authentication_methods": ["password"]}
    account = {"name": "watching", "role": {"name": "watcher"}, "applications": [http], "password": PASSWORD}
    assert (await site.admin.post("/api/security/accounts", account)).status == 201
    page = (await browser.log_in("watching", url="/sessions")).content.decode()
    found = [place.path for place in PLACES if f'<a href="{place.path}"' in page]
    assert found == [*links, "/sessions"]
    for path in found:
        assert (await browser.open(path)).status == 200, path


@pytest.mark.parametrize("account", ["admin", "auditor", "vs1-admin", "vs1-auditor", "reader"])
async def test_every_link_opens(browser: Browser, account: str) -> None:
    """For each role that is built in."""
    page = (await browser.log_in(account, url="/sessions")).content.decode()
    for path in (place.path for place in PLACES if f'<a href="{place.path}"' in page):
        assert (await browser.open(path)).status == 200, path


async def test_the_answer_to_a_form_does_not_ask_again(browser: Browser) -> None:
    """Its path takes forms only: each poll would be refused, and the page would call itself old."""
    assert b'id="fresh"' in (await browser.log_in(url="/create-account")).content
    refused = await browser.submit("/create-account", {"name": "ab"})
    assert refused.status == 400
    assert b'id="fresh"' not in refused.content
