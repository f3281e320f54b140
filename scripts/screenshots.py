"""Take pictures of every page of the console: light, dark, and on a phone (390 px). ``./dev screenshots [FOLDER]``.

The pages show a service of its own over real key servers, some of them broken, as in ``tests/web/browser``.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.peers import pykmip
from tests.peers.certificates import Authority, client
from tests.peers.fixtures import Pki
from tests.peers.keystead import Installation
from tests.web.browser.chromium import PROGRAM, Visits, launched
from tests.web.browser.world import PATHS, page_of, world

if TYPE_CHECKING:
    from tests.web.browser.chromium import Visitor
    from tests.web.browser.world import World

FOLDER: Final = Path(__file__).parents[1] / "screenshots"
KINDS: Final[dict[str, dict[str, Any]]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1440, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1440, "height": 900}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
}


async def take(shown: World, folder: Path) -> None:
    """Write a picture of each page and kind."""
    async with launched() as browser:
        visits = Visits(browser, shown.service.url)
        for kind, options in KINDS.items():
            stranger = await visits.visitor(**options)
            await stranger.open("/login")
            await stranger.page.screenshot(path=folder / f"login-{kind}.png", full_page=True)
            visitor = await visits.visitor("admin", **options)
            for path in PATHS:
                await visitor.open(page_of(path, shown))
                name = re.sub("[^a-z]+", "-", path).strip("-") or "overview"
                await visitor.page.screenshot(path=folder / f"{name}-{kind}.png", full_page=True)
            await diagnose(visitor, shown)
            await visitor.page.screenshot(path=folder / f"diagnosis-{kind}.png", full_page=True)
        await visits.close()


async def diagnose(visitor: Visitor, shown: World) -> None:
    """Open the diagnosis of key servers to add: two of them are broken."""
    await visitor.open(page_of("/key-managers/{uuid}/key-servers/add", shown))
    await visitor.page.get_by_label("Addresses, one per line").fill(
        "\n".join(each.address for each in shown.servers[1:3])
    )
    await visitor.submit("Diagnose")


def main() -> None:
    """Run a service and key servers, take the pictures, and say where they are."""
    parser = argparse.ArgumentParser(prog="./dev screenshots", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    folder: Path = parser.parse_args().folder
    if PROGRAM is None:
        raise SystemExit("screenshots: Debian's package chromium-headless-shell is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    server_ca, client_ca = Authority("Key Server CA"), Authority("Client CA")
    pki = Pki(server_ca, client_ca, server_ca.issue(), client(client_ca), client(Authority("Another CA")))
    with tempfile.TemporaryDirectory() as name:
        data = Installation(Path(name) / "data").init()
        with (
            pykmip.running(2, Path(name) / "pykmip", pki.server, pki.client_ca) as sound,
            world(data, pki, [server.address for server in sound]) as shown,
        ):
            asyncio.run(take(shown, folder))
    print(f"{len(list(folder.glob('*.png')))} pictures in {folder}")


if __name__ == "__main__":
    main()
