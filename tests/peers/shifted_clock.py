"""``keystead`` where the clock is wrong: ``python -m tests.peers.shifted_clock SECONDS serve ...``.

The time of day is shifted for all that the service does by its clock. OpenSSL has the machine's.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from keystead.app.clock import SystemClock
from keystead.cli.main import main

if __name__ == "__main__":
    shift = timedelta(seconds=float(sys.argv.pop(1)))
    setattr(SystemClock, "now", lambda _: datetime.now(UTC) + shift)  # noqa: B010 - mypy allows no other way
    main()
