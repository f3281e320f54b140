"""The frame of every page: its counts, its ids, and whether it keeps itself true."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from keystead.web.pages import PAGES

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


async def test_the_answer_to_a_form_does_not_ask_again(browser: Browser) -> None:
    """Its path takes forms only: each poll would be refused, and the page would call itself old."""
    assert b'id="fresh"' in (await browser.log_in(url="/create-account")).content
    refused = await browser.submit("/create-account", {"name": "ab"})
    assert refused.status == 400
    assert b'id="fresh"' not in refused.content
