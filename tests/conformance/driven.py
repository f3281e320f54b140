"""Which public methods of a client's resource class a block of code calls: all of them, or the block fails."""

from __future__ import annotations

import contextlib
import functools
import inspect
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netapp_ontap.resource import Resource


def public_names(resource: type[Resource]) -> set[str]:
    """The public methods and properties of a class, inherited ones too."""
    names = {name for name in dir(resource) if not name.startswith("_")}
    return {name for name in names if callable(member := inspect.getattr_static(resource, name)) or _descriptor(member)}


@contextlib.contextmanager
def expect_every_method(resource: type[Resource]) -> Iterator[None]:
    """Fail at the end of the block if one of the class's public methods or properties was not used in it."""
    used: set[str] = set()
    names = public_names(resource)
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(resource, name, _noting(name, inspect.getattr_static(resource, name), used))
        yield
    unused = sorted(names - used)
    assert not unused, unused


def _descriptor(member: Any) -> bool:
    return isinstance(member, (classmethod, staticmethod, property))


def _noting(name: str, member: Any, used: set[str]) -> Any:
    """The same member, which notes that it was used."""

    def noted(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            used.add(name)
            return function(*args, **kwargs)

        return run

    if isinstance(member, property):
        assert member.fget is not None
        return property(noted(member.fget))
    return type(member)(noted(member.__func__)) if _descriptor(member) else noted(member)
