"""The real clocks of a process."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

DAY_S = 86_400
AS_AFTER_A_SUSPEND = ("unshare", "--time", "--boottime", str(DAY_S), "--fork")
"""In this namespace a day more has passed since the boot than by the clock that stands still in a suspend."""

PASSED = "import time; from keystead.app.clock import SystemClock; print(SystemClock().monotonic() - time.monotonic())"


def test_time_passes_while_the_machine_is_suspended() -> None:
    """So a lease that ended meanwhile is not used when the machine goes on, and no key is read beyond a limit."""
    can = shutil.which("unshare") and subprocess.run([*AS_AFTER_A_SUSPEND, "true"], check=False, capture_output=True)
    if not can or can.returncode:
        pytest.skip("the kernel lets this user make no namespace of time")
    ended = subprocess.run([*AS_AFTER_A_SUSPEND, sys.executable, "-c", PASSED], check=True, capture_output=True)
    assert float(ended.stdout) > DAY_S - 60
