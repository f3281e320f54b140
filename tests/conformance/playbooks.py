"""Real Ansible: ``ansible-playbook`` with the modules of ``netapp.ontap`` 23.2, as a process, against a real service.

It comes from an environment of its own, which ``./dev test --long`` makes and names in ``KEYSTEAD_ANSIBLE``. The
playbooks are those of ``ansible_plays/`` or of a page of the docs. Passwords go by a file, never by the command line.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.peers.keystead import Service

PLAYS = Path(__file__).parent / "ansible_plays"
SECONDS = 120


@dataclass(frozen=True)
class Outcome:
    """What a play came to: each task's result in order."""

    results: list[dict[str, Any]]

    @property
    def changed(self) -> int:
        """How many tasks changed something."""
        return sum(result["changed"] for result in self.results)

    @property
    def failures(self) -> list[str]:
        """The messages of the tasks that failed: one at most, since a failure ends the play."""
        return [result["msg"] for result in self.results if result.get("failed")]


@dataclass(frozen=True)
class Playbooks:
    """Runs playbooks against one service; what Ansible writes is in ``folder``."""

    service: Service
    folder: Path

    def run(self, steps: str, **variables: Any) -> Outcome:
        """Run steps of ``ansible_plays/``, or of a file by its whole path without ``.yml``, with these variables."""
        (outcome,) = self._run("play", steps, variables)
        return outcome

    def changes(self, steps: str, **variables: Any) -> int:
        """Run and return how many tasks changed something; none may fail."""
        outcome = self.run(steps, **variables)
        assert not outcome.failures, outcome.failures
        return outcome.changed

    def expect_change_once(self, steps: str, **variables: Any) -> None:
        """Check mode announces the changes and makes none, a run makes them all, the next has none to make."""
        outcomes = self.converge(steps, **variables)
        assert not any(outcome.failures for outcome in outcomes), outcomes
        announced, made, again = (outcome.changed for outcome in outcomes)
        assert announced > 0
        assert made == announced
        assert again == 0

    def converge(self, steps: str, **variables: Any) -> list[Outcome]:
        """Run in check mode, for real, and again. A failure ends it."""
        return self._run("converge", steps, variables)

    def _run(self, book: str, steps: str, variables: dict[str, Any]) -> list[Outcome]:
        """Run a playbook of ``ansible_plays/`` with these steps and variables."""
        ca = str(self.service.installation.data / "tls.crt")
        login = {"ca": ca, "port": self.service.port, "username": "admin", "password": PASSWORD}
        file = self.folder / "variables.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(login | {"steps": steps} | variables))
        return self.playbook(PLAYS / f"{book}.yml", "--extra-vars", f"@{file}")

    def info(self, subsets: Sequence[str], **variables: Any) -> dict[str, Any]:
        """Gather subsets; what came, by subset."""
        outcome = self.run("info", subsets=subsets, **variables)
        assert outcome.changed == 0
        assert not outcome.failures, outcome.failures
        (result,) = outcome.results
        gathered: dict[str, Any] = result["ontap_info"]
        return gathered

    def playbook(self, file: Path, *options: str) -> list[Outcome]:
        """Run a playbook as it is; what each of its plays came to."""
        done = subprocess.run(
            [str(_home() / "bin" / "ansible-playbook"), str(file), *options],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        assert done.returncode in {0, 2}, done.stdout + done.stderr  # 2: a task failed
        report = json.loads(done.stdout)
        return [Outcome([task["hosts"]["localhost"] for task in play["tasks"]]) for play in report["plays"]]

    def _environment(self) -> dict[str, str]:
        """Nothing of this process's environment: a user's Ansible settings stay out."""
        return {
            "PATH": f"{_home() / 'bin'}{os.pathsep}{os.defpath}",
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_PIPELINING": "true",  # modules are fed to Python, not copied first: quicker
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        }


def collection() -> Path:
    """The folder of the installed collection."""
    (folder,) = _home().glob("lib/python3*/site-packages/ansible_collections/netapp/ontap")
    return folder


def _home() -> Path:
    """The environment that has Ansible; an assertion without it, since a test that was asked for does not skip."""
    folder = os.environ.get("KEYSTEAD_ANSIBLE", "")
    assert folder, "KEYSTEAD_ANSIBLE names no environment with Ansible: ./dev test --long makes one"
    return Path(folder)
