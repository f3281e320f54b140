"""The stylesheet: one file for all pages, so that a class of one page must not change another page."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

WEB = Path(__file__).parents[2] / "src" / "keystead" / "web"
STYLES = re.sub(r"/\*.*?\*/", "", (WEB / "static" / "console.css").read_text(), flags=re.DOTALL)
OUTSIDE_MEDIA = re.sub(r"^@media.*?^\}", "", STYLES, flags=re.DOTALL | re.MULTILINE)


def test_each_class_has_one_rule() -> None:
    """Two pages with a class of one name would share their looks without wanting it."""
    counted = Counter(re.findall(r"^(\.[\w-]+) \{", OUTSIDE_MEDIA, re.MULTILINE))
    assert [name for name, times in counted.items() if times > 1] == []


def test_each_class_is_used() -> None:
    """By a template, by the script, or by a view model that chooses it; perhaps as a prefix and a value."""
    used = "\n".join(file.read_text() for kind in ("*.html", "*.js", "*.py") for file in WEB.rglob(kind))
    classes = set(re.findall(r"\.([a-z][\w-]*)", re.sub(r"\{[^{}]*\}", "", STYLES)))
    unused = [each for each in classes if not re.search(rf"\b{each}\b", used)]
    assert [each for each in unused if f"{each.partition('-')[0]}-{{{{" not in used] == []
