"""The generated tables of tags and enumerations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from keystead.kmip.ttlv import enums, tags
from tests.conformance import oasis

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "generate_kmip_registry.py"


def test_numbers_of_the_specification() -> None:
    """A few numbers of each sort, as the specifications print them."""
    assert tags.UNIQUE_IDENTIFIER == 0x420094
    assert tags.ATTRIBUTES == 0x420125  # 2.0
    assert tags.NAMES[0x42003D] == "IV/Counter/Nonce"
    assert enums.Operation(0x1E) is enums.Operation.DISCOVER_VERSIONS
    assert enums.CryptographicAlgorithm(2) is enums.CryptographicAlgorithm.TRIPLE_DES
    assert enums.CryptographicUsageMask.ENCRYPT | enums.CryptographicUsageMask.DECRYPT == 12
    assert enums.ResultReason(3) is enums.ResultReason.AUTHENTICATION_NOT_SUCCESSFUL
    assert enums.VALUES["Mask Generator"] == {1: "MGF1"}
    assert enums.MASKS["Storage Status Mask"][2] == "Archival storage"


def test_names_and_constants_agree() -> None:
    """Each tag has one constant and one name, and each class says what VALUES says."""
    constants = {name: value for name, value in vars(tags).items() if name.isupper() and isinstance(value, int)}
    assert set(constants.values()) == set(tags.NAMES)
    assert len(constants) == len(tags.NAMES) == len(set(tags.NAMES.values()))
    assert {int(member) for member in enums.Operation} == set(enums.VALUES["Operation"])


@pytest.mark.skipif(oasis.folder() is None, reason="KEYSTEAD_KMIP_VECTORS names no folder of registries")
def test_the_tables_are_up_to_date() -> None:
    """Generating again would change nothing."""
    result = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")
