"""keystead.core.model: releases are compared and shown by number."""

from __future__ import annotations

from keystead.core.model import CustomRole, Release


def test_releases_are_ordered_by_number() -> None:
    """9.6 is older than 9.18, though its text sorts after it."""
    releases = [Release(9, 18, 1), Release(9, 6, 0), Release(10, 0, 0)]
    assert [str(each) for each in sorted(releases)] == ["9.6.0", "9.18.1", "10.0.0"]


def test_a_custom_role_has_a_value_as_built_in_roles_have() -> None:
    """Its name, also as text."""
    role = CustomRole("backup", None, ())
    assert (role.value, str(role)) == ("backup", "backup")
