"""scripts.generate_docs: the reference pages hold everything, and their links lead somewhere."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from keystead.core.errors import ADVICE, NOT_RAISED, TABLE, probe_reasons
from keystead.core.errors.key_reasons import WORDS
from keystead.core.keys import reading
from keystead.keyservers import failures
from keystead.service.keys.guarding import showing as copy_showing
from keystead.service.keys.looking import verify as copy_proving
from keystead.service.keys.reading import fetch as key_fetching
from keystead.service.keys.writing import attempt_runner as attempt_work
from keystead.service.keys.writing import copies as key_copying
from keystead.service.ports.objects import NO_FREE_CONNECTION
from keystead.settings import Settings
from scripts.generate_docs import (
    OF_THE_LIVES,
    PAGES,
    PICTURES,
    REFERENCE,
    cli_page,
    errors_page,
    picture,
    reasons_page,
    settings_page,
    with_pictures,
)

LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")


def test_every_error_is_listed_with_what_to_do() -> None:
    """Each row of the table; advice is about rows that there are; what is never raised has its reason."""
    page = errors_page()
    assert page.count("\n| ") == len(TABLE) + len(NOT_RAISED) + 2
    assert set(ADVICE) <= set(TABLE)
    lines = page.splitlines()
    for kind in TABLE:
        cells = (str(kind.code), str(kind.status), kind.text, kind.cause, ADVICE.get(kind, ""))
        assert f"| {' | '.join(cell.replace('|', chr(92) + '|').replace('<', '&lt;') for cell in cells)} |" in lines


def test_every_reason_has_its_advice() -> None:
    """Each row of the table of failures."""
    page = reasons_page()
    for row in failures.TABLE:
        assert f"| `{row.reason}` | {row.error.code} | " in page
    assert {row.reason for row in failures.TABLE} <= probe_reasons.ADVICE.keys()


def test_every_reason_about_keys_is_listed() -> None:
    """Those that the use cases say, by their own names; none stands in both tables."""
    said = {
        *(
            outcome.reason
            for outcome in (copy_proving.OTHER_MATERIAL, copy_proving.NOT_IN_TIME, copy_proving.NO_CANARY)
        ),
        *(outcome.reason for outcome in (copy_proving.UNREAD, copy_proving.UNSETTLED)),
        *(key_fetching.UNUSABLE, reading.AVOIDED, NO_FREE_CONNECTION),
        *(reading.UNSETTLED, reading.DETACHED),
        *(attempt_work.NOT_REACHED, attempt_work.LENGTH_NOT_SUPPORTED, key_copying.EXPIRED, key_copying.OVERTAKEN),
    }
    assert said <= WORDS.keys()
    assert not WORDS.keys() & probe_reasons.ADVICE.keys()
    page = reasons_page()
    assert f" stage `{copy_showing.STAGE}` " in page
    for reason, word in WORDS.items():
        assert f"\n| `{reason}` | {word.meaning} | {word.advice} |\n" in page


def test_every_setting_and_command_is_listed() -> None:
    """Each field of the settings; each command down to the last."""
    for setting in fields(Settings):
        assert f"| `{setting.name}` |" in settings_page()
    page = cli_page()
    for command in ("init", "serve", "kmip probe", "security key-manager external add-servers", "security audit show"):
        assert f"\n## keystead {command}\n" in page


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    """Files exist, and what stands after ``#`` is a heading."""
    for file, heading in LINK.findall(PAGES[name]()):
        path = Path(REFERENCE, file or name)
        assert path.exists(), file
        headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
        assert not heading or heading in {
            re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings
        }


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_shows_every_transition(name: str) -> None:
    """Each reason is an arrow to its state, from one state or from the shared node."""
    shown = picture(PICTURES[name])
    for before, after, why in PICTURES[name]:
        source = "new" if before is None else before.value
        arrow = f'-->|"{why}"| {after.value}\n'
        row = rf"^\| .*\b{source}\b.* \| {after.value} \| {re.escape(why)} \|$"
        assert f"    {source} {arrow}" in shown or (
            f"    later {arrow}" in shown and re.search(row, shown, re.MULTILINE)
        )


def test_pictures_are_renewed_between_their_markers() -> None:
    """What stands there is replaced, the rest stays; a page without markers is refused."""
    page = OF_THE_LIVES.read_text()
    old = page.replace(picture(PICTURES["life-of-a-key"]), "an older picture")
    assert with_pictures(old) == with_pictures(page)
    with pytest.raises(ValueError, match="life-of-a-key"):
        with_pictures("# Keys\n")
