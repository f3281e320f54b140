"""Settings that simulate another cluster: calls get the errors that it would give, and attention says why."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.app.wiring import running
from keystead.settings import Settings, SettingsError
from tests.peers.keystead import install_certificates

if TYPE_CHECKING:
    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Installation


@pytest.mark.parametrize(
    ("setting", "value", "code"),
    [("SIMULATE_METROCLUSTER", "true", "65536824"), ("SIMULATE_RELEASE", "9.5.0", "65536822")],
)
def test_an_svm_has_no_key_manager_there(
    installation: Installation, pki: Pki, setting: str, value: str, code: str
) -> None:
    """While the setting is there; without it, the next start is that of a usual cluster."""
    body: dict[str, Any] = {}
    for given, expected in ((value, code), ("", "66060341")):
        there = replace(installation, settings={setting.lower(): given})
        with there.serving() as service, service.client() as admin:
            if not body:
                certificates = install_certificates(admin, pki.client, pki.server_ca)
                admin.create("/svm/svms", {"name": "vs0"})
                body = certificates.new_key_manager([{"server": "127.0.0.1:1"}], "vs0")
            refused = admin("POST", "/security/key-managers", body).body["error"]
            assert refused["code"] == expected
            items = admin.get("/support/attention?subject=setting&fields=*")["records"]
            assert (setting.lower() in [item["name"] for item in items]) is bool(given)


@pytest.mark.parametrize("text", ["9", "9.5", "9.5.x", "nine"])
async def test_a_release_that_is_none(installation: Installation, text: str) -> None:
    """The service does not start, and says which setting is wrong."""
    with pytest.raises(SettingsError, match="simulate_release"):
        async with running(Settings(data=installation.data, simulate_release=text)):
            pytest.fail("it started")
