"""The tree of commands: quick to start, with help everywhere."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from keystead import __version__
from keystead.cli.main import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAVY = {"sqlalchemy", "alembic", "starlette", "uvicorn", "uvloop", "cryptography", "argon2", "structlog", "rich"}

MAY_BE_EMPTY = {"modify-server username", "modify-server tls_server_name", "create comment", "modify comment"}


def commands(
    command: click.Command = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every group and command with the words that lead to it."""
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), name)
            assert found is not None
            yield from commands(found, (*path, name))


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "importtime", "-m", "keystead", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("security", "key-manager", "external", "--help"), ("security", "certificate", "show", "-o", "x")],
    ids=["help", "help of a group", "usage error"],
)
def test_starting_imports_little(arguments: tuple[str, ...]) -> None:
    """What only the service needs is not imported to say how the command is used."""
    imported = {
        line.rsplit("|", 1)[1].strip().partition(".")[0] for line in _run(*arguments).stderr.splitlines() if "|" in line
    }
    assert "click" in imported
    assert imported & HEAVY == set()


@pytest.mark.parametrize(
    "group",
    [
        path
        for path, command in commands()
        if isinstance(command, click.Group) and not command.invoke_without_command  # `demo` runs without a command
    ],
    ids=" ".join,
)
def test_help(group: tuple[str, ...]) -> None:
    """A group without a command, and -h, print its help."""
    asked = subprocess.run([sys.executable, "-m", "keystead", *group, "-h"], capture_output=True, text=True, check=True)
    bare = subprocess.run([sys.executable, "-m", "keystead", *group], capture_output=True, text=True, check=False)
    assert "Commands:" in asked.stdout
    assert (bare.returncode, bare.stdout + bare.stderr) == (2, asked.stdout)


@pytest.mark.parametrize(
    ("path", "group"),
    [(path, command) for path, command in commands() if isinstance(command, click.Group)],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_list_of_commands_is_not_cut(path: tuple[str, ...], group: click.Group) -> None:
    """At 80 columns it holds the whole first sentence of each command's help."""
    context = click.Context(group, info_name=" ".join(("keystead", *path)), terminal_width=80)
    _, _, listed = group.get_help(context).partition("Commands:\n")
    words = " ".join(listed.split())
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        assert command.help is not None
        sentence = " ".join(command.help.partition("\n\n")[0].split()).partition(". ")[0]
        assert f"{name} {sentence}" in words
    assert "..." not in listed
    assert max(map(len, listed.splitlines())) <= 80


@pytest.mark.parametrize(
    ("path", "command"),
    [(path, command) for path, command in commands() if not isinstance(command, click.Group)],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_every_command_shows_an_example(path: tuple[str, ...], command: click.Command) -> None:
    """One line that can be typed: it begins with the command, and its options exist."""
    assert command.help is not None
    _, found, example = command.help.partition("Example: ")
    assert found, path
    words = shlex.split(example.replace("\n", " "))
    if path != ("completion",):
        assert words[: len(path) + 1] == ["keystead", *path[:-1], command.name]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize(
    ("path", "command"),
    [(path, command) for path, command in commands() if not isinstance(command, click.Group)],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_nothing_is_meant_by_an_empty_text(path: tuple[str, ...], command: click.Command) -> None:
    """A script's variable that is not set selects nothing: no SVM, no file, no key; but for what may be empty."""
    for parameter in command.params:
        may_be = f"{path[-1]} {parameter.name}" in MAY_BE_EMPTY
        if may_be or getattr(parameter, "is_flag", False):
            continue
        words = ["--", ""] if isinstance(parameter, click.Argument) else [parameter.opts[-1], ""]
        with pytest.raises(click.UsageError, match=r"^(--)?[^ ]+ is empty: is a variable not set\?$"):
            command.make_context(" ".join(path), words)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    """The script of each shell; what it calls completes commands and flags."""
    script = subprocess.run(
        [sys.executable, "-m", "keystead", "completion", shell], capture_output=True, text=True, check=True
    ).stdout
    assert "_KEYSTEAD_COMPLETE" in script
    asked = {"COMP_WORDS": "keystead security key-manager external add", "COMP_CWORD": "4"}
    environment = os.environ | {"_KEYSTEAD_COMPLETE": "bash_complete"} | asked
    done = subprocess.run(
        [sys.executable, "-m", "keystead"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "plain,add-servers\n"


def test_version() -> None:
    """The version alone on its line."""
    done = subprocess.run([sys.executable, "-m", "keystead", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{__version__}\n"
