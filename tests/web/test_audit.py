"""The page of the audit log: who did what, what an SVM sees of it, and the verification of the chains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text as sql

from keystead.core.audit_retention import AuditCut, Rule, Way
from keystead.core.model import AuditRecord
from keystead.service.audit import chains
from keystead.service.audit.chains import Chains, ChainState
from keystead.service.audit.messages import AuditMessage
from keystead.service.audit.verifying import ChainReport
from keystead.web.events import audit_row, chain_rows
from keystead.web.security import COOKIE, form_token
from keystead.web.tones import Tone
from tests.web.conftest import NOON, ORIGIN, SVM, forms

if TYPE_CHECKING:
    from tests.peers.asgi import Response
    from tests.web.conftest import Browser, Site

MARKUP = "<b>bold</b>&"
VERIFY = "/audit/verify"


async def said(site: Site) -> list[str]:
    """Return the messages of the audit log."""
    (node,) = await site.open_.store.read(lambda tx: tx.nodes())
    return [each.message for each in await site.open_.store.read(lambda tx: tx.audit_records(node.uuid, 0, 1000))]


async def sent_by_hand(browser: Browser) -> Response:
    """Send the form that the page does not show."""
    body = f"form_token={form_token(browser.cookies[COOKIE], VERIFY)}".encode()
    return await browser.send("POST", VERIFY, body, content_type="application/x-www-form-urlencoded", origin=ORIGIN)


async def test_who_did_what(site: Site, browser: Browser) -> None:
    """The newest first, with the outcome and the call. Markup is text, and secrets are masked."""
    assert (await site.admin.post("/api/svm/svms", {"name": "vs9"})).status == 201
    body = {"name": MARKUP, "password": "hunter2hunter2", "role": "readonly"}
    assert (await site.admin.post("/api/security/accounts", body)).status == 400
    page = (await browser.log_in(url="/audit")).content.decode()
    assert page.index("/api/security/accounts") < page.index("/api/svm/svms")
    assert "<b>bold" not in page
    assert "hunter2" not in page
    assert "refused" in page
    page = (await browser.open("/audit?state=error")).content.decode()
    assert "/api/svm/svms" not in page
    for query in ("text=/api/svm", "account=admin&text=svms", "until=2100-01-01T00:00"):
        assert "/api/svm/svms" in (await browser.open(f"/audit?{query}")).content.decode()
    for query in ("svm=vs7", "account=nobody", "from=2100-01-01T00:00", "text=nothing"):
        assert "No record is like this." in (await browser.open(f"/audit?{query}")).content.decode()


@pytest.mark.parametrize("query", ["state=odd", "account=%00", "from=now", f"after={'x' * 300}"])
async def test_bad_parameters(browser: Browser, query: str) -> None:
    """Are refused with a sentence."""
    await browser.log_in()
    page = await browser.open(f"/audit?{query}")
    assert (page.status, b"Invalid value for field" in page.content) == (400, True)


async def test_pages_of_the_list(site: Site, browser: Browser) -> None:
    """The next page begins where this one ends, and keeps the filter."""
    for number in range(53):
        assert (await site.admin.post("/api/svm/svms", {"name": f"vs{number:02}"})).status == 201
    first = (await browser.log_in(url="/audit?account=admin&text=/api/svm")).content.decode()
    (link,) = [part.partition('"')[0] for part in first.split('href="') if part.startswith("/audit?")]
    second = (await browser.open(link.replace("&amp;", "&"))).content.decode()
    assert ("vs52" in first, "vs02" in first, "vs02" in second, "vs03" in second) == (True, False, True, False)


async def test_what_an_account_of_an_svm_sees(site: Site, browser: Browser) -> None:
    """The records of its SVM without their places in the chain, and nothing of the chains."""
    assert (await site.admin.post("/api/svm/svms", {"name": "vs9"})).status == 201
    await browser.log_in("vs1-admin", url="/audit")
    assert (await browser.open("/certificates/none")).status == 404
    assert (await sent_by_hand(browser)).status == 403
    page = (await browser.open("/audit")).content.decode()
    assert VERIFY in page  # the refusal of its own call
    assert "vs9" not in page
    assert "as they were written" not in page
    assert "<small>record " not in page
    assert VERIFY not in forms(browser.page)  # type: ignore[arg-type]


async def test_who_may_not_see_it(browser: Browser) -> None:
    """A key reader."""
    assert (await browser.log_in("reader", url="/audit")).status == 403


async def test_who_may_only_read(site: Site, browser: Browser) -> None:
    """Sees the chains' state, and cannot start a verification."""
    page = await browser.log_in("auditor", url="/audit")
    assert b"has not verified them since it started" in page.content
    assert VERIFY not in forms(page)
    assert (await sent_by_hand(browser)).status == 403
    assert not [each for each in await said(site) if each.startswith("verified")]


async def test_sound_chains_are_verified(site: Site, browser: Browser) -> None:
    """The page says up to which record. The verification is recorded after that."""
    page = await browser.log_in(url="/audit")
    assert b"not verified" in page.content
    verified = len(await said(site))
    text = (await browser.submit(VERIFY)).content.decode()
    assert f"Verified up to record {verified}, with MAC" in text
    assert "1 record came later." in text
    assert "intact" in text
    assert (await said(site))[-1] == "verified the audit chains: all are intact"


async def test_a_record_that_was_altered(site: Site, browser: Browser) -> None:
    """The page says which one, and it stays so for others."""
    assert (await site.admin.post("/api/svm/svms", {"name": "vs9"})).status == 201
    place = len(await said(site))
    with site.open_.store.database.writer.begin() as connection:
        connection.execute(
            sql('UPDATE audit_records SET account = :name WHERE "index" = :at'), {"name": "x", "at": place}
        )
    await browser.log_in(url="/audit")
    text = (await browser.submit(VERIFY)).content.decode()
    assert "broken" in text
    assert f"Record {place} was altered" in text
    assert (await said(site))[-1].startswith("verified the audit chains: broken: ")
    other = site.browser()
    assert f"Record {place} was altered" in (await other.log_in("auditor", url="/audit")).content.decode()


async def test_long_chains(site: Site, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no button. A form that was opened before is refused in words, and nothing is verified."""
    await browser.log_in(url="/audit")
    old = browser.page
    monkeypatch.setattr(chains, "VERIFIED_AT_ONCE", 0)
    assert VERIFY not in forms(await browser.open("/audit"))
    browser.page = old
    refused = await browser.submit(VERIFY)
    assert (refused.status, b"on the host" in refused.content) == (400, True)
    assert not [each for each in await said(site) if each.startswith("verified")]


@pytest.mark.parametrize(
    ("records", "report", "tone", "sentence"),
    [
        (1, None, Tone.UNKNOWN, "It has 1 record."),
        (
            1200,
            ChainReport("u", 1200, mac=b"\1" * 16),
            Tone.OK,
            "Verified up to record 1,200, with MAC 0101010101010101….",
        ),
        (9, ChainReport("u", 4, 5, "is missing"), Tone.BAD, "Record 5 is missing. 4 records before it are as written."),
        (0, ChainReport("u", 4, mac=b"\1"), Tone.OK, "Verified up to record 4, with MAC 01…."),
    ],
)
def test_chains_in_words(records: int, report: ChainReport | None, tone: Tone, sentence: str) -> None:
    """A chain that nobody verified is neither good nor bad."""
    (row,) = chain_rows(Chains((ChainState("u", "n1", records, report),), None))
    assert (row.node, row.tone, row.sentence) == ("n1", tone, sentence)


def test_removed_records_in_words() -> None:
    """They do not count as records that are there, and the row says what has them."""
    cut = AuditCut("u", 1000, b"mac", Rule.AGE, Way.EXPORT, NOON)
    removed = f"Records 1 to 1000 were removed on {NOON:%Y-%m-%d %H:%M} UTC after export."
    for report, said in (
        (None, "It has 20 records."),
        (ChainReport("u", 1020, mac=b"\1", cut=cut), "Verified up to record 1,020, with MAC 01…."),
        (ChainReport("u", 1004, 1005, "is missing"), "Record 1005 is missing. 4 records before it are as written."),
    ):
        found = Chains((ChainState("u", "n1", 1020, report, cut),), None)
        assert (found.records, [row.sentence for row in chain_rows(found)]) == (20, [f"{said} {removed}"])


def test_the_worst_chain_comes_first() -> None:
    """And a node that is gone is said to be so."""
    broken = ChainReport("b", 0, 1, "is missing")
    found = Chains((ChainState("a", "n1", 3, None), ChainState("b", None, 4, broken)), NOON)
    assert [row.node for row in chain_rows(found)] == ["b (gone)", "n1"]
    assert (found.records, found.is_short) == (7, True)


def test_records_of_the_service_itself() -> None:
    """They have no account and no call."""
    record = AuditRecord("n", 1, NOON, "", "", "", "", "", "", "success", "", "initialised")
    row = audit_row(AuditMessage(record, "n1", 1))
    assert (row.who, row.said, row.call, row.word) == ("the service itself", "initialised", "", "done")
    assert audit_row(AuditMessage(record, None, None)).tone is Tone.OK
    assert SVM.name not in row.said
