"""Names that a shell completes, read from the service. Each option says which by a finder.

Completion is silent. It never asks for a password, prints no error, and gives up after a fraction of a second.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

from keystead.cli.client import Api, exactly
from keystead.cli.login import read_login

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import click

    Parameters = Mapping[str, Any]
    Finder = Callable[[Api, Parameters, str], Sequence[str]]
    Completer = Callable[[click.Context, click.Parameter, str], list[str]]

LIMIT_S = 0.7  # of the second that people wait; starting the command takes the rest
MOST = "200"
_PLAIN = re.compile(r"[\w.:@/+\[\]-]+", re.ASCII)
"""A name that means itself in every shell. Others are left out: a shell would run a tenant's ``$(...)``."""


def names_from(find: Finder, *, many: bool = False) -> Completer:
    """Return a function for an option's ``shell_complete``. ``many`` is True for a list with commas."""

    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        before, comma, begun = incomplete.rpartition(",") if many else ("", "", incomplete)
        found = _within_limit(find, context.params, begun)
        return [f"{before}{comma}{name}" for name in found if name.startswith(begun) and _PLAIN.fullmatch(name)]

    return complete


def _within_limit(find: Finder, parameters: Parameters, begun: str) -> Sequence[str]:
    """Return what is found in time, or nothing.

    A thread looks, because nothing else ends a look-up of a name or a slow answer. It does not keep the process alive.
    """
    found: list[str] = []

    def look() -> None:
        try:
            found.extend(_found(find, parameters, begun))
        except Exception:  # noqa: BLE001 - whatever it is, the person at the prompt did not ask for it
            return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    return [] if thread.is_alive() else found


def _found(find: Finder, parameters: Parameters, begun: str) -> Sequence[str]:
    login = read_login(*(parameters.get(name) for name in ("url", "user", "ca", "profile")))
    if login.password is None:
        return ()
    with Api(login, timeout_s=LIMIT_S) as service:
        return find(service, parameters, begun)


def svms(service: Api, _: Parameters, begun: str) -> list[str]:
    """Return the names of SVMs."""
    return beginning(service, "/svm/svms", begun)


def beginning(service: Api, path: str, begun: str, **wanted: str) -> list[str]:
    """Return the names in a collection that begin so."""
    name = f"{exactly(begun)}*" if begun else "*"
    answer = service.call("GET", path, fields="name", order_by="name", max_records=MOST, name=name, **wanted)
    return [record["name"] for record in answer["records"]]
