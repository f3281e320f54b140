"""keystead.core.console_paths: paths about one thing."""

from __future__ import annotations

from keystead.core.console_paths import key_server_path, survival_path


def test_what_stands_in_a_path_is_encoded() -> None:
    assert key_server_path("a/b", "[::1]:5696") == "/key-managers/a%2Fb/key-servers/[::1]:5696"
    assert survival_path("u1") == "/key-managers/u1/survival"
