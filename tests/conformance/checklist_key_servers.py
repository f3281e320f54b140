"""The conformance checklist's lines about the key servers of a key manager."""

from __future__ import annotations

from typing import Any

from tests.conformance.calls import UNKNOWN, Call, delete, get, item, patch, post, refused, secondaries

ONE_RECORD: dict[str, Any] = {
    "num_records": 1,
    "records": [{"server": "$B", "_links": {"self": {"href": "/api$P/$B_ENCODED"}}}],
}
ADD_B = post('{"server": "$B"}')
UNCHANGED = get(has={"num_records": 1})

KEY_SERVERS = (
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
    item(44, "its time-out bounds the call", refused('{"server": "$HOLE", "timeout": 1}', "66060341", seconds=15)),
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
    item(
        63,
        "filters by text: wildcards, negation, alternatives, ranges",
        post('{"records": [{"server": "$B"}, {"server": "$HOST2:$PORT"}]}'),
        get("?server=127.0.0.1:*", has={"records": [{"server": "$A"}, {"server": "$B"}]}),
        get("?server=!$A", has={"records": [{"server": "$B"}, {"server": "$HOST2:$PORT"}]}),
        get("?server=$HOST2:$PORT|$A", has={"records": [{"server": "$A"}, {"server": "$HOST2:$PORT"}]}),
        get("?server=127.0.0.1:1..127.0.0.1:65535", has={"records": [{"server": "$A"}, {"server": "$B"}]}),
        get("?server=10.*", has={"records": [], "num_records": 0}),
    ),
    item(
        64,
        "filters by number",
        post('{"records": [{"server": "$B", "timeout": 20}, {"server": "$C", "timeout": 30}]}'),
        *(
            get(f"?timeout={condition}", has={"records": [{"server": server} for server in servers]})
            for condition, servers in (
                (">20", ("$A", "$C")),
                (">=20", ("$A", "$B", "$C")),
                ("<25", ("$B",)),
                ("<=25", ("$A", "$B")),
                ("20..25", ("$A", "$B")),
                ("!25", ("$B", "$C")),
                ("20|30", ("$B", "$C")),
            )
        ),
        get("?timeout=>x", status=400, code="262197", target="timeout"),
    ),
    item(
        65,
        "an unknown name in fields",
        get("?fields=nosuch", status=400, code="262197", target="fields"),
        get("?fields=nosuch,timeout&ignore_unknown_fields=true", has={"records": [{"timeout": 25}]}),
    ),
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
    item(
        69,
        "order_by",
        post('{"records": [{"server": "$B", "timeout": 20}, {"server": "$C", "timeout": 30}]}'),
        get("?order_by=timeout%20desc", has={"records": [{"server": "$C"}, {"server": "$A"}, {"server": "$B"}]}),
        get("?order_by=timeout", has={"records": [{"server": "$B"}, {"server": "$A"}, {"server": "$C"}]}),
        get("?order_by=password", status=400, code="262268", target="order_by"),
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
    item(
        91,
        "what a query matches is removed",
        post('{"records": [{"server": "$B"}, {"server": "$HOST2:$PORT"}]}'),
        Call("DELETE", "$P?server=127.0.0.1*", "{}", has={"num_records": 2}),
        get(has={"records": [{"server": "$HOST2:$PORT"}]}),
    ),
    item(92, "not everything at once", Call("DELETE", "$P", status=400, code="262212"), UNCHANGED),
)
