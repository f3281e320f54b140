"""``/security/key-manager-configs``: settings that all key managers share. Source: ONTAP REST API reference."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.codes import OF_THE_CLUSTER
from keystead.api.operations import setting, showing
from keystead.api.resource import OURS, Field, Resource, always
from keystead.api.resources.key_stores import TYPES
from keystead.api.values import BOOLEAN, SECRET, integer
from keystead.core import errors
from keystead.core.key_manager_configs import MOST_RECOVERY_DAYS, ConfigsChange, health_policy
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystead.api.declared import Paths
    from keystead.api.request import Request
    from keystead.core.model import Options
    from keystead.core.query.query import Wanted

PATH = "/api/security/key-manager-configs"


def _health_monitor_policy() -> Iterator[Field]:
    """Yield the policy fields for each type of key store. A body may state what they always are."""
    for type_ in TYPES:
        for field, value in health_policy(type_).items():
            yield Field(
                name=f"health_monitor_policy.{type_}.{field}",
                type=BOOLEAN,
                help=f"Always {str(value).lower()}.",
                get=always(value),
                patch=True,
                since="9.15",
            )


CONFIGS = Resource(
    name="key_manager_config",
    ontap="KeyManagerConfig",
    help="The settings that all key managers of the cluster share. Only for cluster accounts.",
    declared=(
        Field(
            name="health_monitor_polling_interval",
            type=integer(15, 30),
            help="Minutes. Stored without effect, for compatibility: a setting of the service gives the real interval.",
            get=attrgetter("health_monitor_polling_interval"),
            patch=True,
            since="9.10",
        ),
        Field(
            name="cloud_kms_retry_count",
            type=integer(0, 10),
            help="Stored without effect, for compatibility: there are no cloud key managers.",
            get=attrgetter("cloud_kms_retry_count"),
            patch=True,
            since="9.11",
        ),
        Field(
            name="key_recovery_days",
            type=integer(0, MOST_RECOVERY_DAYS),
            help="Days after its deletion in which a key can be recovered. A change is for keys that are deleted after"
            " it. With 0 a deleted key is destroyed at once.",
            get=attrgetter("key_recovery_days"),
            patch=True,
            since=OURS,
        ),
        Field(
            name="cc_mode_enabled",
            type=BOOLEAN,
            help="Always false: only the Onboard Key Manager has a Common Criteria mode.",
            get=lambda _: False,
            patch=True,
            since="9.10",
        ),
        Field(
            name="passphrase",
            type=SECRET,
            help="Refused, and never shown.",
            read=Read.NEVER,
            patch=True,
            secret=True,
            since="9.10",
        ),
        *_health_monitor_policy(),
    ),
    link=lambda _: PATH,
)


async def _show(request: Request, _: Wanted) -> Options:
    return await request.services.key_manager_configs.get(request.call)


async def _patch(request: Request, values: dict[str, Any]) -> None:
    change = ConfigsChange(**values | {"passphrase": "passphrase" in values})
    await request.services.key_manager_configs.change(request.call, change)


_CODES = (
    *OF_THE_CLUSTER,
    *(errors.HEALTH_POLICY, errors.ONBOARD_NOT_ENABLED, errors.NO_EXTERNAL_MANAGEMENT),
    *(errors.POLLING_RELEASE, errors.RETRY_COUNT_RELEASE),
)

PATHS: Paths = {
    PATH: {
        "GET": showing(CONFIGS, _show, OF_THE_CLUSTER),
        "PATCH": setting(CONFIGS, _patch, _CODES),
    }
}
