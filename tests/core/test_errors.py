"""The error table, compared with ONTAP's documentation and with the tests of this project."""

from __future__ import annotations

import re
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
        66060339, 66060340, 66060341, 262224, 262228, 65536341, 65536508, 65537240, 65537241, 65537244, 65537245,
        65537246, 65537247, 65537248, 65538111, 65538120, 65539216, 65539221, 65539500, 65539501, 65539503, 65539504,
        65539511, 65539512, 65539580, 65539581, 65539582, 65539704, 65539706,
    },
    "PATCH key-managers": {
        65536139, 65536150, 65536404, 65536406, 65536407, 65536408, 65536802, 65536821, 65536822, 65536828, 65536850,
        65536852, 65536917, 65537242, 65537243, 65538120, 65539586, 66060338, 66060339, 66060340, 66060341,
    },
    "DELETE key-managers": {
        65536208, 65536233, 65536234, 65536239, 65536242, 65536243, 65536800, 65536813, 65536817, 65536822, 65536827,
        65536828, 65536867, 65540011, 65540013, 196608301, 196608305,
    },
    "DELETE key-servers": {65536700, 65536843},
    "POST restore": {65536083, 65536843, 65536855, 65538500},
    "GET key-ids": {65537125},
    "PATCH jobs": {458762, 458771, 458773, 458776, 458783, 458784},
    "auth-keys": {
        65536048, 65536053, 65536056, 65536074, 65536076, 65536160, 65536264, 65536265, 65536828, 65536856, 65536859,
        65536860, 65536872, 65536896, 65536987, 65538800, 65538801, 65538802, 66060289, 66060296, 66060302, 66060304,
    },
    "PATCH key-stores": {
        262155, 65536203, 65536204, 65536207, 65536212, 65536217, 65536602, 65536856, 65536882, 65536883, 65536884,
        65536889, 65536890, 65536973, 65536987, 65537527, 65537533, 65537605, 65538908, 65538909, 65538910, 65539200,
        65539201, 65539205, 65539206, 65539207, 65539212, 65539218, 65539222, 65539416, 65539442, 65539444, 65539513,
        65539514, 65539515, 65539518, 65539520, 65539534, 65539535, 65539536, 65539538, 65539539, 65539583, 65539585,
        65539590, 65539591, 65539622, 65539704, 65539837, 65539838, 65539839, 65539840, 65539842, 65539845,
    },
    "DELETE key-stores": {262155, 65538905, 65538907, 65538908, 65539521, 65539522, 65539593},
    "PATCH key-manager-configs": {
        65536139, 65536805, 65536806, 65536807, 65536809, 65537301, 65537302, 65537303, 65537304, 65538404, 65539303,
        65539304,
    },
    "POST certificates": {
        3735553, 3735558, 3735588, 3735618, 3735622, 3735632, 3735645, 3735646, 3735664, 3735665, 3735676, 3735693,
        3735696, 3735700, 3735751, 3735752, 3735753, 3735754, 3735755, 3735756, 3735757, 3735762, 3735763, 3735764,
        3735767, 52363365, 52363366, 52559972, 52559973, 52559974, 52559975, 52559976, 52560123, 52560173,
    },
    "POST roles": {
        1263347, 5636129, 5636143, 5636144, 5636168, 5636169, 5636170, 5636171, 5636173, 5636175, 5636184, 5636185,
        5636186, 5636192, 5636200, 13434890, 13434891, 13434892, 13434893,
    },
    "DELETE roles": {1263347, 5636169, 5636170, 5636172, 5636173, 5636184, 5636185, 5636186, 13434890, 13434893},
    "POST accounts": {1261215, 1261218, 5636121, 7077918, 7077919, 7077920, 7077921},
    "DELETE accounts": {5636098, 5636125, 5636146},
    "DELETE certificates": {3735589, 3735590, 3735627, 3735644, 3735650, 3735679, 3735681, 3735683, 52560272},
    "POST certificates sign": {
        3735558, 3735588, 3735626, 3735628, 3735629, 3735630, 3735632, 3735665, 3735701, 52559974,
    },
    "POST certificate-signing-request": {
        3735554, 3735664, 3735665, 3735700, 3735713, 3735714, 3735715, 3735741, 3735750, 52560173, 52560423,
    },
}  # fmt: skip


@pytest.mark.parametrize(("code", "text"), SEED.items())
def test_the_seed_word_by_word(code: int, text: str) -> None:
    """The texts of the 13 codes in the first documentation page are unchanged."""
    assert {kind.text for kind in TABLE if kind.code == code} == {text}


@pytest.mark.parametrize(("call", "codes"), DOCUMENTED.items())
def test_every_documented_code(call: str, codes: set[int]) -> None:
    """A documented code is in the table, or is listed with the reason why nothing causes it; never both."""
    raised = {kind.code for kind in TABLE}
    assert codes <= raised | set(NOT_RAISED), call
    assert not raised & set(NOT_RAISED)


def test_every_row_is_named_by_a_test() -> None:
    """Each row is expected by some test: `errors.NAME` occurs in a test outside this file."""
    names = {name: value for name, value in vars(errors).items() if isinstance(value, ErrorKind)}
    assert len(names) == len(TABLE)
    tests = Path(__file__).parent.parent
    used = {
        name
        for path in tests.rglob("test_*.py")
        if path != Path(__file__)
        for name in re.findall(r"\berrors\.([A-Z][A-Z0-9_]*)", path.read_text())
    }
    assert not sorted(set(names) - used)


def test_statuses() -> None:
    """Codes of the key manager families answer 400; only a failed read of servers or of a key answers 500."""
    failures = {errors.KEY_SERVERS_UNREADABLE, errors.AUTH_KEY_NOT_RESTORED, errors.VOLUME_KEY_NOT_RESTORED}
    for kind in TABLE:
        if kind.code > 3_000_000 and kind not in {*failures, errors.AUTHENTICATION_FAILED}:
            assert kind.status == 400, kind
    assert {kind.status for kind in failures} == {500}


def test_texts_are_filled_in() -> None:
    """The values are filled into a row's text; a text without fields keeps its braces."""
    error = OntapError(errors.FIELD_TWICE, target="a.b", field="a.b")
    assert (error.message, error.target, error.kind.code) == ('Field "a.b" was specified twice.', "a.b", 262188)
    assert str(OntapError(errors.NETWORK)).startswith("66060341: Failed")
