"""The declaration of a page: where it is, who may open it, and the function that makes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.responses import Response

    from keystead.web.request import PageRequest

Need = tuple[str, str]
"""A call of the API that an account must be allowed to make: method and path.

A name in braces stands for its value in the path of the page.
"""


@dataclass(frozen=True, slots=True)
class Page:
    """A page, or what a form on a page does (``POST``).

    ``needs`` are calls of the API: who may not make them may not open the page. So one table decides for both. What
    ``asks_password`` is done only if the password was shown lately; else it is asked for again.
    """

    path: str
    make: Callable[[PageRequest], Awaitable[Response]]
    needs: tuple[Need, ...] = ()
    method: str = "GET"
    asks_password: bool = False
