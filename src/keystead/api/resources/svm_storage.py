"""What requests state about an SVM's storage.

There is no storage here. It is kept and shown again, because clients compare it. What would do something is refused.
Source: ONTAP REST API reference, SVM.
"""

from __future__ import annotations

import re
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final

from keystead.api.resource import Field, Group
from keystead.api.values import BOOLEAN, UUID, Type, integer, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _off(value: Any) -> bool:
    """Parse the one value that a service may have here: off."""
    if BOOLEAN.parse(value):
        raise ValueError("nothing is served here")
    return False


_OFF: Final = Type("<false>", _off, schema=BOOLEAN.schema)
_LARGEST: Final = 2**63 - 1
_SIZE: Final = re.compile(r"([0-9]{1,19})(KB|MB|GB|TB|PB)", re.ASCII | re.IGNORECASE)
_UNITS: Final = {unit: 1024**power for power, unit in enumerate(("KB", "MB", "GB", "TB", "PB"), 1)}
_PLAIN_BYTES: Final = integer(0, _LARGEST)


def _bytes(value: Any) -> int:
    """Parse a number of bytes, also with a unit (``40GB``)."""
    size = _SIZE.fullmatch(value) if isinstance(value, str) else None
    number: int = _PLAIN_BYTES.parse(int(size[1]) * _UNITS[size[2].upper()] if size else value)
    return number


_BYTES: Final = Type(_PLAIN_BYTES.text, _bytes, schema=_PLAIN_BYTES.schema)
_PROTOCOLS: Final = ("cifs", "fcp", "iscsi", "ndmp", "nfs", "nvme", "s3")

_GROUPS: Final[tuple[tuple[str, Mapping[str, str] | None, str], ...]] = (
    ("ipspace", {"name": "Default"}, "its IPspace."),
    ("snapshot_policy", {"name": "none"}, "its snapshot policy."),
    ("qos_policy", None, "its QoS policy."),
    ("qos_policy_group_template", None, "the template of its QoS policy groups."),
    ("qos_adaptive_policy_group_template", None, "the template of its adaptive QoS policy groups."),
    ("storage", None, "the limits of its storage."),
    *((protocol, None, "a protocol.") for protocol in _PROTOCOLS),
)
"""Names, values while nothing is stated, and meanings."""

_FIELDS: Final[tuple[tuple[str, Type, str], ...]] = (
    ("comment", text(254), "a comment."),
    ("language", text(32), "the default language of its volumes (``c.utf_8``)."),
    ("ipspace.name", text(255), "its name."),
    ("snapshot_policy.name", text(255), "its name."),
    ("qos_policy.name", text(255), "its name."),
    ("qos_policy_group_template.name", text(255), "its name."),
    ("qos_adaptive_policy_group_template.name", text(255), "its name."),
    ("max_volumes", text(16), "the number of volumes that it may have, or ``unlimited``."),
    ("auto_enable_activity_tracking", BOOLEAN, "a setting of its new volumes."),
    ("auto_enable_analytics", BOOLEAN, "a setting of its new volumes."),
    ("anti_ransomware_default_volume_state", text(32), "a setting of its new volumes."),
    ("storage.limit", _BYTES, "the limit in bytes."),
    ("storage.limit_threshold_alert", integer(0, 100), "the part of the limit that is announced, in percent."),
    *((f"{protocol}.allowed", BOOLEAN, "whether it may be served.") for protocol in _PROTOCOLS),
)
"""Names, types and meanings."""

_BY_NAME: Final = {"ipspace", "snapshot_policy"}
"""Those that Ansible's ``na_ontap_svm`` sends as texts."""

_DEFAULTS: Final = {"comment": "", "language": "c.utf_8", "max_volumes": "unlimited"}
"""What ONTAP shows while nothing is stated. Ansible changes only what is shown."""


def _stated(name: str, default: Any) -> Callable[[Any], Any]:
    return lambda view: view.stated.get(name, default)


def _kept(name: str, type_: Type, help_: str, given: Type | None = None) -> Field:
    """Return a field that is stored and shown again."""
    group, _, member = name.rpartition(".")
    get = methodcaller("get", member) if group else _stated(name, _DEFAULTS.get(name))
    return Field(name=name, type=type_, help=f"Kept and shown: {help_}", get=get, given=given, post=True, patch=True)


STATED: Final[tuple[Field | Group, ...]] = (
    *(
        Group(name=name, help=f"Kept and shown: {help_}", get=_stated(name, shown), by_name=name in _BY_NAME)
        for name, shown, help_ in _GROUPS
    ),
    Group(name="aggregates", help="Kept and shown: its aggregates.", get=_stated("aggregates", ()), many=True),
    _kept("aggregates.name", text(255), "an aggregate's name."),
    _kept("aggregates.uuid", UUID, "an aggregate's identifier."),
    *(_kept(name, type_, help_) for name, type_, help_ in _FIELDS),
    *(
        _kept(f"{protocol}.enabled", BOOLEAN, "only ``false``, because nothing is served here.", given=_OFF)
        for protocol in _PROTOCOLS
    ),
)
