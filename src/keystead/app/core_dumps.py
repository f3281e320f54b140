"""Forbids core dumps of a process that holds key material, and debugging by other processes of our user.

Linux's ``PR_SET_DUMPABLE`` (prctl(2)) also covers core dumps that are piped to a program. A limit of 0 does not.
"""

from __future__ import annotations

import ctypes
import resource
import sys

PR_SET_DUMPABLE = 4


def forbid() -> None:
    """Forbid core dumps of this process, for good. Raises OSError if the kernel refuses that."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")
