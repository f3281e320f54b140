"""Adding key servers, with those that really fail: the diagnosis, which fail together, and what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.web.commands import body_by_curl, check_commands
from tests.web.conftest import SVM

if TYPE_CHECKING:
    from keystead.testing.key_servers import KeyServers
    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group
    from tests.web.conftest import Browser, Site

PASSWORD = "kmip-Pass-w0rd"


def path_of(key_manager: str) -> str:
    """Return the path of the page that adds key servers."""
    return f"/key-managers/{key_manager}/key-servers/add"


async def servers_of(site: Site, key_manager: str) -> list[str]:
    """Return the addresses that the key manager has."""
    answer = await site.admin.get(f"/api/security/key-managers/{key_manager}/key-servers")
    return [record["server"] for record in answer.body["records"]]


async def test_several_are_diagnosed_and_added(site: Site, browser: Browser, machines: KeyServers) -> None:
    """Nothing is stored by the diagnosis; then all are, with what was typed."""
    manager = await site.key_manager_of(machines, 0)
    path = path_of(manager)
    await browser.log_in(url=path)
    wanted = f"{machines[1].address}\n{machines[2].address}"
    await browser.submit(path, {"servers": wanted, "tls_server_name": "localhost"})
    await check_commands(browser)
    page = await browser.submit(path, {"servers": wanted, "timeout": "9", "tls_server_name": ""})
    text = page.content.decode()
    assert page.status == 200
    assert "2 key servers can be added." in text
    assert text.count("Every stage passed.") == 2
    assert await servers_of(site, manager) == [machines[0].address]
    assert "<h3>CLI</h3>" not in text  # it has no option for the time-out
    assert "The same by curl and Ansible" in text
    records = [{"server": machines[number].address, "timeout": 9} for number in (1, 2)]
    assert body_by_curl(browser) == {"records": records}
    confirmed = {"do": "add", "servers": wanted, f"domain-{machines[1].address}": "east"}
    page = await browser.submit(path, confirmed)
    assert page.status == 200
    assert await servers_of(site, manager) == [machines[number].address for number in (0, 1, 2)]
    answer = await site.admin.get(f"/api/security/key-managers/{manager}/key-servers/{machines[1].address}?fields=*")
    assert (answer.body["timeout"], answer.body["replication_domain"]) == (9, "east")


async def test_servers_of_another_make(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """PyKMIP's are diagnosed and added; what one can do is on its page once it was learned."""
    first, second = (server.address for server in pykmip_group.primaries[:2])
    manager = await site.key_manager(pki, [first])
    path = path_of(manager)
    await browser.log_in(url=path)
    text = (await browser.submit(path, {"servers": second})).content.decode()
    assert "1 key server can be added." in text
    assert "KMIP 2.0" in text
    await browser.submit(path, {"servers": second, "do": "add"})
    assert await servers_of(site, manager) == [first, second]
    answer = await site.admin.post(f"/api/security/key-managers/{manager}/volume-keys", {"name": "vol1"})
    assert answer.status == 201, answer.content
    text = (await browser.open(f"/key-managers/{manager}/key-servers/{second}")).content.decode()
    assert "PyKMIP" in text
    assert "Proven" in text


@pytest.mark.parametrize(
    ("fault", "said", "who"),
    [
        ("wrong_ca", "The issuer of the server", "Whoever runs Keystead"),
        ("expired", "certificate has expired.", "Whoever runs the key server"),
        ("wrong_name", "does not name the host or address", "Whoever runs the key server"),
        ("client_ca", "Install that CA on the key server.", "Whoever runs the key server"),
        ("refused", "nothing listens on the port", "Whoever runs the key server"),
    ],
)
async def test_a_refused_server(
    site: Site, browser: Browser, machines: KeyServers, fault: str, said: str, who: str
) -> None:
    """It says why and who must act, in steps; the sound one can be added without it."""
    manager = await site.key_manager_of(machines, 0)
    path = path_of(manager)
    machines[1].break_(fault)
    await browser.log_in(url=path)
    page = await browser.submit(path, {"servers": f"{machines[1].address}, {machines[2].address}"})
    text = page.content.decode()
    assert "1 of 2 key servers can be added, 1 cannot." in text
    assert said in text
    assert who in text
    assert "Probe again." in text
    assert text.index(machines[1].address, text.index('id="verdict"')) < text.index("Every stage passed.")
    assert f'name="servers" value="{machines[2].address}"' in text
    assert body_by_curl(browser) == {"records": [{"server": machines[2].address}]}
    await check_commands(browser)
    page = await browser.submit(path, {"do": "add", "servers": machines[2].address})
    assert await servers_of(site, manager) == [machines[0].address, machines[2].address]


async def test_all_are_refused(site: Site, browser: Browser, machines: KeyServers) -> None:
    """There is nothing to confirm. One that fails only when it is stored is refused as well, and nothing is stored."""
    manager = await site.key_manager_of(machines, 0)
    path = path_of(manager)
    machines[1].break_("expired")
    await browser.log_in(url=path)
    text = (await browser.submit(path, {"servers": machines[1].address})).content.decode()
    assert "No key server can be added." in text
    assert 'value="add"' not in text
    page = await browser.submit(path, {"servers": f"{machines[1].address} {machines[2].address}", "do": "add"})
    text = page.content.decode()
    assert page.status == 400
    assert "server certificate expired" in text
    assert "Nothing was changed." in text
    assert await servers_of(site, manager) == [machines[0].address]


async def test_which_fail_together(site: Site, browser: Browser, machines: KeyServers) -> None:
    """By one host, and by what is declared; the present servers count too."""
    manager = await site.key_manager_of(machines, 0)
    path = path_of(manager)
    await browser.log_in(url=path)
    page = await browser.submit(path, {"servers": machines[1].address})
    assert "they are on one host, 127.0.0.1" in page.content.decode()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"servers": "  "}, "give at least one address"),
        ({"servers": "no host:x"}, "port"),
        ({"servers": "a:1 a:1 b"}, "Duplicate"),
        ({"servers": "a b c d"}, "A maximum of 4 active key servers are allowed."),
        ({"servers": "a", "timeout": "soon"}, "it is no whole number"),
        ({"servers": "a", "timeout": "61"}, "it is not from -1 to 60"),
        ({"servers": "a", "create_remove_timeout": "9" * 5000}, "it is no whole number"),
        ({"servers": "a", "tls_server_name": "no name"}, "tls_server_name"),
        ({"servers": "a", "username": "x" * 300, "password": PASSWORD}, "256 characters"),
        ({"servers": "a", "username": "someone"}, "username"),
        ({"servers": "a", "domain-a": "x" * 300}, "255 characters"),
    ],
)
async def test_what_cannot_be_read(
    site: Site, browser: Browser, machines: KeyServers, fields: dict[str, str], said: str
) -> None:
    """It is refused in words; what was typed stays, but the password; nothing is stored."""
    manager = await site.key_manager_of(machines, 0)
    path = path_of(manager)
    await browser.log_in(url=path)
    for do in ("diagnose", "add"):
        page = await browser.submit(path, fields | {"do": do})
        text = page.content.decode()
        assert page.status == 400
        assert said in text
        assert "Nothing was changed." in text
        assert fields["servers"].strip() in text
        assert PASSWORD not in text
    assert await servers_of(site, manager) == [machines[0].address]


async def test_a_password_is_asked_again(site: Site, browser: Browser, machines: KeyServers) -> None:
    """It comes back to no page, and it is stored after it was typed again."""
    manager = await site.key_manager_of(machines, 0)
    path = path_of(manager)
    await browser.log_in(url=path)
    fields = {"servers": machines[1].address, "username": "someone", "password": PASSWORD}
    text = (await browser.submit(path, fields)).content.decode()
    assert PASSWORD not in text
    assert "Password of someone, again" in text
    record = {"server": machines[1].address, "username": "someone", "password": "PASSWORD"}
    assert body_by_curl(browser) == {"records": [record]}
    await browser.submit(path, fields | {"do": "add"})
    answer = await site.admin.get(f"/api/security/key-managers/{manager}/key-servers/{machines[1].address}?fields=*")
    assert answer.body["username"] == "someone"


async def test_a_full_key_manager(site: Site, browser: Browser, machines: KeyServers) -> None:
    """It says so, and has no form."""
    manager = await site.key_manager_of(machines, 0, 1, 2, 3)
    text = (await browser.log_in(url=path_of(manager))).content.decode()
    assert "has four key servers already" in text
    assert "<textarea" not in text


async def test_an_account_of_an_svm(site: Site, browser: Browser, machines: KeyServers) -> None:
    """It adds to its own key manager; why one is refused it sees by stage only. Another's is not there."""
    own = await site.key_manager_of(machines, 0, svm={"uuid": SVM.uuid})
    other = await site.key_manager_of(machines, 1)
    machines[2].break_("client_ca")
    await browser.log_in("vs1-admin", url=path_of(own))
    page = await browser.submit(path_of(own), {"servers": machines[2].address})
    text = page.content.decode()
    assert "TLS fails." in text
    for hidden in ("client_certificate_untrusted", "client certificate untrusted", "Client CA", "TLSv1"):
        assert hidden not in text
    assert (await browser.open(path_of(other))).status == 404


async def test_who_may_only_read(site: Site, browser: Browser, machines: KeyServers) -> None:
    """The page is refused."""
    manager = await site.key_manager_of(machines, 0)
    assert (await browser.log_in("auditor", url=path_of(manager))).status == 403


async def test_markup_in_addresses(site: Site, browser: Browser, machines: KeyServers) -> None:
    """It is shown as text."""
    manager = await site.key_manager_of(machines, 0)
    await browser.log_in(url=path_of(manager))
    text = (await browser.submit(path_of(manager), {"servers": "<b>x</b>"})).content.decode()
    assert "<b>x" not in text
    assert "&lt;b&gt;x" in text
