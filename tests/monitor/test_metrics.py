"""The names of all metrics: a prefix, a help text, base units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from keystead import __version__
from keystead.monitor.families import FAMILIES

if TYPE_CHECKING:
    from tests.monitor.conftest import Node

OTHER_UNITS = {"ms", "milliseconds", "minutes", "hours", "days", "kb", "mb", "kilobytes", "megabytes", "percent"}
"""Units that are no base units of Prometheus (Prometheus documentation, "Metric and label naming")."""


async def test_names_and_units(node: Node) -> None:
    """As ``promtool check metrics`` wants them; release and process are shown, a backup only once it was made."""
    text = (await node.open.services.health.telemetry.exposition())[0].decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    shown = {f"{name}_total" if family.type == "counter" else name for name, family in families.items()}
    ours = {name for name in shown if not name.startswith("process_") and not name.endswith("_created")}
    assert ours == {each.name for each in FAMILIES}
    assert all(family.documentation for family in families.values())
    assert not [name for name in families if OTHER_UNITS & set(name.split("_"))]
    (build,) = families["keystead_build_info"].samples
    assert (build.labels, build.value) == ({"version": __version__}, 1.0)
    assert families["process_resident_memory_bytes"].samples[0].value > 0
    assert families["keystead_last_backup_timestamp_seconds"].samples == []
