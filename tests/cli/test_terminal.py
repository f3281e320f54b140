"""The commands on a real (pseudo) terminal: prompts, colours, narrow windows, the keys that end them; and in pipes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.terminal import CTRL_C, CTRL_D, Terminal
from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.keystead import Installation

SHOW = ("keystead", "security", "certificate", "show")
NOTHING = (*SHOW, "--vserver", "nobody")
BOLD = "\x1b[1m"


@pytest.fixture
def asked(environment: dict[str, str]) -> dict[str, str]:
    """Return an environment without a password."""
    return {name: value for name, value in environment.items() if name != "KEYSTEAD_PASSWORD"}


def test_the_password_is_asked_for(folder: Path, asked: dict[str, str]) -> None:
    """On the terminal, without an echo."""
    with Terminal(NOTHING, folder, asked) as terminal:
        terminal.wait_for("Password of admin: ")
        terminal.type(f"{PASSWORD}\n")
        assert terminal.end() == 0
        assert PASSWORD not in terminal.screen
        assert "no records" in terminal.screen


def test_a_wrong_password_is_refused(folder: Path, asked: dict[str, str]) -> None:
    """And shown neither."""
    with Terminal(SHOW, folder, asked) as terminal:
        terminal.wait_for("Password of admin: ")
        terminal.type("open sesame\n")
        assert terminal.end() == 1
        assert "Error 6691623: User is not authorized." in terminal.screen
        assert "sesame" not in terminal.screen


def test_the_password_is_asked_for_while_output_goes_into_a_pipe(folder: Path, asked: dict[str, str]) -> None:
    """The prompt goes to the terminal, not into the file."""
    with Terminal(("bash", "-c", f"{' '.join(NOTHING)} -o json < /dev/null > out.json"), folder, asked) as terminal:
        terminal.wait_for("Password of admin: ")
        terminal.type(f"{PASSWORD}\n")
        assert terminal.end() == 0
    assert (folder / "out.json").read_text() == "[]\n"


@pytest.mark.parametrize(("again", "status"), [("another-horse-1", 0), ("another-horse-2", 2)])
def test_a_new_password_is_asked_for_twice(folder: Path, environment: dict[str, str], again: str, status: int) -> None:
    """Without an echo; two that differ make nothing."""
    create = ("keystead", "security", "login", "create", "--user-or-group-name", f"typed-{status}")
    with Terminal(create, folder, environment) as terminal:
        terminal.wait_for(f"New password of typed-{status}: ")
        terminal.type("another-horse-1\n")
        terminal.wait_for("The same again: ")
        terminal.type(f"{again}\n")
        assert terminal.end() == status
        assert ("the two passwords differ" in terminal.screen) is bool(status)
        assert "horse" not in terminal.screen


def test_what_takes_time_is_shown_on_a_terminal(folder: Path, environment: dict[str, str]) -> None:
    """Until it is done, or refused."""
    add = ("keystead", "security", "key-manager", "external", "add-servers", "--key-servers", "ks1.example")
    with Terminal(add, folder, environment, columns=120) as terminal:
        terminal.wait_for("probing ks1.example")
        assert terminal.end() == 1
        assert "Error: the cluster has no key manager" in terminal.screen


@pytest.mark.parametrize("key", [CTRL_C, CTRL_D], ids=["ctrl-c", "ctrl-d"])
def test_a_prompt_is_left(folder: Path, asked: dict[str, str], key: str) -> None:
    """Quietly, with the exit status of an interrupted command."""
    with Terminal(SHOW, folder, asked) as terminal:
        terminal.wait_for("Password of admin: ")
        terminal.type(key)
        assert terminal.end() == 130
        assert "Traceback" not in terminal.screen


@pytest.mark.parametrize(
    ("typed", "status", "said"), [("n\n", 1, "nothing was changed"), (CTRL_C, 130, ""), (CTRL_D, 130, "")]
)
def test_a_question_that_is_not_answered_with_yes(
    folder: Path, environment: dict[str, str], typed: str, status: int, said: str
) -> None:
    """No is a refusal, and says that it was one; Ctrl-C interrupts."""
    with Terminal(("keystead", "vserver", "delete", "--vserver", "nobody"), folder, environment) as terminal:
        terminal.wait_for("Delete SVM nobody? [y/N]: ")
        terminal.type(typed)
        assert terminal.end() == status
        assert said in terminal.screen


@pytest.fixture
def installed(folder: Path, environment: dict[str, str]) -> None:
    """Two certificates of the cluster, made once."""
    install = ("keystead", "security", "certificate", "install", "--type", "server_ca", "--cert", "kmip-ca.pem")
    for name in ("ca", "cb"):
        command = (*install, "--name", name)
        subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True)


@pytest.mark.usefixtures("installed")
def test_a_table_on_a_wide_terminal(folder: Path, environment: dict[str, str]) -> None:
    """One line per record, the heading bold unless NO_COLOR is set."""
    with Terminal(SHOW, folder, environment, columns=200) as terminal:
        assert terminal.end() == 0
        heading, record, *_ = terminal.screen.splitlines()
        assert heading.startswith(f"{BOLD}vserver")
        assert record.startswith("(cluster)")
    with Terminal(SHOW, folder, environment | {"NO_COLOR": "1"}, columns=200) as terminal:
        assert terminal.end() == 0
        assert "\x1b" not in terminal.screen


@pytest.mark.usefixtures("installed")
def test_a_table_on_a_narrow_terminal(folder: Path, environment: dict[str, str]) -> None:
    """Columns that do not fit are left out, and named on standard error."""
    with Terminal(("bash", "-c", f"{' '.join(SHOW)} 2> left-out"), folder, environment | {"NO_COLOR": "1"}) as terminal:
        assert terminal.end() == 0
    heading, *lines = terminal.screen.splitlines()
    assert heading.split()[:3] == ["vserver", "name", "type"]
    assert sorted(line.split()[:2] for line in lines) == [["(cluster)", "ca"], ["(cluster)", "cb"]]
    assert max(map(len, lines)) <= 80
    said = (folder / "left-out").read_text()
    assert said.startswith("columns left out at 80 columns: ")
    assert said.endswith("uuid; --output json or a wider terminal shows them\n")


PRINT = """from keystead.cli.output import print_records
import json, sys
records = json.loads(sys.argv[1])
print_records(records, list(records[0]), "table")"""
ID = "7" * 80
WORDS = "word " * 20


@pytest.mark.parametrize(
    ("records", "columns", "expected"),
    [
        pytest.param(
            [{"vserver": "vs0", "name": "vol1", "key_id": ID}, {"vserver": "vs0", "name": "v2", "key_id": ID}],
            80, ["vserver  name", "key_id", "vs0      vol1", ID, "vs0      v2", ID], id="an id below its line",
        ),
        pytest.param(
            [{"name": "a", "event": WORDS}, {"name": "b", "event": ""}],
            80, ["name", "event", "a", *[("word " * 16).strip(), ("word " * 4).strip()], "b"], id="words are not cut",
        ),
        pytest.param(
            [{"name": "a" * 30, "state": "b" * 30, "more": "c" * 30, "rest": "d"}],
            80, [f"name{' ' * 28}state", f"{'a' * 30}  {'b' * 30}",
                 "columns left out at 80 columns: more, rest; --output json or a wider terminal shows them"],
            id="from the end",
        ),
        pytest.param(
            [{"name": "a" * 30, "state": "b" * 60, "key_id": ID}],
            80, ["name", "key_id", "a" * 30, ID,
                 "columns left out at 80 columns: state; --output json or a wider terminal shows them"],
            id="beside an id",
        ),
        pytest.param([{"name": "a" * 30, "size": 1}], 20, [
            "name", "a" * 30, "columns left out at 20 columns: size; --output json or a wider terminal shows them",
        ], id="the first column stays"),
        pytest.param([{"csr": "a" * 81}], 80, ["csr", "a" * 81], id="one column"),
        pytest.param([{"a": "b" * 38, "c": "d" * 40}], 80, [f"a{' ' * 39}c", f"{'b' * 38}  {'d' * 40}"], id="it fits"),
    ],
)  # fmt: skip
def test_what_a_narrow_terminal_shows(
    folder: Path, environment: dict[str, str], records: list[dict[str, Any]], columns: int, expected: list[str]
) -> None:
    """A table whose lines are not cut. The terminal itself breaks a word that is too long."""
    command = (sys.executable, "-c", PRINT, json.dumps(records))
    with Terminal(command, folder, environment | {"NO_COLOR": "1"}, columns=columns) as terminal:
        assert terminal.end() == 0
    assert terminal.screen.splitlines() == expected


@pytest.mark.usefixtures("installed")
def test_a_reader_that_goes_away(folder: Path, environment: dict[str, str]) -> None:
    """A broken pipe ends the command without a word."""
    pipe = f"for i in 1 2 3; do {' '.join(SHOW)} -o json | true; done; sleep 0.1"
    done = subprocess.run(
        ["bash", "-c", pipe], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_init_shows_the_password_on_a_terminal_only(tmp_path: Path, environment: dict[str, str]) -> None:
    """Elsewhere it goes into a file that its owner can read."""
    command = ("keystead", "init", "--data", "data")
    with Terminal(command, tmp_path, environment) as terminal:
        assert terminal.end() == 0
        assert "account admin made, password: " in terminal.screen
    assert not (tmp_path / "data" / "admin.password").exists()
    piped = subprocess.run(
        (*command[:3], "other"), cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    file = tmp_path / "other" / "admin.password"
    assert (file.stat().st_mode & 0o777, file.read_text().strip() in piped.stdout) == (0o400, False)


def test_ctrl_c_ends_serve(installation: Installation) -> None:
    """As a stop that was asked for: exit status 0, no traceback."""
    command = installation.command("serve", "--listen", "127.0.0.1:0")
    with Terminal(command, installation.data.parent, installation.environment) as terminal:
        terminal.wait_for("listening on https://127.0.0.1:")
        terminal.type(CTRL_C)
        assert terminal.end() == 0
        assert "Traceback" not in terminal.screen
