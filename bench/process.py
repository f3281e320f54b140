"""Processes as a whole: how long ``serve`` takes to its first answer, what it holds at rest, what ``--help`` costs."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.row import Row
from tests.peers import keystead

STARTS = 5


def start() -> Row:
    """Wall time from starting ``serve`` on SQLite to its first answer."""
    times = []
    with tempfile.TemporaryDirectory() as name:
        installation = keystead.Installation(Path(name) / "data").init()
        for _ in range(STARTS):
            started = time.perf_counter()
            with installation.serving() as service, service.client() as call:
                call.get("/cluster")
                times.append(time.perf_counter() - started)
    return Row(statistics.median(times), "s", 1.2, "lower", "includes one password hash")


def memory() -> Row:
    """VmRSS of ``serve`` at rest, after its first answer."""
    with tempfile.TemporaryDirectory() as name:
        installation = keystead.Installation(Path(name) / "data").init()
        with installation.serving() as service, service.client() as call:
            call.get("/cluster")
            status = Path(f"/proc/{service.pid}/status").read_text()
    kibibytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    return Row(kibibytes / 1024, "MiB", 120, "lower", "VmRSS")


def command_line() -> Row:
    """CPU of ``keystead --help``."""
    times = []
    for _ in range(STARTS):
        before = _children_cpu()
        subprocess.run([*keystead.COMMAND, "--help"], check=True, stdout=subprocess.DEVNULL)
        times.append(_children_cpu() - before)
    return Row(statistics.median(times) * 1000, "ms", 150, "lower", "user and system time")


_FIRST_TEST = """
import sys, time
started = time.perf_counter()
from pathlib import Path
from keystead.testing.key_servers import KeyServers
from keystead.testing.ontap_client import connected
from keystead.testing.service import running
with running(Path(sys.argv[1])) as service, connected(service), KeyServers(4) as servers:
    service.create_svm(servers)
    print(time.perf_counter() - started)
"""


def plugin() -> Row:
    """Wall time of what the pytest plugin does before the first test with ``svm``, from its first import."""
    times = []
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory() as name:
            done = subprocess.run(
                [sys.executable, "-c", _FIRST_TEST, name], check=True, stdout=subprocess.PIPE, text=True
            )
            times.append(float(done.stdout))
    return Row(statistics.median(times), "s", 2, "lower", "service, client, four key servers, a key manager")


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


ROWS = {"serve_start": start, "serve_memory": memory, "command_line_cpu": command_line, "plugin_ready": plugin}
