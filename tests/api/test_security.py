"""``/security``: what this cluster's listener offers, and what is off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keystead.app.tls_offered import offered
from keystead.core import errors
from tests.peers.asgi import assert_error

if TYPE_CHECKING:
    from tests.api.conftest import Api

PLAIN = {"accept": "application/json"}
PATH = "/api/security"


async def test_it_says_what_is_so(api: Api) -> None:
    """With the listener's own versions and suites; names of ONTAP's without a value are left out."""
    shown = (await api.readonly.get(f"{PATH}?fields=**,software_data_encryption")).body
    tls = offered()
    assert {**shown, "onboard_key_manager_configurable_status": None} == {
        "fips": {"enabled": False},
        "management_protocols": {"rsh_enabled": False, "telnet_enabled": False},
        "onboard_key_manager_configurable_status": None,
        "tls": {
            "protocol_versions": list(tls.protocol_versions),
            "cipher_suites": list(tls.cipher_suites),
            "offload_enabled": False,
        },
        "_links": {"self": {"href": PATH}},
    }
    onboard = shown["onboard_key_manager_configurable_status"]
    assert (onboard["supported"], onboard["code"]) == (False, 65537300)


async def test_one_field_is_read(api: Api) -> None:
    """As scripts ask for it."""
    answer = await api.admin.get(f"{PATH}?fields=fips.enabled", headers=PLAIN)
    assert answer.body == {"fips": {"enabled": False}}


@pytest.mark.parametrize("body", [{"fips": {"enabled": True}}, {"management_protocols": {"telnet_enabled": True}}])
async def test_it_cannot_be_changed(api: Api, body: object) -> None:
    """Nothing here is a switch."""
    assert_error(await api.admin.patch(PATH, body), errors.METHOD_NOT_SUPPORTED)


async def test_unknown_fields_are_refused(api: Api) -> None:
    """As elsewhere."""
    assert_error(await api.admin.get(f"{PATH}?fields=tls.versions"), errors.INVALID_FIELDS_VALUE, target="fields")
