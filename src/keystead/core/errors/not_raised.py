"""Codes that ONTAP documents for the calls built here and that nothing can cause, each with the reason."""

from __future__ import annotations

_ONBOARD = "the Onboard Key Manager is not built"
_FIPS = "there is no FIPS mode"
_NO_ROOT_CA = "there are no root_ca certificates yet"
_NO_SSL = "deletion has no SSL configuration to remove"

NOT_RAISED: dict[int, str] = {
    65536600: "nodes need no quorum of their own: they keep their state in one database",
    65536214: "no cluster key encryption key is made",
    65536216: "no cluster key encryption key is made",
    65536878: "no volume encryption keys are kept yet",
    65536895: "there is no MetroCluster partner",
    **dict.fromkeys((65536310, 65536900, 65536903, 65536906, 65536907, 65536916, 65536920), _ONBOARD),
    3735553: "self-signed certificates are not made yet: public_certificate is required",
    3735558: "a subject without common name is named by its whole subject; an empty one is 3735676",
    3735588: "any common name that a certificate can hold is accepted",
    **dict.fromkeys((3735589, 3735590), _NO_SSL),
    **dict.fromkeys((3735627, 3735650), _NO_ROOT_CA),
    3735644: "there are no server chains: certificates of type server are not kept",
    3735646: "a failed write stores nothing and is an internal error",
    **dict.fromkeys((3735664, 3735665, 52559974), _FIPS),
    3735679: "there are no pre-installed certificates",
    52363365: "memory exhaustion ends the process, not the call",
    52363366: "an error of ONTAP's own implementation",
}
"""Codes that ONTAP 9.6 documents for the calls built here and that nothing can cause, each with the reason."""
