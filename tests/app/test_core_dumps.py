"""A process that forbade core dumps leaves none, and still reaches its own open files."""

from __future__ import annotations

import subprocess
import sys

_CHILD = """
import ctypes, os, resource
from keystead.app import core_dumps
core_dumps.forbid()
file = os.memfd_create("key")
os.write(file, b"own")
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
print(open(f"/proc/self/fd/{file}").read())
"""


def test_a_process_forbids_its_core_dumps() -> None:
    """The limit is zero, the process is not dumpable, and private keys still reach OpenSSL by their descriptors."""
    done = subprocess.run([sys.executable, "-c", _CHILD], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["(0, 0) 0", "own"]
