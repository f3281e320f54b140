"""What one measurement says."""

from __future__ import annotations

from typing import Any, NamedTuple


class Row(NamedTuple):
    """A value with its unit and budget (None: only watched); ``better`` is ``higher`` or ``lower``."""

    value: float
    unit: str
    budget: float | None
    better: str
    against: str

    @property
    def within(self) -> bool | None:
        """Return True if the budget is met; None without one."""
        if self.budget is None:
            return None
        return self.value >= self.budget if self.better == "higher" else self.value <= self.budget

    def as_json(self) -> dict[str, Any]:
        """Return the row as ``./dev bench -o json`` prints it."""
        return {**self._asdict(), "value": round(self.value, 4)}
