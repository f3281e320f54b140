"""The library needs nothing but the standard library and itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src"

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import keystead.kmip.client.client, keystead.kmip.transport.tls, keystead.kmip.testing.server, keystead.kmip.ttlv.render
import keystead.kmip.transport.dial, keystead.kmip.client.pipeline, keystead.kmip.client.pool
for name in sorted(sys.modules):
    if name.partition(".")[0] not in sys.stdlib_module_names:
        print(name)
"""


def test_only_the_standard_library_is_loaded() -> None:
    """In a bare interpreter without site packages, the client loads keystead.kmip and nothing else of ours."""
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, str(SOURCE)]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "keystead.kmip.client.client" in loaded
    foreign = [name for name in loaded if name not in {"keystead", "__main__"} and not name.startswith("keystead.kmip")]
    assert foreign == []
