"""Setting up a key manager: certificates that are installed or pasted, the first key servers, and who may do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.web.commands import body_by_curl, check_commands
from tests.web.conftest import SVM

if TYPE_CHECKING:
    from keystead.testing.key_servers import KeyServers
    from tests.web.conftest import Browser, Site

PATH = "/key-managers/add"


async def managers_of(site: Site) -> list[dict[str, object]]:
    """Return the key managers that there are."""
    answer = await site.admin.get("/api/security/key-managers?fields=*,external.servers.*")
    return list(answer.body["records"])


async def test_from_nothing(site: Site, browser: Browser, machines: KeyServers) -> None:
    """Both certificates are pasted, the servers are diagnosed, the key manager is set up. No private key comes back."""
    key = machines.client.key_pem
    await browser.log_in(url=PATH)
    pasted = {"do": "install", "public_certificate": machines.client.certificate_pem, "private_key": key}
    text = (await browser.submit(PATH, {"servers": machines[0].address, **pasted})).content.decode()
    assert "is installed, and chosen below" in text
    assert key.splitlines()[1] not in text
    assert machines[0].address in text  # what was typed before stays
    text = (await browser.submit(PATH, {"do": "install", "public_certificate": machines[0].ca})).content.decode()
    assert "checked" in text
    wanted = f"{machines[0].address} {machines[1].address}"
    text = (await browser.submit(PATH, {"do": "diagnose", "servers": wanted})).content.decode()
    assert "2 key servers can be added." in text
    assert await managers_of(site) == []
    await check_commands(browser)
    servers = [{"server": machines[number].address} for number in (0, 1)]
    assert body_by_curl(browser)["external"]["servers"] == servers
    page = await browser.submit(PATH, {"do": "add", "servers": wanted})
    assert page.status == 200
    (made,) = await managers_of(site)
    assert made["scope"] == "cluster"
    shown = page.content.decode()
    assert f"/key-managers/{made['uuid']}/key-servers/{machines[1].address}" in shown


async def test_some_are_refused(site: Site, browser: Browser, machines: KeyServers) -> None:
    """The ways to do the same name what would be stored: the accepted with their settings, by means that have them."""
    client, server_ca = await site.identity_of(machines)
    machines[0].break_("wrong_ca")
    fields = {"client_certificate": client, "server_ca_certificates": server_ca, "do": "diagnose", "timeout": "9"}
    await browser.log_in(url=PATH)
    await browser.submit(PATH, fields | {"servers": f"{machines[0].address} {machines[1].address}"})
    external = body_by_curl(browser)["external"]
    assert external["servers"] == [{"server": machines[1].address, "timeout": 9}]
    assert browser.page is not None
    assert b"<h3>CLI</h3>" not in browser.page.content


async def test_a_refused_server(site: Site, browser: Browser, machines: KeyServers) -> None:
    """The diagnosis says why. If it is to be stored all the same, it is refused, and nothing is stored."""
    client, server_ca = await site.identity_of(machines)
    machines[0].break_("wrong_ca")
    fields = {"servers": machines[0].address, "client_certificate": client, "server_ca_certificates": server_ca}
    await browser.log_in(url=PATH)
    text = (await browser.submit(PATH, fields | {"do": "diagnose"})).content.decode()
    assert "No key server can be added." in text
    assert "What it showed us" in text
    page = await browser.submit(PATH, fields | {"do": "add"})
    assert page.status == 400
    assert "Nothing was changed." in page.content.decode()
    assert await managers_of(site) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"client_certificate": ""}, "65536876"),
        ({"server_ca_certificates": ""}, "65536876"),
        ({"client_certificate": "nonsense"}, "65536821"),
        ({"servers": ""}, "262185"),
        ({"svm": "nobody"}, "2621462"),
        ({"servers": "a b c d e"}, "65536038"),
    ],
)
async def test_what_is_refused(
    site: Site, browser: Browser, machines: KeyServers, change: dict[str, str], code: str
) -> None:
    """In words, with ONTAP's code; nothing is stored."""
    client, server_ca = await site.identity_of(machines)
    fields = {"servers": machines[0].address, "client_certificate": client, "server_ca_certificates": server_ca}
    await browser.log_in(url=PATH)
    for do in ("diagnose", "add"):
        page = await browser.submit(PATH, fields | change | {"do": do})
        assert page.status in {400, 404, 409}
        assert f"Code {code}" in page.content.decode()
    assert await managers_of(site) == []


@pytest.mark.parametrize("pasted", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])
async def test_a_certificate_that_is_none(site: Site, browser: Browser, pasted: str) -> None:
    """It is refused, and the form stays as it was."""
    await browser.log_in(url=PATH)
    page = await browser.submit(PATH, {"do": "install", "public_certificate": pasted, "servers": "ks9.example.com"})
    text = page.content.decode()
    assert page.status == 400
    assert "Nothing was changed." in text
    assert "ks9.example.com" in text
    answer = await site.admin.get("/api/security/certificates?type=server_ca")
    assert answer.body["num_records"] == 0


@pytest.mark.parametrize("do", ["install", "diagnose", "add"])
async def test_a_wrong_private_key(browser: Browser, machines: KeyServers, do: str) -> None:
    """It is refused and not shown again, into whatever field it was typed."""
    await browser.log_in(url=PATH)
    key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----"
    both = f"{machines.client.certificate_pem}\n{key}"
    page = await browser.submit(PATH, {"do": do, "public_certificate": both, "servers": key, "svm": key})
    assert page.status == 400
    assert "c2VjcmV0" not in page.content.decode()


async def test_an_account_of_an_svm(site: Site, browser: Browser, machines: KeyServers) -> None:
    """It sets up its own key manager, with its own certificates, and is not asked whose."""
    await site.certificate("server_ca", machines[0].ca)
    text = (await browser.log_in("vs1-admin", url=PATH)).content.decode()
    assert "Whose keys?" not in text
    assert "None is installed yet." in text
    of = machines.client
    await browser.submit(PATH, {"do": "install", "public_certificate": of.certificate_pem, "private_key": of.key_pem})
    await browser.submit(PATH, {"do": "install", "public_certificate": machines[0].ca})
    await browser.submit(PATH, {"do": "diagnose", "servers": machines[0].address})
    page = await browser.submit(PATH, {"do": "add", "servers": machines[0].address})
    assert page.status == 200
    (made,) = await managers_of(site)
    assert made["svm"] == {"name": SVM.name, "uuid": SVM.uuid} | made["svm"]  # type: ignore[operator]


async def test_who_may_only_read(browser: Browser) -> None:
    """The page is refused."""
    assert (await browser.log_in("auditor", url=PATH)).status == 403


async def test_owners_with_a_key_manager(site: Site, browser: Browser, machines: KeyServers) -> None:
    """They are not offered."""
    await site.key_manager_of(machines, 0)
    text = (await browser.log_in(url=PATH)).content.decode()
    assert '<option value="vs1"' in text
    assert "the cluster</option>" not in text
