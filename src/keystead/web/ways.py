"""The same as a form does, by other means: the command of the CLI, curl, and a task of Ansible."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.core.model import Svm
    from keystead.web.request import PageRequest

Ways = list[tuple[str, str]]
"""Pairs of a name and a text, as the macro ``same_by`` shows them."""


def command(*words: str, **options: str | None) -> str:
    """Return a command of the CLI. An option is left out if its value is empty; ``_`` in its name stands for ``-``."""
    given = [
        word for name, value in options.items() if value for word in (f"--{name.rstrip('_').replace('_', '-')}", value)
    ]
    return shlex.join(["keystead", *words, *given])


def vserver(svm: Svm | None) -> str | None:
    """Return the value of the option ``--vserver``: the name of an SVM, None for the cluster."""
    return svm.name if svm else None


def ways(request: PageRequest, cli: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> Ways:
    """Return the ways to make one call of the API: ``cli`` is the command, ``path`` that of the call.

    The command is empty if the CLI cannot do it.
    """
    by_cli = [("CLI", cli)] if cli else []
    return [*by_cli, ("curl", _curl(request, method, path, body)), ("Ansible", _task(method, path, body))]


def query_ways(request: PageRequest, cli: str, method: str, path: str, query: Mapping[str, str]) -> Ways:
    """Return the ways to make a call of the API that has parameters in its URL."""
    task = f"{_task(method, path, None)}\n    query: {json.dumps(query)}"
    return [("CLI", cli), ("curl", _curl(request, method, f"{path}?{urlencode(query)}", None)), ("Ansible", task)]


def _curl(request: PageRequest, method: str, path: str, body: Mapping[str, Any] | None) -> str:
    words = ["curl", "--user", request.caller.account, "--request", method]
    if body is not None:
        words += ["--header", "Content-Type: application/json", "--data", json.dumps(body)]
    return shlex.join([*words, f"https://{request.http.url.netloc}{path}"])


def _task(method: str, path: str, body: Mapping[str, Any] | None) -> str:
    """Return a task in YAML. Its values are JSON texts, which YAML can read as they are."""
    lines = [
        "- netapp.ontap.na_ontap_restit:",
        f"    api: {json.dumps(path.removeprefix('/api/'))}",
        f"    method: {method}",
    ]
    if body is not None:
        lines.append(f"    body: {json.dumps(body)}")
    return "\n".join(lines)
