"""The examples in the docstrings of netapp-ontap, read from the installed package.

Three forms are read: a block of Python, often with what it prints; a call of curl with its answer; and a request as a
method, a path and a body.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from netapp_ontap import resources
from netapp_ontap.resource import Resource

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_PYTHON = re.compile(
    r'^```python\n(?P<text>.*?)^```\n(?:<div class="try_it_out">\n(?:<[^\n]*\n)+```\n(?P<printed>.*?)^```)?',
    re.MULTILINE | re.DOTALL,
)
_CURL = re.compile(
    r"^curl -X (?P<method>[A-Z]+) (?P<quote>['\"])https://<mgmt-ip>(?P<path>[^\n]*?)(?P=quote)[^\n]*\n"
    r"# The response:\n(?P<printed>.*?)(?=^```|\Z)",
    re.MULTILINE | re.DOTALL,
)
_REQUEST = re.compile(r"^ *(?P<text>(?:GET|POST|PATCH|DELETE) \"?/.*)$", re.MULTILINE)
_HEADING = re.compile(r"^##+ (.*)$|^ *(?:\*|-|\d+\.) +(.*)$", re.MULTILINE)
_PATH = re.compile(r'^    _path = "(/api/.*)"$', re.MULTILINE)
_PLACEHOLDER = re.compile(r"\{[^}]*\}")


@dataclass(frozen=True)
class Example:
    """An instruction of a docstring: ``text`` is Python, or a request in one line; ``printed`` is its output."""

    module: str
    name: str
    text: str
    printed: str = ""

    @property
    def is_request(self) -> bool:
        """Return True for a request, False for Python."""
        return "\n" not in self.text


def documented(paths: Collection[str]) -> list[str]:
    """Return the modules of the client's resources whose path is one of these, whatever its parameters are called."""
    served = {_PLACEHOLDER.sub("{}", path) for path in paths}
    return sorted(
        file.stem
        for file in Path(resources.__file__).parent.glob("*.py")
        if any(_PLACEHOLDER.sub("{}", path) in served for path in _PATH.findall(file.read_text()))
    )


def examples(module: str) -> list[Example]:
    """Return all examples of a module, each with a name of its own."""
    imported = import_module(f"netapp_ontap.resources.{module}")
    found = [*_blocks(module, imported.__doc__ or "")]
    for _, resource in inspect.getmembers(imported, inspect.isclass):
        if issubclass(resource, Resource) and resource.__module__ == imported.__name__:
            found += _requests(module, resource)
    return list(_named_apart(found))


def _blocks(module: str, document: str) -> Iterator[Example]:
    """Find Python and curl in a module's docstring."""
    matches = [*_PYTHON.finditer(document), *_CURL.finditer(document)]
    for match in sorted(matches, key=re.Match.start):
        parts = match.groupdict()
        text = parts.get("text") or f"{parts['method']} {parts['path']}"
        yield Example(module, _heading(document, match.start()), text, parts["printed"] or "")


def _requests(module: str, resource: type) -> Iterator[Example]:
    """Find requests in the docstrings of a class's methods; several methods print the same ones."""
    seen: set[str] = set()
    for method, function in inspect.getmembers(resource, callable):
        document = inspect.getdoc(function) or ""
        for match in _REQUEST.finditer(document):
            if match["text"] not in seen:
                seen.add(match["text"])
                heading = _heading(document, match.start())
                yield Example(module, method if heading.startswith("Example") else heading, match["text"])


def _heading(document: str, end: int) -> str:
    """Return the last heading, or point of a list, before a place in a docstring."""
    (heading, point) = _HEADING.findall(document, 0, end)[-1]
    name: str = (heading or point).strip().rstrip(".:")
    return name


def _named_apart(found: list[Example]) -> Iterator[Example]:
    """Number those after the first that have the same name."""
    numbers: Counter[str] = Counter()
    for example in found:
        numbers[example.name] += 1
        number = numbers[example.name]
        yield example if number == 1 else replace(example, name=f"{example.name} ({number})")
