"""Codes that ONTAP documents for the calls here, but that cannot occur here. Each has its reason."""

from __future__ import annotations

_ONBOARD = "the Onboard Key Manager is not built"
_COMMON_CRITERIA = "65537301 comes first: Common Criteria mode is one of the Onboard Key Manager"
_NO_SWITCH = "a configuration's keys stay on its own key servers: none are moved when another is enabled"
_NO_SCAN = "nothing scans for encryption: 65536867 is raised while there are keys"
_DATABASE = "a database that fails is an internal error"
_COPIES = "65536076 and 65536987 are raised instead"
_NO_VOLUMES = "there are no volumes"
_FIPS = "there is no FIPS mode"
_NO_COMPANIONS = "a root_ca has no companions: install its certificate where it should be trusted"
_PREINSTALLED = "there are no pre-installed certificates"
_AZURE = "no certificate is fetched from an Azure Key Vault"
_NO_SSL = "deletion has no SSL configuration to remove"

NOT_RAISED: dict[int, str] = {
    458773: "there is no Job Manager: each node runs jobs while it serves calls",
    5636125: "there are no system accounts",
    5636146: "there is no console",
    5636168: "no role is of commands, so none is mapped to one of paths",
    5636185: "an identifier in a privilege's path may be of a thing that comes later",
    5636200: "a path of commands is not supported: 5636169 is raised",
    13434892: "262212 is raised for a role without a name or privileges",
    **dict.fromkeys((5636173, 5636184, 5636186), "every release here has all of custom roles"),
    **dict.fromkeys((13434890, 13434891, 13434893), "2621462 is raised for an owner that does not exist, 4 in a path"),
    7077924: "only the present password is compared, with 7077925",
    7077921: "no special characters are asked for in a password",
    262291: "a records job has no time-out: the size of its body bounds it",
    65536214: "no cluster key encryption key is made",
    65536216: "no cluster key encryption key is made",
    65536895: "there is no MetroCluster partner",
    **dict.fromkeys((65536310, 65536900, 65536903, 65536906, 65536907, 65536916, 65536920), _ONBOARD),
    **dict.fromkeys((65536341, 65537240, 65537241, 65537244, 65537245, 65537246, 65537247, 65537248), _ONBOARD),
    **dict.fromkeys((65539221, 65539511, 65539512, 65539580, 65539581, 65539582, 65539706), _ONBOARD),
    **dict.fromkeys((65536139, 65536150, 65536404, 65536406, 65536407, 65536408, 65536802, 65536917), _ONBOARD),
    **dict.fromkeys((65537242, 65537243, 65536233, 65536234, 65536800, 65539520, 65539583), _ONBOARD),
    **dict.fromkeys((65539590, 65539591, 65539845), _ONBOARD),
    **dict.fromkeys((65536805, 65536806, 65536807, 65536809, 65537302), _COMMON_CRITERIA),
    **dict.fromkeys((262224, 262228), "there is no peer cluster"),
    **dict.fromkeys((65536239, 65540011, 65540013, 65536208), _NO_SCAN),
    **dict.fromkeys((65536160, 65538801), _DATABASE),
    **dict.fromkeys((65536264, 66060289, 66060302), _COPIES),
    65536265: "a key's id is made of its uuid, which cannot fail",
    65536859: "there are no self-encrypting drives",
    65536872: "objects of a failed creation are cleaned up later, and its answer says why it failed",
    65536896: "there is no MetroCluster partner",
    66060296: "a deleted key is retired; its copies are destroyed later, each with a receipt",
    **dict.fromkeys(
        (65536817, 65536827, 196608301), "a deletion reads in its transaction everything that forbids it, or fails"
    ),
    **dict.fromkeys((65536203, 65536204, 65536207, 65536212, 65536217, 65537527, 65537533, 65539201), _NO_SWITCH),
    **dict.fromkeys((65536882, 65536883, 65536884, 65536889, 65536890, 65536973, 65539442, 65539444), _NO_VOLUMES),
    **dict.fromkeys((65539534, 65539535, 65539536, 65539704, 65539837, 65536813, 196608305), _NO_VOLUMES),
    **dict.fromkeys((65539538, 65539539, 65539622, 65539840, 65539842), _NO_SWITCH),
    **dict.fromkeys((65536242, 65536243), "there are no self-encrypting drives"),
    **dict.fromkeys((65537605, 65539200, 65539416, 65539838, 65539839), "there are no cloud key managers"),
    65536602: "nodes need no quorum of their own: they keep their state in one database",
    65536856: "an inactive key manager keeps the servers that it was created with; for keys 65536074 is raised",
    **dict.fromkeys((65538907, 65539205, 65539514, 65539522), "every key store is of type kmip"),
    **dict.fromkeys((65539206, 65539222), "an SVM has one configuration, which is enabled"),
    65539515: "the cluster has one configuration, which is enabled or not: there is none to switch from",
    65539207: "65538908 is raised instead",
    **dict.fromkeys((65539212, 65539593), "a key store is enabled at once: it is never in the switching state"),
    65539518: "no enabled configuration is needed to enable one",
    65539303: "65539304 comes first: the health monitor policy cannot be changed in any release",
    3735553: "each fault of a self-signed certificate has its own code",
    3735554: "each fault of a certificate signing request has its own code",
    **dict.fromkeys((3735589, 3735590), _NO_SSL),
    **dict.fromkeys((3735627, 3735650), _NO_COMPANIONS),
    3735644: "there are no server chains: intermediates are stored and deleted with their certificate",
    3735646: "a failed write stores nothing and is an internal error",
    **dict.fromkeys((3735664, 3735665, 3735714, 52559974), _FIPS),
    **dict.fromkeys((3735679, 3735681), _PREINSTALLED),
    3735741: "a request names a security strength, never a key size",
    **dict.fromkeys((*range(3735751, 3735758), 3735762, 3735763, 3735764), _AZURE),
    3735767: "a self-signed certificate needs no root CA",
    52560272: "nothing but key managers (3735683) refers to certificates",
    52363365: "memory exhaustion ends the process, not the call",
    52363366: "an error of ONTAP's own implementation",
}
"""Codes that ONTAP 9.6 documents for the calls here, but that cannot occur here. Each has its reason."""
