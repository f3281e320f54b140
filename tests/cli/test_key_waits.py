"""What is said about retired keys that wait for an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keystead.cli.key_waits import _WORDS, say_what_waits
from keystead.core.keys.destroying import PurgeWait

if TYPE_CHECKING:
    from keystead.core.keys.destroying import PurgeWait as Wait


@pytest.mark.parametrize("wait", list(PurgeWait))
def test_every_wait_has_its_command(wait: Wait, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, for the keys that wait and no others."""
    say_what_waits([{"name": "a", "purge_waits_for": wait.value}, {"name": "b"}])
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"a: {_WORDS[wait.value]}\n")
    assert "keystead security key-manager" in err
