"""The error table against ONTAP's documentation, and against these tests themselves."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from keystead.core import errors
from keystead.core.errors import NOT_RAISED, TABLE, ErrorKind, OntapError

TLS = "Failed to establish secure connection for a key management server due to "

# The 9.6 page of POST /security/key-managers/{uuid}/key-servers, word by word.
SEED = {
    65536822: "Multitenant key management is not supported in the current cluster version.",
    65536828: "External key management is not enabled for the SVM.",
    65536824: "Multitenant key management is not supported in MetroCluster configurations.",
    65536038: "A maximum of 4 active key servers are allowed.",
    65536871: "Duplicate key management servers exist.",
    65536834: "Failed to get existing key-server details for the SVM.",
    65536870: "Key management servers already configured.",
    65536821: "Certificate is not installed.",
    65536852: "Failed to query supported KMIP protocol versions.",
    66060338: TLS + "incorrect server_ca certificates.",
    66060339: TLS + "incorrect client certificates.",
    66060340: TLS + "Cryptsoft error.",
    66060341: TLS + "network configuration issues.",
}

# Codes that the 9.6 pages (and for key servers also later ones) list for the calls that are built.
DOCUMENTED = {
    "POST key-servers": {
        *SEED, 65536042, 65536600, 65536921, 65536845, 65536846, 65537400, 65538407, 65538408, 65538413, 65538502,
    },
    "POST key-managers": {
        65536038, 65536214, 65536216, 65536310, 65536821, 65536822, 65536823, 65536824, 65536834, 65536852, 65536870,
        65536871, 65536876, 65536878, 65536895, 65536900, 65536903, 65536906, 65536907, 65536916, 65536920, 66060338,
        66060339, 66060340, 66060341,
    },
    "POST certificates": {
        3735553, 3735558, 3735588, 3735618, 3735622, 3735632, 3735645, 3735646, 3735664, 3735665, 3735676, 3735693,
        3735696, 52363365, 52363366, 52559972, 52559973, 52559974, 52559975, 52559976, 52560123,
    },
    "DELETE certificates": {3735589, 3735590, 3735627, 3735644, 3735650, 3735679, 3735683},
}  # fmt: skip


@pytest.mark.parametrize(("code", "text"), SEED.items())
def test_the_seed_word_by_word(code: int, text: str) -> None:
    """The 13 codes of the page that the project was created from keep its words."""
    assert {kind.text for kind in TABLE if kind.code == code} == {text}


@pytest.mark.parametrize(("call", "codes"), DOCUMENTED.items())
def test_every_documented_code(call: str, codes: set[int]) -> None:
    """A documented code is in the table, or listed with the reason why nothing can cause it; never both."""
    raised = {kind.code for kind in TABLE}
    assert codes <= raised | set(NOT_RAISED), call
    assert not raised & set(NOT_RAISED)


def test_every_row_is_named_by_a_test() -> None:
    """No row is without a test that expects it: `errors.NAME` stands in a test outside this file."""
    names = {name: value for name, value in vars(errors).items() if isinstance(value, ErrorKind)}
    assert len(names) == len(TABLE)
    tests = Path(__file__).parent.parent
    used = {
        node.attr
        for path in tests.rglob("test_*.py")
        if path != Path(__file__)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }
    assert not sorted(set(names) - used)


def test_statuses() -> None:
    """Codes of the key manager families answer 400; only a failing read of the servers is 500."""
    for kind in TABLE:
        if kind.code > 3_000_000 and kind not in {errors.KEY_SERVERS_UNREADABLE, errors.AUTHENTICATION_FAILED}:
            assert kind.status == 400, kind
    assert errors.KEY_SERVERS_UNREADABLE.status == 500


def test_texts_are_filled_in() -> None:
    """A row's text takes its values; a text without fields keeps braces that are none of ours."""
    error = OntapError(errors.FIELD_TWICE, target="a.b", field="a.b")
    assert (error.message, error.target, error.kind.code) == ('Field "a.b" was specified twice.', "a.b", 262188)
    assert str(OntapError(errors.NETWORK)).startswith("66060341: Failed")
