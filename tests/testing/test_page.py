"""The page for tests of other programs, and the README's example, as readers run them: from the installed wheel."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from keystead.testing.faults import FAULTS
from keystead.testing.service import SETTINGS
from tests.cli import pages
from tests.peers.processes import free_port
from tests.testing.installed import ROOT, install, outside, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAGE = "how-to/test-against-keystead.md"
TEXT = (pages.DOCS / PAGE).read_text()
ANSIBLE = "Ansible"
FOR_ANSIBLE = ("A shell, or any language", ANSIBLE, "The end of the demo")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the programs of an environment that has the wheel."""
    return install(tmp_path_factory.mktemp("installed"))


def follow(programs: Path, folder: Path, wanted: Callable[[str], bool], *, path: str = "") -> pages.Outcome:
    """Run the blocks under the headings that are wanted, in a folder outside the checkout."""
    taken = [
        block.script
        for block in pages.blocks(PAGE, free_port())
        if wanted(block.heading) and (block.file or block.language in pages.PASTED)
    ]
    environment = outside() | {"PATH": f"{programs}{os.pathsep}{path}{os.environ['PATH']}", "HOME": str(folder)}
    return pages.run("set -eu -o pipefail\n" + "".join(taken), folder, environment)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl")
def test_the_page(programs: Path, tmp_path: Path) -> None:
    """Every block but Ansible's ends well; the demo leaves nothing; the tests of its files have run."""
    ended = follow(programs, tmp_path, lambda heading: heading != ANSIBLE)
    assert ended.status == 0, ended.out + ended.err
    assert re.search(r"^=+ 2 passed", ended.out, re.MULTILINE), ended.out
    assert "Ran 1 test in" in ended.err
    assert ended.err.rstrip().splitlines()[-1] == "OK", ended.err
    assert re.search(r"reason server_certificate_expired", ended.out + ended.err)
    assert "ks2 is sound" in ended.out
    assert not (tmp_path / "demo").exists()
    exported = re.findall(r"^export (\w+)=", (tmp_path / "demo.out").read_text(), re.MULTILINE)
    assert {"KEYSTEAD_URL", "KEYSTEAD_USER", "KEYSTEAD_PASSWORD_FILE", "KEYSTEAD_CA", "KS4"} <= set(exported)


@pytest.mark.long
def test_ansible(programs: Path, tmp_path: Path) -> None:
    """Its playbook makes four things in the demo; the second time there is nothing to make."""
    home = os.environ.get("KEYSTEAD_ANSIBLE", "")
    assert home, "KEYSTEAD_ANSIBLE names no environment with Ansible: ./dev test --long makes one"
    ended = follow(programs, tmp_path, FOR_ANSIBLE.__contains__, path=f"{home}/bin{os.pathsep}")
    assert ended.status == 0, ended.out + ended.err
    recaps = re.findall(r"ok=(\d+) +changed=(\d+) .*failed=(\d+)", ended.out)
    assert recaps == [("4", "4", "0"), ("4", "0", "0")], ended.out


def test_the_readme(programs: Path, tmp_path: Path) -> None:
    """Its example is a whole test file for the installed wheel, which is imported. The plugin can be left out."""
    (example,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "test_example.py").write_text(
        f"{example}\n\ndef test_where():\n    import keystead\n    print(keystead.__file__)\n"
    )
    done = run([str(programs / "python"), "-m", "pytest", "-rA", "test_example.py"], tmp_path)
    assert "2 passed" in done
    assert re.search(rf"^{re.escape(str(programs.parent))}/lib/.*/keystead/__init__.py$", done, re.MULTILINE), done
    plugins = [str(programs / "python"), "-m", "pytest", "--fixtures", "test_example.py"]
    assert "fresh_keystead" in run(plugins, tmp_path)
    assert "fresh_keystead" not in run([*plugins, "-p", "no:keystead"], tmp_path)


def test_the_page_has_all_faults() -> None:
    """Its table is that of the code: word, meaning, reason."""
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (?:`(\w+)`)? ?\|$", _under("Faults"), re.MULTILINE)
    assert rows == [(word, fault.meaning, fault.reason or "") for word, fault in FAULTS.items()]


def test_the_page_has_all_settings() -> None:
    """What the service of tests has set, and no more."""
    rows = re.findall(r"^\| `(\w+)` \| `(.*?)` \|", _under("How it differs from an installation"), re.MULTILINE)
    assert {f"KEYSTEAD_{name.upper()}": value for name, value in rows} == SETTINGS


def _under(heading: str) -> str:
    """Return the text of the page under a heading."""
    return TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
