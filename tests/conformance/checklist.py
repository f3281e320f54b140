"""The conformance checklist as data: what ONTAP's documents and clients say of these calls, item by item.

An :class:`Item` is a rule and the calls that show it. ``$P`` is the path of a new key manager's key servers, ``$A`` the
one server that it has, ``$B`` to ``$E`` further sound servers; the other names are in :data:`NAMES`. Bodies are JSON as
it is sent, also where it is none. What other tests show stands in :data:`ELSEWHERE`, what is not there yet, with the
reason, in :data:`LATER`: the three together are the whole list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ITEMS = 117

NAMES = {
    "$P": "/security/key-managers/KM/key-servers",
    "$KM": "its key manager's uuid",
    "$Q": "the key servers of another key manager, with one server",
    "$SVM": "the SVM of the key manager",
    "$CLIENT, $CA": "uuids of installed certificates",
    "$OTHER_CLIENT": "the uuid of a client certificate of another key pair",
    "$HOST2": "a second address of all sound servers",
    "$PORT": "the port of $B",
    "$V6": "the port of a sound server on [::1]",
    "$WRONG_CA": "a server whose certificate another CA issued",
    "$WRONG_CLIENT": "a server that trusts another CA's clients",
    "$CLOSED": "nothing listens there",
    "$HOLE": "nothing answers there",
    "$GARBAGE": "TLS, then bytes that are no KMIP",
    "$FOREIGN": "a server that shares no KMIP version",
    "$FAILING": "a server that fails after Discover Versions",
}
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Call:
    """A request and what its answer must be: ``has`` is a part of the JSON, ``lacks`` are texts that are nowhere."""

    method: str
    path: str
    body: str | None = None
    status: int = 200
    code: str | None = None
    target: str | None = None
    has: Mapping[str, Any] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()
    sent: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 45


@dataclass(frozen=True)
class Item:
    """One line of the checklist."""

    number: int
    rule: str
    calls: tuple[Call, ...]


def item(number: int, rule: str, *calls: Call) -> Item:
    """An item and its calls."""
    return Item(number, rule, calls)


def post(body: str, query: str = "", status: int = 201, path: str = "$P", **expected: Any) -> Call:
    """A POST of key servers."""
    return Call("POST", path + query, body, status, **expected)


def refused(body: str, code: str, target: str | None = None, query: str = "", **expected: Any) -> Call:
    """A POST of key servers that is refused."""
    return Call("POST", "$P" + query, body, expected.pop("status", 400), code, target, **expected)


def get(query: str = "", path: str = "$P", **expected: Any) -> Call:
    """A GET of key servers."""
    return Call("GET", path + query, **expected)


def patch(body: str, code: str | None = None, target: str | None = None, server: str = "$A", **expected: Any) -> Call:
    """A PATCH of a key server; with a code it is refused."""
    return Call("PATCH", f"$P/{server}", body, 400 if code else 200, code, target, **expected)


def secondaries(*hosts: str) -> str:
    """A body that replaces the secondaries."""
    return '{"secondary_key_servers": [' + ", ".join(f'"{host}"' for host in hosts) + "]}"


def delete(server: str = "$A", query: str = "", body: str | None = None, **expected: Any) -> Call:
    """A DELETE of a key server."""
    return Call("DELETE", f"$P/{server}{query}", body, **expected)


def key_manager(code: str, external: str, svm: str = "") -> Call:
    """A POST of a key manager that is refused."""
    owner = f'"svm": {{"name": "{svm}"}}, ' if svm else ""
    return Call("POST", "/security/key-managers", f'{{{owner}"external": {{{external}}}}}', 400, code)


ONE_RECORD: dict[str, Any] = {
    "num_records": 1,
    "records": [{"server": "$B", "_links": {"self": {"href": "/api$P/$B_ENCODED"}}}],
}
ADD_B = post('{"server": "$B"}')
UNCHANGED = get(has={"num_records": 1})
CERTIFICATES = '"client_certificate": {"uuid": "$CLIENT"}, "server_ca_certificates": [{"uuid": "$CA"}]'
SERVERS = '"servers": [{"server": "$B"}]'
EXTERNAL: dict[str, Any] = {
    "client_certificate": {"uuid": "$CLIENT"},
    "server_ca_certificates": [{"uuid": "$CA"}],
    "servers": [{"server": "$B"}],
}

CHECKLIST = (
    # --- create, single ---
    item(1, "a server is added", ADD_B),
    item(2, "without return_records the answer is an empty object", post('{"server": "$B"}', lacks=("records",))),
    item(3, "Location is the server, encoded", post('{"server": "$B"}', headers={"location": "/api$P/$B_ENCODED"})),
    item(4, "return_records=true", post('{"server": "$B"}', "?return_records=true", has=ONE_RECORD)),
    item(
        5, "return_records=True, as Python writes it", post('{"server": "$B"}', "?return_records=True", has=ONE_RECORD)
    ),
    item(
        6,
        "the default port is shown",
        post('{"server": "127.0.0.9"}', "?dry_run=true", 200, has={"records": [{"server": "127.0.0.9:5696"}]}),
    ),
    item(
        7,
        "an IPv6 server is found in brackets",
        post('{"server": "[0:0::1]:$V6"}'),
        get("/%5B%3A%3A1%5D%3A$V6", has={"server": "[0:0::1]:$V6"}),
    ),
    item(8, "defaults", ADD_B, get("/$B?fields=*", has={"timeout": 25, "username": "", "create_remove_timeout": 10})),
    item(
        9,
        "a password never comes back",
        post('{"server": "$B", "username": "u", "password": "p455"}', "?return_records=true", lacks=("p455",)),
        get("/$B?fields=**", has={"username": "u"}, lacks=("p455", "password")),
    ),
    item(10, "return_timeout makes no job", post('{"server": "$B"}', "?return_timeout=30", lacks=("job",))),
    item(
        11,
        "no links for Accept: application/json",
        post('{"server": "$B"}', "?return_records=true", lacks=("_links",), sent={"Accept": "application/json"}),
        get(lacks=("_links",), sent={"Accept": "application/json"}, headers={"content-type": "application/json"}),
    ),
    item(
        12,
        "links and HAL for Accept: */*",
        post('{"server": "$B"}', "?return_records=true", has=ONE_RECORD, sent={"Accept": "*/*"}),
        get(sent={"Accept": "*/*"}, headers={"content-type": "application/hal+json"}),
    ),
    # --- create, bulk ---
    item(
        14,
        "bulk is synchronous, in the order given",
        post('{"records": [{"server": "$C"}, {"server": "$B"}]}', lacks=("job",)),
        get(has={"num_records": 3, "records": [{"server": "$A"}, {"server": "$C"}, {"server": "$B"}]}),
    ),
    item(
        15,
        "bulk with return_records: a record per server",
        post(
            '{"records": [{"server": "$B"}, {"server": "$C"}]}',
            "?return_records=true",
            has={"num_records": 2, "records": [*ONE_RECORD["records"], {"server": "$C"}]},
        ),
    ),
    item(18, "server and records", refused('{"server": "$B", "records": [{"server": "$C"}]}', "262186", "server")),
    item(19, "neither server nor records", refused("{}", "262212", "server")),
    item(20, "no records", refused('{"records": []}', "262212", "records")),
    item(
        21,
        "five records",
        refused('{"records": [' + ", ".join(f'{{"server": "ks{n}"}}' for n in range(5)) + "]}", "65536038"),
    ),
    item(
        22,
        "one bad server refuses all",
        refused('{"records": [{"server": "$B"}, {"server": "$CLOSED"}]}', "66060341", "records[1].server"),
        UNCHANGED,
    ),
    # --- limits and duplicates ---
    item(
        23,
        "a fifth primary",
        post('{"records": [{"server": "$B"}, {"server": "$C"}, {"server": "$D"}]}'),
        refused('{"server": "$E"}', "65536038"),
    ),
    item(
        24,
        "its code is a text, its message the document's",
        post('{"records": [{"server": "$B"}, {"server": "$C"}, {"server": "$D"}]}'),
        refused(
            '{"server": "$E"}',
            "65536038",
            has={"error": {"message": "A maximum of 4 active key servers are allowed."}},
        ),
    ),
    item(25, "the same server again", refused('{"server": "$A"}', "65536870", "server")),
    item(
        26,
        "the same server, spelled differently",
        post('{"server": "localhost:$PORT"}'),
        refused('{"server": "LocalHost.:$PORT"}', "65536870", "server"),
    ),
    item(
        27,
        "twice in one request",
        refused('{"records": [{"server": "$B"}, {"server": "$B"}]}', "65536871", "records[1].server"),
    ),
    item(
        28,
        "a secondary of another primary",
        post('{"server": "$B", "secondary_key_servers": ["$HOST2"]}'),
        refused('{"server": "$HOST2:$PORT"}', "65536042", "server"),
    ),
    item(
        30,
        "the limit is per key manager",
        post('{"records": [{"server": "$B"}, {"server": "$C"}, {"server": "$D"}]}'),
        post('{"server": "$B"}', path="$Q"),
    ),
    # --- state ---
    item(
        32,
        "a key manager that is not there",
        Call(
            "POST",
            f"/security/key-managers/{UNKNOWN}/key-servers",
            '{"server": "$B"}',
            404,
            "4",
            "uuid",
            has={"error": {"message": "entry doesn't exist"}},
        ),
    ),
    item(
        33,
        "a malformed uuid",
        Call(
            "POST",
            "/security/key-managers/nonsense/key-servers",
            '{"server": "$B"}',
            404,
            "2",
            "uuid",
            has={"error": {"message": '"nonsense" is an invalid value for field "uuid" (<UUID>)'}},
        ),
    ),
    # --- connectivity ---
    item(38, "its certificate is of an unknown CA", refused('{"server": "$WRONG_CA"}', "66060338", "server")),
    item(39, "it refuses our certificate", refused('{"server": "$WRONG_CLIENT"}', "66060339", "server")),
    item(
        40,
        "nothing listens; the name does not resolve",
        refused('{"server": "$CLOSED"}', "66060341", "server"),
        refused('{"server": "nowhere.invalid"}', "66060341", "server"),
    ),
    item(41, "TLS, but no KMIP", refused('{"server": "$GARBAGE"}', "65536852", "server")),
    item(42, "no common version", refused('{"server": "$FOREIGN"}', "65536852", "server")),
    item(43, "a failed proof leaves nothing", refused('{"server": "$WRONG_CA"}', "66060338"), UNCHANGED),
    item(44, "its time-out bounds the call", refused('{"server": "$HOLE", "timeout": 1}', "66060341", seconds=4)),
    item(45, "a KMIP operation fails", refused('{"server": "$FAILING"}', "65536921", "server")),
    # --- access to fields ---
    item(46, "timeout is applied", post('{"server": "$B", "timeout": 45}'), get("/$B", has={"timeout": 45})),
    item(
        47,
        "username and password are applied",
        post('{"server": "$B", "username": "u", "password": "p"}'),
        get("/$B", has={"username": "u"}),
    ),
    item(
        48,
        "an unknown field",
        refused(
            '{"server": "$B", "foo": 1}', "262179", "foo", has={"error": {"message": 'Unexpected argument "foo".'}}
        ),
    ),
    item(49, "a number for a text", refused('{"server": 5}', "262197", "server")),
    item(50, "no JSON", refused('{"server": ', "262199")),
    item(51, "a field in the URL", refused('{"server": "$B"}', "262211", "server", "?server=x")),
    item(52, "a secret in the URL", refused('{"server": "$B"}', "262202", "password", "?password=x")),
    item(54, "timeout 61", refused('{"server": "$B", "timeout": 61}', "262197", "timeout")),
    item(
        55,
        "no server at all",
        *(refused(f'{{"server": "{text}"}}', "262197", "server") for text in ("h:0", "h:70000", "h:abc", "h:", "")),
    ),
    # --- read ---
    item(
        56,
        "the envelope",
        get(
            "?fields=timeout&max_records=10",
            has={"num_records": 1, "_links": {"self": {"href": "/api$P?fields=timeout&max_records=10"}}},
        ),
    ),
    item(57, "by default, key and link", get(lacks=("timeout", "username"), has={"records": [{"server": "$A"}]})),
    item(58, "fields=*", get("?fields=*", has={"records": [{"timeout": 25, "username": ""}]}, lacks=("connectivity",))),
    item(60, "no secondaries, no field", get("?fields=**", lacks=("secondary",))),
    item(
        61,
        "three spellings of a path",
        *(get(path, has={"server": "$A"}) for path in ("/$A_ENCODED", "/$A", "/$A/")),
    ),
    item(62, "a server that is not there", get("/unknown:5696", status=404, code="4", target="server")),
    item(65, "an unknown name in fields", get("?fields=nosuch", status=400, code="262197", target="fields")),
    item(
        66,
        "the password is neither read nor queried",
        get("?fields=password", status=400, code="262249"),
        get("?password=x", status=400, code="262250", target="password"),
    ),
    item(67, "return_records=false", get("?return_records=false", has={"num_records": 1}, lacks=('"records"',))),
    item(
        68,
        "max_records and next",
        ADD_B,
        get("?max_records=1", has={"num_records": 1, "records": [{"server": "$A"}]}),
        get("?max_records=1&start.position=1", has={"num_records": 1, "records": [{"server": "$B"}]}, lacks=("next",)),
    ),
    item(71, "HEAD", Call("HEAD", "$P", headers={"content-type": "application/hal+json"})),
    item(72, "OPTIONS", Call("OPTIONS", "$P", headers={"allow": "DELETE, GET, HEAD, OPTIONS, PATCH, POST"})),
    item(73, "PUT", Call("PUT", "$P", "{}", 405, "3")),
    # --- modify ---
    item(
        53,
        "a time-out of 0 in PATCH: fail at once",
        patch('{"timeout": 0, "create_remove_timeout": 0}'),
        get("/$A", has={"timeout": 0, "create_remove_timeout": 0}),
        patch('{"timeout": 61}', "262197", "timeout"),
    ),
    item(
        74,
        "a time-out is changed",
        patch('{"timeout": 45}', lacks=("num_records", "timeout")),
        get("/$A", has={"timeout": 45, "create_remove_timeout": 10}),
    ),
    item(75, "a username alone", patch('{"username": "u"}', "65536846", "password")),
    item(76, "a password without username", patch('{"password": "p455"}', "65536845", "username", lacks=("p455",))),
    item(
        77,
        "a credential is shown without its password, and cleared with an empty username",
        patch('{"username": "u", "password": "p455"}'),
        get("/$A?fields=**", has={"username": "u"}, lacks=("p455", "password")),
        patch('{"password": "p456"}'),
        patch('{"username": ""}'),
        get("/$A", has={"username": ""}),
    ),
    item(78, "nothing to modify", patch("{}", "65536880")),
    item(79, "a server that is not there", patch('{"timeout": 5}', "65536843", "server", server="unknown:5696")),
    item(
        80,
        "up to three secondaries, in their order",
        patch(secondaries("127.0.0.4", "$HOST2", "127.0.0.3")),
        get("/$A", has={"secondary_key_servers": ["127.0.0.4", "$HOST2", "127.0.0.3"]}),
        patch(secondaries("h1", "h2", "h3", "h4"), "65537400", "secondary_key_servers"),
    ),
    item(
        81,
        "secondaries that cannot be",
        ADD_B,
        post('{"server": "$HOST2:$PORT"}'),
        patch(secondaries("127.0.0.1"), "65538407", "secondary_key_servers"),
        patch(secondaries("127.0.0.3", "127.0.0.3"), "65538408", "secondary_key_servers"),
        patch(secondaries("127.0.0.3:5696"), "65538413", "secondary_key_servers"),
        patch(secondaries("$HOST2"), "65538502", "secondary_key_servers", server="$B"),
    ),
    item(
        82,
        "the list of secondaries is replaced, and cleared",
        patch(secondaries("$HOST2", "127.0.0.3")),
        patch(secondaries("127.0.0.4")),
        get("/$A", has={"secondary_key_servers": ["127.0.0.4"]}),
        patch(secondaries()),
        get("/$A", lacks=("secondary_key_servers",)),
    ),
    item(83, "the server itself is not settable", patch('{"server": "x"}', "262196", "server")),
    # --- remove ---
    item(
        85,
        "a server is removed, the last one too",
        delete(),
        get("/$A", status=404, code="4"),
        get(has={"records": []}),
    ),
    item(86, "DELETE with an empty object", delete(body="{}", query="?return_timeout=15"), get(has={"num_records": 0})),
    item(
        90,
        "a server that is not there is not removed",
        delete("unknown:5696", status=400, code="65536843", target="server"),
        delete("unknown:5696", "?force=true", status=400, code="65536843", target="server"),
    ),
    # --- key managers and certificates ---
    item(
        93,
        "a key manager of the cluster",
        Call(
            "POST",
            "/security/key-managers?return_records=true",
            f'{{"external": {{{CERTIFICATES}, {SERVERS}}}}}',
            201,
            has={"num_records": 1, "records": [{"external": EXTERNAL}]},
            lacks=("svm",),
        ),
        get(
            "?scope=cluster&fields=scope,external",
            "/security/key-managers",
            has={"num_records": 1, "records": [{"scope": "cluster", "external": EXTERNAL}]},
        ),
        Call("DELETE", "/security/key-managers?scope=cluster", has={"num_records": 1}),
    ),
    item(94, "a second key manager", key_manager("65536823", f"{CERTIFICATES}, {SERVERS}", svm="$SVM")),
    item(
        95,
        "certificates and servers are needed, and must be there",
        key_manager("65536876", f'{CERTIFICATES}, "servers": []'),
        key_manager("65536876", SERVERS),
        key_manager("65536821", f"{CERTIFICATES}, {SERVERS}".replace("$CA", UNKNOWN)),
    ),
    item(
        96,
        "a key manager's servers; its status on request only",
        get(
            "?fields=*",
            "/security/key-managers/$KM",
            lacks=("status",),
            has={"external": {"servers": [{"server": "$A", "timeout": 25, "username": ""}]}},
        ),
        get("?fields=status", "/security/key-managers/$KM", has={"status": {"code": 65537200}}),
    ),
    item(
        97,
        "an SVM that is not there has no key manager",
        get("?scope=svm&svm.name=nope", "/security/key-managers", has={"records": [], "num_records": 0}),
    ),
    item(
        98,
        "other certificates; a client certificate of another key pair",
        Call("PATCH", "/security/key-managers/$KM", '{"external": {"server_ca_certificates": [{"uuid": "$CA"}]}}'),
        Call(
            "PATCH",
            "/security/key-managers/$KM",
            '{"external": {"client_certificate": {"uuid": "$OTHER_CLIENT"}}}',
            400,
            "65536850",
            "external.client_certificate",
        ),
    ),
    item(
        99,
        "validation is a job",
        Call(
            "PATCH",
            "/security/key-managers/$KM?validate_certificates=true",
            f'{{"external": {{{CERTIFICATES}}}}}',
            202,
            has={"job": {}},
        ),
    ),
    # --- cross-cutting ---
    item(
        107,
        "no credential",
        get(
            status=401,
            code="6691623",
            sent={"Authorization": ""},
            headers={"www-authenticate": 'Basic realm="Keystead", charset="UTF-8"'},
            has={"error": {"message": "User is not authorized."}},
        ),
    ),
    item(
        114,
        "the version, as numbers",
        get("?fields=version", "/cluster", has={"version": {"generation": 9, "major": 18, "minor": 1}}),
    ),
)

CLIENT = "tests/conformance/test_netapp_ontap.py"
ELSEWHERE = {
    13: (CLIENT, "test_add_one_server"),
    16: (CLIENT, "test_add_servers_in_bulk"),
    17: (CLIENT, "test_add_servers_in_bulk"),
    31: ("tests/core/test_key_servers.py", "test_refused"),
    34: ("tests/service/test_key_servers.py", "test_certificate_gone"),
    35: ("tests/core/test_key_servers.py", "test_refused"),
    36: ("tests/service/test_key_servers.py", "test_an_old_node_joins_while_we_probe"),
    37: ("tests/api/test_errors.py", "test_unreadable_key_servers_are_65536834"),
    59: ("tests/api/test_connectivity.py", "test_a_server_just_added_is_available_at_once"),
    70: ("tests/api/test_connectivity.py", "test_a_filter_of_node_states_prunes_them_when_asked_to"),
    84: ("tests/service/test_change_key_servers.py", "test_releases_of_nodes"),
    104: ("tests/api/test_certificates.py", "test_checklist_104"),
    105: ("tests/api/test_certificates.py", "test_a_client_certificate_is_installed_and_read"),
    106: (CLIENT, "test_certificate_in_use"),
    108: ("tests/api/test_auth.py", "test_readonly_writes_nothing"),
    109: ("tests/api/test_access_matrix.py", "test_every_cell"),
    110: ("tests/api/test_tunnelling.py", "test_a_tunnelled_call_sees_one_svm"),
    111: ("tests/service/test_audit.py", "test_a_changes_record_is_in_its_transaction"),
    115: ("tests/conformance/test_ansible.py", "test_key_manager"),
    116: ("tests/app/test_watching.py", "test_a_server_that_goes_and_comes_back"),
    117: ("tests/monitor/test_certificates.py", "test_certificates_that_expire_soon_are_announced_once"),
}

LATER = {
    **dict.fromkeys((29, 88), "nodes need no quorum of their own: they keep their state in one database"),
    **dict.fromkeys((87, 89), "no keys are kept yet"),
    **dict.fromkeys((91, 92), "key servers are not removed by query yet"),
    **dict.fromkeys((63, 64, 69), "operators and order_by come with the query language; until then they are refused"),
    **dict.fromkeys((100, 101, 102, 103), "no keys are kept yet"),
    112: "the audit log is not read through the API yet",
    113: "every call is synchronous: there are no jobs",
}
