"""The rules of the settings that all key managers of a cluster share.

Pure. Source: ONTAP page of ``/security/key-manager-configs``. Common Criteria mode belongs to the Onboard Key Manager.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_servers import check_release
from keystead.core.model import Release

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from keystead.core.model import Node, Options

POLLING_SINCE = Release(9, 10, 0)
RETRY_COUNT_SINCE = Release(9, 11, 0)
MOST_RECOVERY_DAYS = 36_500
"""The most days of the recovery window: a hundred years, so that its end is a time that databases can store."""


@dataclass(frozen=True, slots=True)
class ConfigsChange:
    """Changes of the settings; None leaves a value as it is. ``passphrase`` says whether one was given.

    ``health_monitor_policy`` has the settings that are stated for types of key stores.
    """

    health_monitor_polling_interval: int | None = None
    cloud_kms_retry_count: int | None = None
    key_recovery_days: int | None = None
    cc_mode_enabled: bool | None = None
    passphrase: bool = False
    health_monitor_policy: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """The values of the change that are stored."""
        given = {
            "health_monitor_polling_interval": self.health_monitor_polling_interval,
            "cloud_kms_retry_count": self.cloud_kms_retry_count,
            "key_recovery_days": self.key_recovery_days,
        }
        return {name: value for name, value in given.items() if value is not None}


def health_policy(type_: str) -> dict[str, bool]:
    """Return the health monitor's policy for a type of key store, which never changes.

    The watch of external servers is always on, and it never takes volumes offline.
    """
    return {"enabled": type_ == "kmip", "manage_volume_offline": False}


def plan_configs(options: Options, change: ConfigsChange, nodes: Iterable[Node], *, external: bool) -> Options:
    """Return the options after a change, or raise the first rule that is broken.

    ``external`` says whether there is an enabled external key manager.
    """
    if change.cc_mode_enabled or change.passphrase:
        target = "cc_mode_enabled" if change.cc_mode_enabled else "passphrase"
        raise OntapError(errors.ONBOARD_NOT_ENABLED, target=target)
    for type_, stated in change.health_monitor_policy.items():
        for name, value in stated.items():
            if value != health_policy(type_)[name]:
                raise OntapError(errors.HEALTH_POLICY, target=f"health_monitor_policy.{type_}.{name}")
    nodes = tuple(nodes)
    if change.health_monitor_polling_interval is not None:
        target = "health_monitor_polling_interval"
        check_release(nodes, POLLING_SINCE, errors.POLLING_RELEASE, target)
        if not external:
            raise OntapError(errors.NO_EXTERNAL_MANAGEMENT, target=target)
    if change.cloud_kms_retry_count is not None:
        check_release(nodes, RETRY_COUNT_SINCE, errors.RETRY_COUNT_RELEASE, "cloud_kms_retry_count")
    return replace(options, **change.options)
