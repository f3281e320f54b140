"""The examples of pages, without a browser."""

from __future__ import annotations

from tests.web.browser.world import EXAMPLES, PATHS


def test_each_page_with_parameters_has_an_example() -> None:
    """A new page whose path has parameters needs a row in ``EXAMPLES``."""
    assert {path for path in PATHS if "{" in path} == set(EXAMPLES)
