"""The metrics in a real Prometheus: they are scraped, and show a key server that is lost or hides its keys."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.peers import prometheus
from tests.peers.keystead import create_key, create_key_manager, install_certificates

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group
    from tests.peers.keystead import Installation

pytestmark = pytest.mark.skipif(bool(prometheus.MISSING), reason=f"there is no {prometheus.MISSING} on this machine")


def test_prometheus_shows_what_is_wrong(
    installation: Installation, tmp_path: Path, pki: Pki, pykmip_group: Group
) -> None:
    """One key server is killed, another is emptied: each is one series; promtool finds nothing to improve."""
    killed, emptied, sound = (server.address for server in pykmip_group.primaries[:3])
    quick = replace(installation, settings={"monitor_interval": "1", "monitor_probe_interval": "2"})
    with quick.serving() as service, service.client() as call:
        certificates = install_certificates(call, pki.client, pki.server_ca)
        servers = create_key_manager(call, certificates, killed, emptied, sound)
        create_key(call, servers, "vol1")
        with prometheus.scraping(service, tmp_path / "prometheus") as shown:
            shown.wait_for("sum(keystead_key_server_keys_visible) == 3")
            pykmip_group.primaries[0].kill()
            pykmip_group.primaries[1].kill()
            pykmip_group.primaries[1].forget_all()
            pykmip_group.primaries[1].restart()
            shown.wait_for(f'keystead_key_server_available{{key_server="{killed}"}} == 0')
            shown.wait_for(f'keystead_key_server_keys_visible{{key_server="{emptied}"}} == 0')
            back = shown.wait_for("keystead_key_server_available == 1 and on() sum(keystead_key_server_available) == 2")
            assert {each["key_server"] for each in back} == {emptied, sound}
            call.connection.request("GET", "/metrics", headers=call.headers)
            text = call.connection.getresponse().read().decode()
    assert prometheus.complaints(text) == ""
