"""A script that runs a program and ends all of it when standard input ends: ``watched.py COMMAND...``.

Whoever started the script holds the other end of that pipe. So nothing is left when a test is killed: neither the
program, nor what it started, in whatever session. The script writes the program's process id to standard output and
passes the program's output on to standard error. It ends when no process is left, with the program's exit status.
Standard library only, for Linux.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

_BECOME_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h: orphans below this process become its children


def main() -> None:
    """Run the program of the command line."""
    ctypes.CDLL(None).prctl(_BECOME_SUBREAPER, 1, 0, 0, 0)
    # Its input never ends while it runs, because some servers close their connections at the end of theirs.
    program = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=sys.stderr, start_new_session=True)
    print(program.pid, flush=True)
    threading.Thread(target=_end_with_input, daemon=True).start()
    status = 0
    with suppress(ChildProcessError):  # no process is left
        while True:
            ended, how = os.wait()
            if ended == program.pid:
                status = os.waitstatus_to_exitcode(how)
    os._exit(status if status >= 0 else 128 - status)


def _end_with_input() -> None:
    """Kill all processes below this one, again and again, once standard input has ended."""
    while os.read(0, 4096):
        pass
    while True:
        for each in below(os.getpid()):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        time.sleep(0.01)


def below(ancestor: int) -> list[int]:
    """Return the processes that this one started, and those that they started; of a script, all that it watches."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [ancestor]
    for each in found:
        found.extend(children.get(each, []))
    return found[1:]


if __name__ == "__main__":
    main()
