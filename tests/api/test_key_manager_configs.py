"""``/security/key-manager-configs``: the settings that all key managers share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.model import Account, KeyManager, Node, Release, Role
from tests.peers.asgi import AsgiClient, assert_error
from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from tests.api.conftest import Api

CONFIGS = "/api/security/key-manager-configs"
PASSPHRASE = "p" * 64


async def with_key_manager(api: Api) -> None:
    """There is an external key manager."""
    manager = KeyManager("km", None, enabled=True, client_certificate="c", server_ca_certificates=())
    await api.store.write(lambda tx: tx.add_key_manager(manager))


async def test_defaults(api: Api) -> None:
    """As ONTAP's sample, with what every client may add to a single object's GET."""
    shown = (await api.admin.get(f"{CONFIGS}?max_records=1024&fields=")).body
    assert shown["_links"]["self"]["href"].startswith(CONFIGS)
    assert (shown["health_monitor_polling_interval"], shown["cloud_kms_retry_count"]) == (15, 3)
    assert shown["cc_mode_enabled"] is False
    policies = shown["health_monitor_policy"]
    assert policies["kmip"] == {"enabled": True, "manage_volume_offline": False}
    assert {name for name, policy in policies.items() if policy["enabled"]} == {"kmip"}


async def test_settings_are_kept(api: Api) -> None:
    """Numbers, also as text, as ONTAP's examples have them; what is not named stays."""
    await with_key_manager(api)
    answer = await api.admin.patch(
        CONFIGS, {"health_monitor_polling_interval": "20", "cc_mode_enabled": "false", "cloud_kms_retry_count": 0}
    )
    assert (answer.status, answer.body) == (200, {})
    what_it_is = {"kmip": {"enabled": True}, "aws": {"enabled": "false", "manage_volume_offline": False}}
    policy = {"health_monitor_policy": what_it_is}
    assert (await api.admin.patch(CONFIGS, {"cloud_kms_retry_count": 10, **policy})).status == 200
    shown = (await api.admin.get(f"{CONFIGS}?fields=*")).body
    assert (shown["health_monitor_polling_interval"], shown["cloud_kms_retry_count"]) == (20, 10)
    assert [record.state for record in await api.audit() if record.method == "PATCH"] == ["success"] * 2


@pytest.mark.parametrize(
    ("body", "kind", "target"),
    [
        ({}, errors.NO_VALUES, None),
        ({"health_monitor_polling_interval": 14}, errors.INVALID_FIELD_VALUE, "health_monitor_polling_interval"),
        ({"health_monitor_polling_interval": 31}, errors.INVALID_FIELD_VALUE, "health_monitor_polling_interval"),
        ({"cloud_kms_retry_count": 11}, errors.INVALID_FIELD_VALUE, "cloud_kms_retry_count"),
        ({"cc_mode_enabled": True}, errors.ONBOARD_NOT_ENABLED, "cc_mode_enabled"),
        ({"cc_mode_enabled": True, "passphrase": PASSPHRASE}, errors.ONBOARD_NOT_ENABLED, "cc_mode_enabled"),
        ({"passphrase": PASSPHRASE}, errors.ONBOARD_NOT_ENABLED, "passphrase"),
        (
            {"health_monitor_policy": {"kmip": {"enabled": False}}},
            errors.HEALTH_POLICY,
            "health_monitor_policy.kmip.enabled",
        ),
        (
            {"health_monitor_policy.okm.manage_volume_offline": True},
            errors.HEALTH_POLICY,
            "health_monitor_policy.okm.manage_volume_offline",
        ),
        ({"cloud_kms_retries": 1}, errors.UNEXPECTED_ARGUMENT, "cloud_kms_retries"),
    ],
)
async def test_refused(api: Api, body: Any, kind: errors.ErrorKind, target: str | None) -> None:
    """Each fault has its code, nothing changes, and no passphrase is kept."""
    await with_key_manager(api)
    assert_error(await api.admin.patch(CONFIGS, body), kind, target)
    assert (await api.admin.get(CONFIGS)).body["cloud_kms_retry_count"] == 3
    assert not [record for record in await api.audit() if PASSPHRASE in str(record)]


async def test_a_polling_interval_needs_something_to_poll(api: Api) -> None:
    """65537304 without an enabled external key manager; the release comes first."""
    body = {"health_monitor_polling_interval": 20}
    inactive = KeyManager("km", None, enabled=False, client_certificate="c", server_ca_certificates=())
    await api.store.write(lambda tx: tx.add_key_manager(inactive))
    target = "health_monitor_polling_interval"
    assert_error(await api.admin.patch(CONFIGS, body), errors.NO_EXTERNAL_MANAGEMENT, target)
    await api.store.write(lambda tx: tx.put_node(Node("old", "old", Release(9, 9, 1))))
    assert_error(await api.admin.patch(CONFIGS, body), errors.POLLING_RELEASE, target)
    answer = await api.admin.patch(CONFIGS, {"cloud_kms_retry_count": 1})
    assert_error(answer, errors.RETRY_COUNT_RELEASE, "cloud_kms_retry_count")


async def test_they_are_the_clusters(api: Api) -> None:
    """An SVM's account, and a call that tunnels to an SVM, get nothing."""
    svm = (await api.admin.post("/api/svm/svms", {"name": "vs0"})).headers["location"].rpartition("/")[2]

    def add(tx: Any) -> None:
        tx.put_account(Account("vs0admin", Role.VSADMIN, tx.account("admin").password_hash, svm=tx.svm(svm)))

    await api.store.write(add)
    own = AsgiClient(api.admin.app, "vs0admin", PASSWORD)
    body = {"cloud_kms_retry_count": 1}
    for answer in (await own.get(CONFIGS), await own.patch(CONFIGS, body)):
        assert answer.status in {403, 404}
    tunnel = {"x-dot-svm-name": "vs0"}
    for answer in (await api.admin.get(CONFIGS, headers=tunnel), await api.admin.patch(CONFIGS, body, headers=tunnel)):
        assert_error(answer, errors.ENTRY_NOT_FOUND, "uuid")
