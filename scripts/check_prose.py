"""Check that docs and docstrings are plain: short sentences, and functions that say first what they do.

Two limits: no sentence has more than 30 words, and the mean of each part (docs, docstrings) is at most 17. A
function's docstring begins with a verb; ruff's D401 knows verbs in the wrong form, this script knows other openings.
Code blocks, tables and generated pages do not count. Run it with paths to see only those.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 30
MEAN = 17
GENERATED = {"tags.py", "enums.py", "api.md", "cli.md", "errors.md", "reasons.md", "settings.md"}
NOT_A_VERB = frozenset(
    [
        "a",
        "an",
        "all",
        "and",
        "another",
        "any",
        "as",
        "at",
        "both",
        "by",
        "each",
        "every",
        "for",
        "from",
        "how",
        "if",
        "in",
        "it",
        "its",
        "most",
        "no",
        "nobody",
        "none",
        "nor",
        "nothing",
        "of",
        "on",
        "one",
        "only",
        "or",
        "other",
        "several",
        "some",
        "such",
        "that",
        "the",
        "their",
        "there",
        "these",
        "they",
        "this",
        "those",
        "to",
        "two",
        "what",
        "whatever",
        "when",
        "where",
        "whether",
        "which",
        "who",
        "whoever",
        "whom",
        "whose",
        "why",
        "with",
        "without",
    ]
)
_ABBREVIATIONS = re.compile(r"\b(e\.g|i\.e|etc|vs|cf|approx)\.|(?<=\d)\.(?=\d)")
_SENTENCE_END = re.compile(r"(?<=[.!?])[)\"'*`]*\s+(?=[\"'(*`]*[A-Z0-9`*])|\n\s*\n|\n\s*(?=[-*] |\d+\. )")
_ROLE = re.compile(r":\w+:`~?([^`]*)`")


class Sentence(NamedTuple):
    """One sentence, and where it stands."""

    path: Path
    line: int
    text: str

    @property
    def words(self) -> int:
        """Count its words; a piece of code is one."""
        text = re.sub(r"``[^`]*``|`[^`]*`|\[([^\]]*)\]\([^)]*\)", lambda found: found.group(1) or "code", self.text)
        return len(re.findall(r"[^\W_][\w'./:-]*", text))


def sentences(text: str) -> list[str]:
    """Split prose into sentences; paragraphs and list items end one."""
    text = _ROLE.sub(r"`\1`", _ABBREVIATIONS.sub(lambda found: found.group(0).replace(".", "·"), text))
    return [" ".join(part.split()) for part in _SENTENCE_END.split(text) if part and part.strip(" -*#")]


def docstrings(path: Path) -> Iterator[tuple[ast.AST, int, str]]:
    """Yield every docstring of a file, those below assignments too: its owner, its line and its text."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        for before, each in (
            zip([None, *getattr(node, "body", [])], getattr(node, "body", []), strict=False)
            if isinstance(getattr(node, "body", None), list)
            else ()
        ):
            if (
                isinstance(each, ast.Expr)
                and isinstance(each.value, ast.Constant)
                and isinstance(each.value.value, str)
            ):
                yield (before or node), each.lineno, each.value.value


def of_python(path: Path) -> tuple[list[Sentence], list[str]]:
    """Return the sentences of a Python file's docstrings, and what is wrong with their openings."""
    found, wrong = [], []
    for owner, line, text in docstrings(path):
        found += [Sentence(path, line, each) for each in sentences(text)]
        first = re.match(r"\W*(\w+)", text)
        is_function = isinstance(owner, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_property(owner)
        if is_function and first and first.group(1).lower() in NOT_A_VERB:
            wrong.append(f"{path.relative_to(ROOT)}:{line}: begins with {first.group(1)!r}, not with a verb")
    return found, wrong


def _is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("property" in ast.unparse(each) for each in node.decorator_list)


def of_markdown(path: Path) -> list[Sentence]:
    """Return the sentences of a page."""
    text = re.sub(
        r"^(```|~~~).*?^\1",
        lambda found: "\n" * found.group(0).count("\n"),
        path.read_text(),
        flags=re.MULTILINE | re.DOTALL,
    )
    text = re.sub(r"^(\||#|<).*$", "", text, flags=re.MULTILINE)
    found, line = [], 1
    for paragraph in re.split(r"(\n\s*\n)", text):
        found += [Sentence(path, line, each) for each in sentences(paragraph)]
        line += paragraph.count("\n")
    return found


def main() -> None:
    """Print what is wrong, and the mean of each part; exit with 1 if anything is."""
    given = [Path(each).resolve() for each in sys.argv[1:]] or [ROOT / "src", ROOT / "docs", *ROOT.glob("[A-Z]*.md")]
    files = sorted(file for path in given for file in (path.rglob("*") if path.is_dir() else [path]))
    files = [file for file in files if file.name not in GENERATED and "migrations/versions" not in str(file)]
    problems: list[str] = []
    parts: dict[str, list[Sentence]] = {"docstrings": [], "docs": []}
    for file in files:
        if file.suffix == ".py":
            found, wrong = of_python(file)
            parts["docstrings"] += found
            problems += wrong
        elif file.suffix == ".md":
            parts["docs"] += of_markdown(file)
    for found in parts.values():
        problems += [
            f"{each.path.relative_to(ROOT)}:{each.line}: {each.words} words: {each.text[:80]}"
            for each in found
            if each.words > LONGEST
        ]
    print(*problems, sep="\n")
    failed = bool(problems)
    for name, found in parts.items():
        if found:
            mean = sum(each.words for each in found) / len(found)
            failed = failed or mean > MEAN
            print(f"{name}: {len(found)} sentences, mean {mean:.1f} words (at most {MEAN})")
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
