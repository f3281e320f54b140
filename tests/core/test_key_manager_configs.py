"""The rules of the settings that all key managers share."""

from __future__ import annotations

import pytest

from keystead.core import errors
from keystead.core.errors import ErrorKind, OntapError
from keystead.core.key_manager_configs import ConfigsChange, plan_configs
from keystead.core.model import Node, Options, Release
from tests.core.factories import NODE

KEPT = Options(audit_http=True, health_monitor_polling_interval=20)


@pytest.mark.parametrize(
    ("change", "oldest", "external", "kind", "target"),
    [
        (ConfigsChange(cc_mode_enabled=True), "9.18.1", True, errors.ONBOARD_NOT_ENABLED, "cc_mode_enabled"),
        (ConfigsChange(passphrase=True), "9.18.1", True, errors.ONBOARD_NOT_ENABLED, "passphrase"),
        (
            ConfigsChange(health_monitor_policy={"aws": {"enabled": False}, "kmip": {"enabled": False}}),
            *("9.18.1", True, errors.HEALTH_POLICY, "health_monitor_policy.kmip.enabled"),
        ),
        (
            ConfigsChange(cc_mode_enabled=False, passphrase=True),
            *("9.18.1", True, errors.ONBOARD_NOT_ENABLED, "passphrase"),
        ),
        (
            ConfigsChange(health_monitor_polling_interval=15),
            *("9.18.1", False, errors.NO_EXTERNAL_MANAGEMENT, "health_monitor_polling_interval"),
        ),
        (
            ConfigsChange(health_monitor_polling_interval=15),
            *("9.9.1", False, errors.POLLING_RELEASE, "health_monitor_polling_interval"),
        ),
        (
            ConfigsChange(cloud_kms_retry_count=1),
            *("9.10.1", True, errors.RETRY_COUNT_RELEASE, "cloud_kms_retry_count"),
        ),
    ],
)
def test_refused(
    change: ConfigsChange,
    oldest: str,
    external: bool,
    kind: ErrorKind,
    target: str,
) -> None:
    """Each rule broken gives its code."""
    nodes = (NODE, Node("old", "old", Release(*map(int, oldest.split(".")))))
    with pytest.raises(OntapError) as raised:
        plan_configs(KEPT, change, nodes, external=external)
    assert (raised.value.kind, raised.value.target) == (kind, target)


@pytest.mark.parametrize(
    ("change", "after"),
    [
        (ConfigsChange(cc_mode_enabled=False), KEPT),
        (ConfigsChange(health_monitor_policy={"kmip": {"enabled": True, "manage_volume_offline": False}}), KEPT),
        (
            ConfigsChange(health_monitor_polling_interval=30),
            Options(audit_http=True, health_monitor_polling_interval=30),
        ),
        (
            ConfigsChange(cloud_kms_retry_count=0),
            Options(audit_http=True, health_monitor_polling_interval=20, cloud_kms_retry_count=0),
        ),
    ],
)
def test_accepted(change: ConfigsChange, after: Options) -> None:
    """A change sets the given settings and keeps the others; what is off may be set to off."""
    assert plan_configs(KEPT, change, (NODE,), external=True) == after
