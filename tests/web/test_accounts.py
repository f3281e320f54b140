"""The pages of accounts: who sees and may do what, and what their forms change."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from keystead.core import errors
from keystead.core.access import SVM_ROLES
from keystead.core.errors import OntapError
from keystead.core.model import Account, Cluster, Role
from keystead.service.accounts.roles import RoleView
from keystead.service.context import Call, Caller
from keystead.service.ports.page import Page as Slice
from keystead.web.accounts import new_account, role_names, shown_roles
from keystead.web.pages.accounts import PAGES
from keystead.web.security import COOKIE, form_token
from tests.peers.keystead import PASSWORD
from tests.web.commands import check_commands
from tests.web.conftest import ORIGIN, SVM, forms

if TYPE_CHECKING:
    from keystead.core.errors import ErrorKind
    from keystead.service.ports.store import Transaction
    from tests.web.conftest import Browser, Site

ADMIN_CALL = Call(Caller("admin", Role.ADMIN, ""), "GET", "/api/security/accounts")
OTHER = "another-secret-2"
MARKUP = "<b>night shift</b>&"
CREATE = {"name": "operator", "role": "readonly", "method": "password", "password": OTHER}


async def stored(site: Site, name: str) -> Account | None:
    """Return an account as it is stored."""
    return await site.open_.store.read(lambda tx: tx.account(name))


async def test_create_and_log_in(site: Site, browser: Browser) -> None:
    """The account can log in, and its page says what was typed, without its markup."""
    await browser.log_in(url="/create-account")
    await check_commands(browser)
    page = (await browser.submit("/create-account", {**CREATE, "comment": MARKUP})).content.decode()
    assert "&lt;b&gt;night shift&lt;/b&gt;&amp;" in page
    assert "<b>night" not in page
    assert OTHER not in page
    assert "/logout" in forms(await site.browser().log_in("operator", OTHER))


async def test_an_account_of_an_svm(site: Site, browser: Browser) -> None:
    """It belongs to the SVM, and logs in by certificate."""
    await browser.log_in(url="/create-account")
    await browser.submit("/create-account", {"name": "vs1-robot", "svm": "vs1", "method": "certificate"})
    made = await stored(site, "vs1-robot")
    assert made is not None
    assert (made.svm, made.role, made.certificate, made.password_hash) == (SVM, Role.VSADMIN, True, "")
    page = (await browser.open("/accounts/vs1-robot")).content.decode()
    assert "client certificate only" in page
    assert "/accounts/vs1-robot/password" not in page


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"name": "ab"}, errors.NAME_LENGTH),
        ({"name": "<i>"}, errors.NAME_CHARACTERS),
        ({"name": "diag"}, errors.NAME_RESERVED),
        ({"name": "Auditor"}, errors.DUPLICATE_ENTRY),
        ({"password": "short"}, errors.PASSWORD_TOO_SHORT),
        ({"password": ""}, errors.PASSWORD_MISSING),
        ({"method": ""}, errors.MISSING_VALUE),
        ({"method": "publickey"}, errors.INVALID_VALUE),
        ({"method": "certificate"}, errors.FIELDS_EXCLUDE_EACH_OTHER),
        ({"role": "vsadmin"}, errors.ROLE_OF_OTHER_SCOPE),
        ({"role": "nothing"}, errors.ROLE_NOT_FOUND),
        ({"svm": "vs9"}, errors.SVM_NOT_FOUND),
        ({"comment": "a\x1bb"}, errors.INVALID_VALUE),
        ({"comment": "a" * 129}, errors.INVALID_VALUE),
    ],
    ids=str,
)
async def test_a_refused_account(site: Site, browser: Browser, fields: dict[str, str], kind: ErrorKind) -> None:
    """The form comes again with the reason and with what was typed, but not the password; nothing is stored."""
    before = await site.open_.services.accounts.page(ADMIN_CALL, Slice())
    await browser.log_in(url="/create-account")
    page = await browser.submit("/create-account", CREATE | fields)
    assert page.status == kind.status
    text = page.content.decode()
    assert f"Code {kind.code}" in text
    assert OTHER not in text
    assert 'value="readonly" selected' in text or "role" in fields
    assert await site.open_.services.accounts.page(ADMIN_CALL, Slice()) == before


async def test_change_the_role(site: Site, browser: Browser) -> None:
    """Roles of the owner are offered; another is refused."""
    page = (await browser.log_in(url="/accounts/auditor")).content.decode()
    await check_commands(browser)
    assert '<option value="key-reader">' in page
    assert "vsadmin" not in page
    await browser.submit("/accounts/auditor/role", {"role": "key-reader"})
    changed = await stored(site, "auditor")
    assert changed is not None
    assert changed.role is Role.KEY_READER
    refused = await browser.submit("/accounts/auditor/role", {"role": "vsadmin"})
    assert refused.status == 400
    assert await stored(site, "auditor") == changed


async def test_change_a_password(site: Site, browser: Browser) -> None:
    """The new one logs in, the sessions that the old one began are over. It is in no page."""
    theirs = site.browser()
    await theirs.log_in("auditor")
    await browser.log_in(url="/accounts/auditor")
    page = await browser.submit("/accounts/auditor/password", {"password": OTHER, "password_again": "other"})
    assert page.status == 400
    assert "the two passwords differ" in page.content.decode()
    page = await browser.submit("/accounts/auditor/password", {"password": PASSWORD, "password_again": PASSWORD})
    assert page.status == errors.PASSWORD_REPEATED.status
    assert "/logout" in forms(await theirs.open("/"))
    page = await browser.submit("/accounts/auditor/password", {"password": OTHER, "password_again": OTHER})
    assert page.status == 200
    assert OTHER not in page.content.decode()
    assert "/logout" not in forms(await theirs.open("/"))
    assert "/logout" in forms(await site.browser().log_in("auditor", OTHER))
    audited = await site.admin.get("/api/security/audit/messages?fields=input&max_records=50")
    assert OTHER.encode() not in audited.content


async def test_lock_unlock_delete(site: Site, browser: Browser) -> None:
    """A locked account cannot log in until it is unlocked; a deleted one is gone."""
    await browser.log_in(url="/accounts/auditor")
    page = await browser.submit("/accounts/auditor/lock")
    assert "it cannot log in" in page.content.decode()
    await check_commands(browser)
    assert (await site.browser().log_in("auditor")).status == 401
    await browser.open("/accounts/auditor")
    await browser.submit("/accounts/auditor/unlock")
    assert "/logout" in forms(await site.browser().log_in("auditor"))
    await browser.open("/accounts/auditor")
    page = await browser.submit("/accounts/auditor/delete")
    assert "/accounts/auditor" not in page.content.decode()
    assert await stored(site, "auditor") is None
    assert (await browser.open("/accounts/auditor")).status == 404


@pytest.mark.parametrize("form", ["lock", "delete", "role"])
async def test_the_last_administrator_stays(site: Site, browser: Browser, form: str) -> None:
    """The page says why, in the words of the use case; the account is as it was."""
    await browser.log_in(url="/accounts/admin")
    before = await stored(site, "admin")
    page = await browser.submit(f"/accounts/admin/{form}", {"role": "readonly"} if form == "role" else None)
    assert page.status == errors.LAST_ADMIN.status
    assert errors.LAST_ADMIN.text in page.content.decode()
    assert await stored(site, "admin") == before


def test_what_asks_for_the_password() -> None:
    """Nobody locks others out, or lets somebody in, from a browser that was left open."""
    assert [page.path for page in PAGES if page.asks_password] == [
        f"/accounts/{{name}}/{each}" for each in ("role", "password", "lock", "delete")
    ]


async def test_an_account_is_not_created_from_a_browser_that_was_left_open(site: Site, browser: Browser) -> None:
    """The form asks for the own password. No page repeats the new one, so it is typed again after a wrong one."""
    await browser.log_in()
    await site.forget_password()
    await browser.open("/create-account")
    assert browser.page is not None
    assert "own_password" in forms(browser.page)["/create-account"]
    page = await browser.submit("/create-account", CREATE | {"own_password": "wrong"})
    assert (page.status, OTHER in page.content.decode()) == (401, False)
    assert await stored(site, "operator") is None
    page = await browser.submit("/create-account", {"own_password": PASSWORD})
    assert (page.status, errors.PASSWORD_MISSING.text in page.content.decode()) == (400, True)
    assert "own_password" not in forms(page)["/create-account"]
    assert await stored(site, "operator") is None
    await browser.submit("/create-account", {"password": OTHER, "method": "password"})
    made = await stored(site, "operator")
    assert made is not None
    assert made.role is Role.READONLY
    await site.forget_password()
    await browser.open("/create-account")
    await browser.submit("/create-account", CREATE | {"name": "operator2", "own_password": PASSWORD})
    assert await stored(site, "operator2") is not None


async def test_a_new_password_is_not_taken_for_the_own(site: Site, browser: Browser) -> None:
    """Although it may be the same. The page that asks has no field with it, and a role is not changed either."""
    await browser.log_in()
    await site.forget_password()
    before = await stored(site, "auditor")
    await browser.open("/accounts/auditor")
    page = await browser.submit("/accounts/auditor/password", {"password": PASSWORD, "password_again": PASSWORD})
    assert "Show your password again" in page.content.decode()
    assert [*forms(page)["/accounts/auditor/password"]] == ["form_token", "own_password"]
    await browser.open("/accounts/auditor")
    page = await browser.submit("/accounts/auditor/role", {"role": "key-reader"})
    assert "Show your password again" in page.content.decode()
    assert await stored(site, "auditor") == before
    await browser.submit("/accounts/auditor/role", {"own_password": PASSWORD})
    changed = await stored(site, "auditor")
    assert changed is not None
    assert changed.role is Role.KEY_READER
    await site.forget_password()
    await browser.open("/accounts/auditor")
    typed = {"password": OTHER, "password_again": OTHER, "own_password": PASSWORD}
    assert (await browser.submit("/accounts/auditor/password", typed)).status == 200
    assert "/logout" in forms(await site.browser().log_in("auditor", OTHER))


async def test_a_reader_sees_all_and_changes_its_own_password(site: Site) -> None:
    """No button but for its own password; a form that is sent all the same is refused."""
    browser = site.browser()
    page = (await browser.log_in("auditor", url="/accounts")).content.decode()
    assert "/accounts/admin" in page
    assert "/create-account" not in page
    assert (await browser.open("/create-account")).status == 403
    assert [each for each in forms(await browser.open("/accounts/admin")) if each.startswith("/accounts")] == []
    own = await browser.open("/accounts/auditor")
    assert [each for each in forms(own) if each.startswith("/accounts")] == ["/accounts/auditor/password"]
    await browser.submit("/accounts/auditor/password", {"password": OTHER, "password_again": OTHER})
    assert "/logout" in forms(await site.browser().log_in("auditor", OTHER))


@pytest.mark.parametrize("form", ["role", "password", "lock", "unlock", "delete"])
async def test_a_reader_changes_nobody(site: Site, form: str) -> None:
    """Whatever it sends."""
    browser = site.browser()
    await browser.log_in("auditor", url="/accounts/auditor")
    token = form_token(browser.cookies[COOKIE], f"/accounts/reader/{form}")
    before = await stored(site, "reader")
    body = urlencode({"form_token": token, "role": "admin", "password": OTHER, "password_again": OTHER}).encode()
    headers = {"content_type": "application/x-www-form-urlencoded", "origin": ORIGIN}
    answer = await browser.send("POST", f"/accounts/reader/{form}", body, **headers)
    assert answer.status == 403
    assert await stored(site, "reader") == before


async def test_an_account_of_an_svm_sees_itself(site: Site) -> None:
    """Others look absent, with their roles."""
    browser = site.browser()
    page = (await browser.log_in("vs1-admin", url="/accounts")).content.decode()
    assert "/accounts/vs1-admin" in page
    for name in ("admin", "auditor", "vs1-auditor"):
        assert f'"/accounts/{name}"' not in page
        assert (await browser.open(f"/accounts/{name}")).status == 404
    assert "of the cluster" not in page
    assert "vsadmin of every SVM" in page


async def test_roles_for_reading(browser: Browser) -> None:
    """With what each grants."""
    page = (await browser.log_in(url="/accounts")).content.decode()
    assert "readonly of the cluster" in page
    assert "/api/security/key-managers/*/volume-keys/*/retrieve" in page


async def test_more_accounts_than_a_page_shows(site: Site, browser: Browser) -> None:
    """They follow on further pages, each once."""

    def add(tx: Transaction) -> None:
        for number in range(250):
            tx.put_account(Account(f"bulk{number:03}", Role.READONLY, "x"))

    await site.open_.store.write(add)
    first = (await browser.log_in(url="/accounts")).content.decode()
    assert "More accounts" in first
    (after,) = re.findall(r"/accounts\?after=([^\"]+)", first)
    second = (await browser.open(f"/accounts?after={after}")).content.decode()
    names = [name for text in (first, second) for name in re.findall(r'href="/accounts/([^"]+)"', text)]
    assert len(names) == len(set(names)) == 255


@pytest.mark.parametrize(("path", "status"), [("/accounts?after=%00", 400), ("/accounts/%00", 404)])
async def test_a_name_that_no_account_has(browser: Browser, path: str, status: int) -> None:
    """With a NUL, which PostgreSQL cannot even look for."""
    await browser.log_in()
    assert (await browser.open(path)).status == status


@pytest.mark.parametrize(
    ("fields", "shown", "names"),
    [
        (
            {"method": "certificate"},
            {"applications": [{"application": "http", "authentication_methods": ["certificate"]}]},
            ["CLI", "curl", "Ansible"],
        ),
        (
            {"method": "password\ncertificate", "svm": "vs9", "role": "vsadmin", "comment": "night shift"},
            {
                "applications": [{"application": "http", "authentication_methods": ["password", "certificate"]}],
                "role": {"name": "vsadmin"},
                "owner": {"name": "vs9"},
                "password": "PASSWORD",
                "comment": "night shift",
            },
            ["curl", "Ansible"],
        ),
    ],
)
async def test_the_same_by_other_means(
    browser: Browser, fields: dict[str, str], shown: dict[str, object], names: list[str]
) -> None:
    """They ask for what was typed: no method, password or role that was not. The CLI knows one method at a time."""
    await browser.log_in(url="/create-account")
    page = await browser.submit("/create-account", {"name": "ab", "role": "", "password": OTHER, **fields})
    text = html.unescape(page.content.decode())
    assert re.findall(r"<h3>(\w+)</h3><pre", text) == names
    assert json.loads(re.findall(r"body: (.*?)</code>", text)[0]) == {"name": "ab", **shown}
    if "CLI" in names:
        await check_commands(browser)
        assert "--authentication-method cert" in text


def test_role_names_are_those_of_the_owner() -> None:
    """And a built-in role of SVMs stands once, however many SVMs there are."""
    cluster = Cluster("c1", "cluster")
    second = replace(SVM, uuid="2", name="vs2")
    views = [RoleView(cluster, Role.ADMIN), *(RoleView(svm, role) for svm in (SVM, second) for role in SVM_ROLES)]
    assert role_names(views, None) == ["admin"]
    assert role_names(views, SVM) == ["vsadmin", "vsadmin-readonly", "key-reader", "kmip-client"]
    assert [(name, owner) for name, owner, _ in shown_roles(views)] == [
        ("admin", "the cluster"),
        ("vsadmin", "every SVM"),
        ("vsadmin-readonly", "every SVM"),
        ("key-reader", "every SVM"),
        ("kmip-client", "every SVM"),
    ]


def test_an_unknown_method_is_no_certificate() -> None:
    """A method that no page offers makes no account that needs no password."""
    with pytest.raises(OntapError, match="no such method"):
        new_account({"name": "operator", "method": "none"})
