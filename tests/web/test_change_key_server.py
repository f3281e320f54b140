"""Changing, removing and replacing a key server: what is tried, what is stored, and what stands against it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from keystead.web.pages import remove_key_server
from tests.web.commands import body_by_curl, check_commands, words_by_cli
from tests.web.conftest import SVM

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from keystead.testing.key_servers import KeyServers
    from tests.web.conftest import Browser, Site

SECRET = "kmip-Pass-w0rd"


def path_of(key_manager: str, address: str, end: str) -> str:
    """Return the path of a page about a key server."""
    return f"/key-managers/{key_manager}/key-servers/{address}/{end}"


async def stored(site: Site, key_manager: str, address: str) -> dict[str, object]:
    """Return a key server as the API shows it."""
    answer = await site.admin.get(f"/api/security/key-managers/{key_manager}/key-servers/{address}?fields=*")
    assert answer.status == 200, answer.content
    return dict(answer.body)


async def addresses_of(site: Site, key_manager: str) -> list[str]:
    """Return the addresses of a key manager's servers."""
    answer = await site.admin.get(f"/api/security/key-managers/{key_manager}/key-servers")
    return [record["server"] for record in answer.body["records"]]


async def make_key(site: Site, key_manager: str, name: str) -> None:
    """Create a key by the API."""
    answer = await site.admin.post(f"/api/security/key-managers/{key_manager}/volume-keys", {"name": name})
    assert answer.status == 201, answer.content


# --- change ---


async def test_a_change_is_stored(site: Site, browser: Browser, machines: KeyServers) -> None:
    """Only what differs is changed."""
    manager = await site.key_manager_of(machines, 0)
    address = machines[0].address
    path = path_of(manager, address, "change")
    await browser.log_in(url=path)
    fields = {"timeout": "7", "create_remove_timeout": "3", "replication_domain": "east", "do": "store"}
    page = await browser.submit(path, fields)
    assert page.status == 200
    assert "7 s; to create and remove keys 3 s" in page.content.decode()
    found = await stored(site, manager, address)
    assert (found["timeout"], found["create_remove_timeout"], found["replication_domain"]) == (7, 3, "east")
    await browser.open(path)
    await browser.submit(path, {"replication_domain": "", "do": "store"})
    assert "replication_domain" not in await stored(site, manager, address)


async def test_a_change_is_tried(site: Site, browser: Browser, machines: KeyServers) -> None:
    """It is probed and not stored; what was typed stays in the fields."""
    manager = await site.key_manager_of(machines, 0)
    address = machines[0].address
    path = path_of(manager, address, "change")
    await browser.log_in(url=path)
    page = await browser.submit(path, {"tls_server_name": "other.example.com", "do": "try"})
    text = page.content.decode()
    assert "The change would be refused." in text
    assert "does not name the host or address" in text
    assert 'value="other.example.com"' in text
    assert "tls_server_name" not in await stored(site, manager, address)
    await check_commands(browser)
    text = (await browser.submit(path, {"tls_server_name": "localhost", "do": "try"})).content.decode()
    assert "Nothing is stored yet." in text


@pytest.mark.parametrize(
    ("fields", "body", "words"),
    [
        ({}, {"timeout": 25}, ["--timeout", "25"]),
        ({"timeout": "-1"}, {"timeout": -1}, ["--timeout", "-1"]),
        ({"timeout": "soon"}, {"timeout": 25}, ["--timeout", "25"]),
        (
            {"secondary_key_servers": "ks8\r\nks9\r\n"},
            {"secondary_key_servers": ["ks8", "ks9"]},
            ["--secondary-key-servers", "ks8,ks9"],
        ),
        ({"secondary_key_servers": ""}, {"secondary_key_servers": []}, ["--secondary-key-servers", "-"]),
        ({"tls_server_name": ""}, {"tls_server_name": ""}, ["--tls-server-name", ""]),
        ({"username": ""}, {"username": ""}, ["--username", ""]),
        ({"username": "other"}, {"username": "other", "password": "PASSWORD"}, ["--username", "other"]),
        ({"password": SECRET}, {"password": "PASSWORD"}, ["--username", "someone"]),
        ({"replication_domain": "east"}, {"replication_domain": "east"}, None),
    ],
)
async def test_the_same_change_by_other_means(
    site: Site,
    browser: Browser,
    machines: KeyServers,
    fields: dict[str, str],
    body: dict[str, object],
    words: list[str] | None,
) -> None:
    """They change what the form changes, also what is cleared. The CLI is left out where it has no option."""
    manager = await site.key_manager_of(machines, 0)

    def store(tx: Transaction) -> None:
        (server,) = tx.key_servers(manager)
        tx.change_key_server(
            replace(server, secondary_key_servers=("second",), tls_server_name="localhost", username="someone")
        )

    await site.open_.store.write(store)
    path = path_of(manager, machines[0].address, "change")
    await browser.log_in(url=path)
    await browser.submit(path, {"secondary_key_servers": "second"} | fields | {"do": "try"})
    assert body_by_curl(browser) == body
    if words is None:
        assert browser.page is not None
        assert b"<h3>CLI</h3>" not in browser.page.content
    else:
        await check_commands(browser)
        shown = words_by_cli(browser)
        at = shown.index(words[0])
        assert shown[at : at + 2] == words


async def test_a_refused_change(site: Site, browser: Browser, machines: KeyServers) -> None:
    """It says which address refuses, and why; nothing is stored."""
    manager = await site.key_manager_of(machines, 0)
    path = path_of(manager, machines[0].address, "change")
    await browser.log_in(url=path)
    machines[1].kill()
    port = machines[1].address.partition(":")[2]
    page = await browser.submit(path, {"port": port, "do": "store"})
    text = page.content.decode()
    assert page.status == 400
    assert machines[1].address in text
    assert "connection refused" in text
    assert "Nothing was changed." in text
    assert await addresses_of(site, manager) == [machines[0].address]


async def test_a_new_password(site: Site, browser: Browser, machines: KeyServers) -> None:
    """It is stored with its user, and shown nowhere."""
    manager = await site.key_manager_of(machines, 0)
    path = path_of(manager, machines[0].address, "change")
    await browser.log_in(url=path)
    page = await browser.submit(path, {"username": "someone", "password": SECRET, "do": "try"})
    assert SECRET not in page.content.decode()
    page = await browser.submit(path, {"username": "someone", "password": SECRET, "do": "store"})
    assert SECRET not in page.content.decode()
    assert (await stored(site, manager, machines[0].address))["username"] == "someone"
    answer = await site.admin.get("/api/security/audit/messages?fields=*")
    assert SECRET.encode() not in answer.content


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "Code 65536880"),
        ({"port": "0"}, "it is not from 1 to 65535"),
        ({"port": "٣"}, "it is no whole number"),
        ({"timeout": "-2"}, "it is not from -1 to 60"),
        ({"timeout": ""}, "it is no whole number"),
        ({"secondary_key_servers": "a b c d"}, "Code "),
        ({"secondary_key_servers": "a:1"}, "Code "),
        ({"secondary_key_servers": "<b>x</b>"}, "Code "),
        ({"username": "someone"}, "Code "),
        ({"replication_domain": "x" * 256}, "255 characters"),
    ],
)
async def test_a_change_that_cannot_be(
    site: Site, browser: Browser, machines: KeyServers, fields: dict[str, str], said: str
) -> None:
    """It is refused in words, and nothing is stored."""
    manager = await site.key_manager_of(machines, 0)
    address = machines[0].address
    before = await stored(site, manager, address)
    path = path_of(manager, address, "change")
    for do in ("try", "store"):
        await browser.log_in(url=path) if do == "try" else await browser.open(path)
        page = await browser.submit(path, fields | {"do": do})
        text = page.content.decode()
        assert page.status == 400, text
        assert said in text
        assert "<b>x" not in text
    assert await stored(site, manager, address) == before


# --- remove and replace ---


async def test_a_removal(site: Site, browser: Browser, machines: KeyServers) -> None:
    """It needs a confirmation; then the server is gone."""
    manager = await site.key_manager_of(machines, 0, 1)
    path = path_of(manager, machines[0].address, "remove")
    text = (await browser.log_in(url=path)).content.decode()
    assert "Nothing that is known stands against it." in text
    await check_commands(browser)
    refused = await browser.submit(path, {"confirmed": ""})
    assert refused.status == 400
    assert len(await addresses_of(site, manager)) == 2
    page = await browser.submit(path, {"confirmed": "yes"})
    assert page.status == 200
    assert await addresses_of(site, manager) == [machines[1].address]


async def test_a_removal_as_a_job(
    site: Site, browser: Browser, machines: KeyServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removal that takes long goes on as a job, whose page comes."""
    monkeypatch.setattr(remove_key_server, "AT_ONCE_S", 0.0)
    manager = await site.key_manager_of(machines, 0, 1)
    await make_key(site, manager, "vol1")
    path = path_of(manager, machines[0].address, "remove")
    await browser.log_in(url=path)
    page = await browser.submit(path, {"confirmed": "yes"})
    assert page.status == 200
    assert "Remove a key server" in page.content.decode()
    (job,) = (await site.admin.get("/api/cluster/jobs?fields=uuid")).body["records"]
    async with asyncio.timeout(20):
        while True:
            found = await site.admin.get(f"/api/cluster/jobs/{job['uuid']}?fields=state")
            if found.body["state"] == "success":
                break
            await asyncio.sleep(0.05)
    assert await addresses_of(site, manager) == [machines[1].address]


async def test_what_stands_against_a_removal(site: Site, browser: Browser, machines: KeyServers) -> None:
    """It is said before, with the keys and the next command; the removal is refused, and nothing is removed."""
    manager = await site.key_manager_of(machines, 0, svm={"uuid": SVM.uuid})
    await make_key(site, manager, "<b>vol1</b>")
    path = path_of(manager, machines[0].address, "remove")
    text = (await browser.log_in(url=path)).content.decode()
    assert "1 key has no proven copy on another key server that answers." in text
    assert "keystead security key-manager external replicate --vserver vs1" in text
    assert "&lt;b&gt;vol1" in text
    assert "It is the last key server of its key manager." in text
    assert "external add-servers --key-servers HOST --vserver vs1" in text
    page = await browser.submit(path, {"confirmed": "yes"})
    text = page.content.decode()
    assert page.status == 400
    assert "Code 65536700" in text
    assert "Nothing was changed." in text
    assert await addresses_of(site, manager) == [machines[0].address]


async def test_too_few_domains_are_left(site: Site, browser: Browser, machines: KeyServers) -> None:
    """New keys would be refused: the page says so."""
    manager = await site.key_manager_of(machines, 0, 1, min_copies=2)
    text = (await browser.log_in(url=path_of(manager, machines[0].address, "remove"))).content.decode()
    assert "New keys would be refused: 2 copies are needed, and 1 replication domain is left." in text


async def test_a_replacement(site: Site, browser: Browser, machines: KeyServers) -> None:
    """Four steps: the new server is added and chosen, its copies are counted, and the old one is removed."""
    manager = await site.key_manager_of(machines, 0, 1)
    await make_key(site, manager, "vol1")
    old = machines[0].address
    path = path_of(manager, old, "replace")
    text = (await browser.log_in(url=path)).content.decode()
    assert 'id="step-1" aria-current="step"' in text
    add = f"/key-managers/{manager}/key-servers/add"
    assert f"{add}?replaces={quote(old)}" in text
    await browser.open(f"{add}?replaces={old}")
    await browser.submit(add, {"servers": machines[2].address})
    text = (await browser.submit(add, {"servers": machines[2].address, "do": "add"})).content.decode()
    assert f"{machines[2].address} is the new server." in text
    assert "0 of 1 key" in text
    assert 'id="step-2" aria-current="step"' in text
    uuids = text.split('<option value="')
    (new,) = [each.split('"')[0] for each in uuids[1:] if machines[1].address in each]
    text = (await browser.open(f"{path}?new={new}")).content.decode()
    assert "1 of 1 key" in text
    assert 'id="step-4" aria-current="step"' in text
    assert path_of(manager, old, "remove") in text
    for other in ("nonsense", "%3Cb%3E"):
        text = (await browser.open(f"{path}?new={other}")).content.decode()
        assert 'id="step-1" aria-current="step"' in text


async def test_a_full_key_manager(site: Site, browser: Browser, machines: KeyServers) -> None:
    """Its replacement says that no place is free."""
    manager = await site.key_manager_of(machines, 0, 1, 2, 3)
    text = (await browser.log_in(url=path_of(manager, machines[0].address, "replace"))).content.decode()
    assert "All four places are taken." in text
    assert "Add a key server" not in text


# --- who may ---


async def test_an_account_of_an_svm(site: Site, browser: Browser, machines: KeyServers) -> None:
    """It changes its own server, and hears of a refusal by stage only."""
    own = await site.key_manager_of(machines, 0, svm={"uuid": SVM.uuid})
    other = await site.key_manager_of(machines, 1)
    path = path_of(own, machines[0].address, "change")
    await browser.log_in("vs1-admin", url=path)
    text = (await browser.submit(path, {"tls_server_name": "other.example.com", "do": "try"})).content.decode()
    assert "TLS fails." in text
    assert "wrong_name" not in text
    assert "wrong name" not in text
    for end in ("change", "remove", "replace"):
        assert (await browser.open(path_of(other, machines[1].address, end))).status == 404
