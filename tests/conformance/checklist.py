"""The conformance checklist: what ONTAP's documents and clients say of these calls, line by line.

What calls show is in :data:`CHECKLIST`. What other tests show stands in :data:`ELSEWHERE`, what is not followed in
:data:`NOT_FOLLOWED`, what is not there yet, with the reason, in :data:`LATER`: the four together are the whole list.
"""

from __future__ import annotations

from typing import Any

from tests.conformance.calls import UNKNOWN, Call, get, item, key_manager
from tests.conformance.checklist_key_servers import KEY_SERVERS

ITEMS = 117

CERTIFICATES = '"client_certificate": {"uuid": "$CLIENT"}, "server_ca_certificates": [{"uuid": "$CA"}]'
SERVERS = '"servers": [{"server": "$B"}]'
EXTERNAL: dict[str, Any] = {
    "client_certificate": {"uuid": "$CLIENT"},
    "server_ca_certificates": [{"uuid": "$CA"}],
    "servers": [{"server": "$B"}],
}

_READS = "?input=GET%20/api$P*&return_records=false"

CHECKLIST = (
    *KEY_SERVERS,
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
        112,
        "reads are in the audit log when asked for",
        get("?timeout=25"),
        get(f"{_READS}", "/security/audit/messages", has={"num_records": 0}),
        Call("PATCH", "/security/audit", '{"http": true}'),
        get(),
        Call("PATCH", "/security/audit", '{"http": false}'),
        get(),
        get(f"{_READS}", "/security/audit/messages", has={"num_records": 1}),
    ),
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
    13: (f"{CLIENT}::test_add_one_server",),
    16: (f"{CLIENT}::test_add_servers_in_bulk",),
    17: (f"{CLIENT}::test_add_servers_in_bulk",),
    31: ("tests/core/test_key_servers.py::test_refused",),
    34: ("tests/service/configuration/test_key_servers.py::test_certificate_gone",),
    35: ("tests/core/test_key_servers.py::test_refused",),
    36: ("tests/service/configuration/test_key_servers.py::test_an_old_node_joins_while_we_probe",),
    37: ("tests/api/test_errors.py::test_unreadable_key_servers_are_65536834",),
    59: ("tests/api/test_connectivity.py::test_a_server_just_added_is_available_at_once",),
    70: ("tests/api/test_connectivity.py::test_a_filter_of_node_states_prunes_them_when_asked_to",),
    84: ("tests/service/configuration/test_change_key_servers.py::test_releases_of_nodes",),
    104: ("tests/api/test_certificates.py::test_checklist_104",),
    105: ("tests/api/test_certificates.py::test_a_client_certificate_is_installed_and_read",),
    106: (f"{CLIENT}::test_certificate_in_use",),
    108: ("tests/api/test_auth.py::test_readonly_writes_nothing",),
    109: (
        "tests/api/test_access_matrix.py::test_every_cell",
        "tests/conformance/test_netapp_ontap_access.py::test_an_svms_administrator",
    ),
    110: (
        "tests/api/test_tunnelling.py::test_a_tunnelled_call_sees_one_svm",
        "tests/api/test_tunnelling.py::test_what_is_created_belongs_to_the_tunnels_svm",
        "tests/api/test_tunnelling.py::test_contradictions_are_refused",
    ),
    111: (
        "tests/service/audit/test_log.py::test_a_changes_record_is_in_its_transaction",
        "tests/api/test_audit.py::test_a_change_and_a_refusal_are_read_back",
        "tests/app/test_secrets.py::test_no_secret_is_found_where_it_does_not_belong",
    ),
    113: ("tests/api/test_jobs.py::test_a_job_that_succeeded", "tests/api/test_jobs.py::test_a_job_that_failed"),
    115: ("tests/conformance/test_ansible.py::test_key_manager",),
    116: ("tests/app/test_watching.py::test_a_server_that_goes_and_comes_back",),
    117: ("tests/monitor/test_certificates.py::test_certificates_that_expire_soon_are_announced_once",),
}
"""The tests that show a line."""

LATER = dict.fromkeys((87, 89, 100, 101, 102, 103), "no keys are kept yet")
"""What is not built, and why."""

DECIDED = {
    **dict.fromkeys((29, 88), "65536600 (a node is out of quorum)"),
    **dict.fromkeys((18, 19), "`server` and `records` together; neither"),
    **dict.fromkeys(
        (46, 47),
        "`timeout`, `create_remove_timeout`, `username`, `password`, `secondary_key_servers` in POST key-servers",
    ),
    15: "bulk POST with `return_records=true`",
    20: "`server` and `records` together; neither",
    21: "more than four `records`",
    33: "malformed uuid in a path",
    36: "65536822 (release)",
    40: "66060341 (network)",
    77: "clearing a key server's credential",
    79: "PATCH and DELETE of a server that is not there",
    85: "the last key server",
}
"""Lines that leave something open, contradict others or are not followed: the row of the page on deviations."""

NOT_FOLLOWED = (29, 88)
"""Of these, the ones that nothing here can show."""
