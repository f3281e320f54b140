"""``python -m tests.peers.small_steps LEASE_S ...`` is the ``keystead`` command with steps of one key.

Without them a job of a few keys would have one step. ``LEASE_S`` is the length of leases in seconds; 0 leaves it as it
is.
"""

from __future__ import annotations

import sys
from datetime import timedelta

from keystead.cli.main import main
from keystead.service.cluster.leases import Leases
from keystead.service.keys.guarding import pages
from keystead.service.keys.reporting.jobs import VerificationJobs

if __name__ == "__main__":
    lease_s = float(sys.argv.pop(1))
    if lease_s:
        Leases.__init__.__defaults__ = (timedelta(seconds=lease_s),)
    VerificationJobs.__init__.__kwdefaults__ = {"keys_per_read": 1}
    pages.PAGE = 1  # type: ignore[misc]
    main()
