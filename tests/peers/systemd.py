"""A real systemd with namespaces of its own: processes, mounts and control groups. It needs root.

``/etc`` and ``/var`` are copies that vanish with it, ``/run`` and ``/opt`` begin empty. The network is that of the
machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

SYSTEMD: Final = Path("/lib/systemd/systemd")
UNITS: Final = "/etc/systemd/system"
START_S: Final = 120
COMMAND_S: Final = 120

_NAMESPACES: Final = ("--mount", "--pid", "--ipc", "--uts", "--cgroup")
_BOOT: Final = f"""\
set -e
mount --make-rprivate /
umount --recursive /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs tmpfs /mnt
for folder in etc var; do
  mkdir "/mnt/$folder" "/mnt/$folder.work"
  mount -t overlay -o "lowerdir=/$folder,upperdir=/mnt/$folder,workdir=/mnt/$folder.work" overlay /$folder
done
# /dev/shm, too: RemoveIPC= of a service removes what its user has there.
for folder in run opt dev/shm {UNITS[1:]}; do mount -t tmpfs -o mode=755 tmpfs /$folder; done
mount --make-rshared /   # else no service sees its credentials
cp /lib/systemd/system/dbus.* /lib/systemd/system/sockets.target {UNITS}
printf '[Unit]\\nDefaultDependencies=no\\nRequires=dbus.socket\\n' > {UNITS}/default.target
printf '[Unit]\\nDefaultDependencies=no\\n' | tee {UNITS}/sysinit.target > {UNITS}/basic.target
export SYSTEMD_UNIT_PATH={UNITS} SYSTEMD_LOG_TARGET=console container=other
exec {SYSTEMD} --system --unit=default.target
"""


def missing() -> str:
    """Return what this machine lacks for it, or empty."""
    for program in ("unshare", "nsenter", "systemd-run", "dbus-daemon"):
        if shutil.which(program) is None:
            return program
    if not SYSTEMD.exists():
        return "systemd"
    tried = subprocess.run(
        ["unshare", *_NAMESPACES, "--fork", "mount", "-t", "cgroup2", "none", "/sys/fs/cgroup"],
        capture_output=True,
        check=False,
    )
    return "permission for namespaces of its own" if tried.returncode else ""


class Machine:
    """A running systemd."""

    def __init__(self, leader: int, log: Path) -> None:
        self._enter = ["nsenter", f"--target={leader}", "--mount", "--pid", "--ipc", "--uts", "--cgroup"]
        self._log = log

    def run(self, script: str) -> str:
        """Run a script of bash there, in the working directory of the caller; return what it prints."""
        done = subprocess.run(
            [*self._enter, f"--wd={Path.cwd()}", "bash", "-e", "-o", "pipefail", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=COMMAND_S,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{self._log.read_text()[-2000:]}"
        return done.stdout

    def write(self, name: str, text: str, mode: str = "644") -> None:
        """Write a file there, and make its folder."""
        self.run(f"mkdir -p {Path(name).parent}; cat > {name} <<'END'\n{text}\nEND\nchmod {mode} {name}")

    def shows(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run(f"systemctl show {unit} --property={name} --value").strip()

    def wait_for(self, unit: str, name: str, value: str) -> None:
        """Return when a property of a unit has a value."""
        end = time.monotonic() + COMMAND_S
        while (found := self.shows(unit, name)) != value:
            assert time.monotonic() < end, found
            time.sleep(0.1)


@contextlib.contextmanager
def booted(log: Path) -> Iterator[Machine]:
    """Boot a systemd that starts nothing. What it says is in ``log``."""
    with log.open("wb") as output:
        outer = subprocess.Popen(
            ["unshare", *_NAMESPACES, "--fork", "--kill-child", "--mount-proc", "bash", "-c", _BOOT],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        machine = Machine(_child_of(outer), log)
        end = time.monotonic() + START_S
        while "running" not in _state(machine):
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        yield machine
    finally:
        os.killpg(outer.pid, signal.SIGKILL)  # the kernel ends all processes of the namespace with its first one
        outer.wait()


def _child_of(outer: subprocess.Popen[bytes]) -> int:
    """Return the process that ``unshare`` forked."""
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    end = time.monotonic() + START_S
    while not (found := children.read_text().split()):
        assert outer.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    return int(found[0])


def _state(machine: Machine) -> str:
    with contextlib.suppress(AssertionError):
        return machine.run("systemctl is-system-running")
    return ""
