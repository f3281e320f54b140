"""From an empty service to a replaced key server, in the console alone: set up, find what is wrong, lose, replace."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from keystead.core.console_paths import key_server_path
from keystead.testing.key_servers import KeyServers
from tests.web.browser.chromium import Visits, in_browser
from tests.web.browser.world import QUICK, make_key, make_svm, settled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from playwright.async_api import Browser

    from tests.peers.keystead import Installation, Service
    from tests.web.browser.chromium import Visitor

pytestmark = [*in_browser, pytest.mark.long]

FAULTS = {1: "expired", 2: "wrong_ca", 3: "client_ca"}
"""What is wrong with three of four key servers."""


@pytest.fixture
def servers() -> Iterator[KeyServers]:
    """Four key servers whose certificates are of one CA."""
    with KeyServers(4, one_ca=True) as four:
        yield four


@pytest.fixture
def service(initialised: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service without a key manager."""
    installation = initialised.copy(tmp_path_factory.mktemp("nothing") / "data")
    with replace(installation, settings=QUICK).serving() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def admin(chromium: Browser, service: Service) -> AsyncIterator[Visitor]:
    """The administrator, without scripts."""
    visits = Visits(chromium, service.url)
    yield await visits.visitor("admin", java_script_enabled=False)
    await visits.close()


async def paste(admin: Visitor, certificate: str, key: str = "") -> None:
    """Install a certificate in the form that sets a key manager up."""
    if not await admin.page.locator("#public_certificate").is_visible():
        await admin.page.get_by_text("Install one that is not listed").click()
    await admin.page.locator("#public_certificate").fill(certificate)
    await admin.page.locator("#private_key").fill(key)
    await admin.submit("Install it, and come back here")
    assert "is installed, and chosen below" in await admin.text()


async def findings(admin: Visitor) -> dict[str, str]:
    """Return what a diagnosis says of each key server, by its address."""
    tracks = await admin.page.locator(".track").all()
    return {await each.locator("h3").inner_text(): await each.inner_text() for each in tracks}


def survival(service: Service, key_manager: str) -> Mapping[str, Any]:
    """Return what the API says of the survival of keys."""
    with service.client() as call:
        path = f"/security/key-managers/{key_manager}/key-survival?fields=keys,now"
        return dict(call.get(path))


async def test_a_key_manager_is_set_up(admin: Visitor, service: Service, servers: KeyServers) -> None:
    """Certificates are pasted. The diagnosis names the certificate at fault of each server; healed, all are added."""
    await admin.open("/")
    await admin.page.get_by_role("link", name="Set up a key manager").click()
    await paste(admin, servers.client.certificate_pem, servers.client.key_pem)
    await paste(admin, servers.cas[0])
    for number, fault in FAULTS.items():
        servers[number].break_(fault)
    await admin.page.get_by_label("Addresses, one per line").fill("\n".join(each.address for each in servers))
    await admin.submit("Diagnose")
    assert "1 of 4 key servers can be added, 3 cannot." in await admin.text()
    found = await findings(admin)
    expired, wrong_ca, foreign = (found[servers[number].address] for number in FAULTS)
    assert "The server's certificate has expired." in expired
    assert "Renew it on the key server." in expired
    assert "The issuer of the server's certificate is unknown." in wrong_ca
    assert "client_certificate_untrusted" in foreign
    servers.heal()
    await admin.submit("Diagnose")
    assert "4 key servers can be added." in await admin.text()
    await admin.submit("Set it up with 4 key servers")
    assert admin.path == "/key-servers"
    with service.client() as call:
        (made,) = call.get("/security/key-managers?fields=external.servers")["records"]
    assert [each["server"] for each in made["external"]["servers"]] == [each.address for each in servers]


async def test_two_servers_die(admin: Visitor, service: Service, servers: KeyServers) -> None:
    """The page says what cannot be read as the API does: nothing with two lost, and all with the other two."""
    with service.client() as call:
        manager, _ = make_svm(call, "vs1", [each.address for each in servers], servers.client, servers.cas)
        for name in ("vol1", "vol2", "vol3"):
            make_key(call, manager, name)
        for server in servers[:2]:
            server.kill()
        settled(call, manager, ["not_responding", "not_responding", "available", "available"])
    page = f"/key-managers/{manager}/survival"
    await admin.open(page)
    said, known = await admin.text(), survival(service, manager)
    assert (known["keys"], known["now"].get("unreadable", 0)) == (3, 0)
    assert "Every key can be read." in said
    assert known["now"]["survives"] == 1
    for box in await admin.page.get_by_role("checkbox").all():
        await box.check()
    await admin.submit("Show what survives")
    assert "0 of 3 keys readable" in " ".join((await admin.text()).split())
    with service.client() as call:
        for server in servers[2:]:
            server.kill()
        settled(call, manager, 4 * ["not_responding"])
    await admin.open("/")
    assert survival(service, manager)["now"]["unreadable"] == 3
    assert "4 key servers are lost. 3 keys cannot be read." in await admin.text()


async def test_a_server_is_replaced(admin: Visitor, service: Service, servers: KeyServers) -> None:
    """The steps lead from the old server to the new one, and the key is on it before the old one goes."""
    old, new = servers[0].address, servers[3].address
    with service.client() as call:
        manager, _ = make_svm(call, "vs1", [each.address for each in servers[:3]], servers.client, servers.cas)
        make_key(call, manager, "vol1")
        settled(call, manager, 3 * ["available"])
    await admin.open(key_server_path(manager, old))
    await admin.page.get_by_role("link", name="Replace", exact=True).click()
    await admin.page.get_by_role("link", name="Add a key server").click()
    await admin.page.get_by_label("Addresses, one per line").fill(new)
    await admin.submit("Diagnose")
    await admin.submit("Add 1 key server")
    assert f"{new} is the new server." in await admin.text()
    with service.client() as call:
        settled(call, manager, 4 * ["available"])
        job = call("POST", f"/security/key-managers/{manager}/replicate?return_timeout=60", {})
        assert job.status in {200, 201, 202}, job.body
    steps = admin.page.locator(".step-card.done")
    for _ in range(60):
        if await steps.count() == 3:
            break
        await admin.page.wait_for_timeout(500)
        await admin.page.reload()
    assert await steps.count() == 3
    await admin.page.get_by_role("link", name=f"Remove {old}").click()
    assert "Nothing that is known stands against it." in await admin.text()
    await admin.page.get_by_role("checkbox").check()
    await admin.submit("Remove")
    with service.client() as call:
        left = call.get(f"/security/key-managers/{manager}/key-servers")["records"]
    assert {each["server"] for each in left} == {each.address for each in servers[1:]}
