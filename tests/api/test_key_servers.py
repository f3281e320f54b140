"""``/security/key-managers/{uuid}/key-servers`` over real KMIP servers: shapes, links, dry run, errors."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from tests.api.conftest import ABSENT
from tests.peers.asgi import assert_error
from tests.peers.certificates import Authority, server_context
from tests.peers.fault_servers import FaultServer, refused_port, tls
from tests.peers.kmip_answers import answering

if TYPE_CHECKING:
    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki
    from tests.peers.processes import Program

CANARY = "c4nary-s3cret"


@pytest.fixture
async def servers_path(api: Api, pki: Pki, pykmip_servers: list[Program]) -> str:
    """Return the key servers of a cluster key manager that has one, the first of the session's."""
    uuid = await api.key_manager(pki, [pykmip_servers[0].address])
    return f"/api/security/key-managers/{uuid}/key-servers"


def link(path: str, address: str) -> str:
    """Return the path of a server as clients encode it."""
    return f"{path}/{address.replace(':', '%3A')}"


async def test_one_server_is_added(api: Api, servers_path: str, pykmip_servers: list[Program]) -> None:
    """201, an empty object, Location with the encoded address; then readable in every spelling of its path."""
    address = pykmip_servers[1].address
    answer = await api.admin.post(f"{servers_path}?return_timeout=30", {"server": address, "_links": {"self": {}}})
    assert (answer.status, answer.body) == (201, {})
    location = answer.headers["location"]
    assert location == link(servers_path, address)
    expected = {
        "uuid": servers_path.split("/")[4],
        "server": address,
        "timeout": 25,
        "username": "",
        "create_remove_timeout": 10,
        "_links": {"self": {"href": location}},
    }
    for path in (location, f"{servers_path}/{address}", f"{location}/", f"{servers_path}//{address}/"):
        assert (await api.readonly.get(f"{path}?fields=%2A")).body == expected
        assert (await api.readonly.get(path)).body == expected


async def test_everything_given_is_applied(api: Api, servers_path: str, pykmip_servers: list[Program]) -> None:
    """Time-outs as numbers or digits, credential, a secondary; the password is shown and recorded nowhere."""
    address = pykmip_servers[1].address
    secondary = "localhost"
    body = {
        "server": address,
        "timeout": "30",
        "create_remove_timeout": 0,
        "username": "u",
        "password": CANARY,
        "secondary_key_servers": [secondary],
    }
    answer = await api.admin.post(servers_path, body)
    assert answer.status == 201, answer.content
    shown = await api.admin.get(f"{servers_path}/{address}?fields=**")
    assert shown.body["timeout"] == 30
    assert shown.body["create_remove_timeout"] == 0
    assert shown.body["username"] == "u"
    assert shown.body["secondary_key_servers"] == [secondary]
    assert CANARY.encode() not in shown.content
    assert b"password" not in shown.content
    assert shown.body["connectivity"]["cluster_availability"] is True
    record = (await api.audit())[-1]
    assert json.loads(record.input) == body | {"password": "***"}
    listed = (await api.admin.get("/api/security/key-managers?fields=external")).body["records"][0]
    assert listed["external"]["servers"][1]["secondary_key_servers"] == secondary


async def test_several_servers_are_added_at_once(api: Api, servers_path: str, pykmip_servers: list[Program]) -> None:
    """Bulk: one record per server with its key and link, Location of the first."""
    addresses = [server.address for server in pykmip_servers[1:3]]
    body = {"records": [{"server": address, "timeout": 5, "_links": {}} for address in addresses]}
    answer = await api.admin.post(f"{servers_path}?return_records=true", body)
    assert answer.status == 201
    assert answer.headers["location"] == link(servers_path, addresses[0])
    assert answer.body == {
        "num_records": 2,
        "records": [
            {"server": address, "_links": {"self": {"href": link(servers_path, address)}}} for address in addresses
        ],
    }
    listed = (await api.admin.get(servers_path)).body
    assert [record["server"] for record in listed["records"]] == [pykmip_servers[0].address, *addresses]
    assert set(listed["records"][0]) == {"server", "_links"}
    assert listed["_links"]["self"]["href"] == servers_path


async def test_pages_keep_the_order_of_creation(api: Api, servers_path: str, pykmip_servers: list[Program]) -> None:
    """One server a page, following the links."""
    addresses = [server.address for server in pykmip_servers[:4]]
    added = await api.admin.post(servers_path, {"records": [{"server": address} for address in addresses[1:]]})
    assert added.status == 201
    url, seen = f"{servers_path}?max_records=1&fields=timeout", []
    while url:
        page = (await api.admin.get(url)).body
        assert page["num_records"] == 1
        seen += [(record["server"], record["timeout"]) for record in page["records"]]
        url = page["_links"].get("next", {}).get("href", "")
    assert seen == [(address, 25) for address in addresses]


async def test_filters_compare_by_meaning(api: Api, servers_path: str, pykmip_servers: list[Program]) -> None:
    """A server is found by its address; other values by equality; filtered fields are shown."""
    port = pykmip_servers[1].port
    assert (await api.admin.post(servers_path, {"server": f"LocalHost:{port}", "timeout": 7})).status == 201
    for query, found in (
        (f"server=localhost.%3A{port}", 1),
        ("server=localhost", 0),
        ("timeout=7", 1),
        ("timeout=8", 0),
        ("timeout=7&create_remove_timeout=10&username=", 1),
        ("secondary_key_servers=a", 0),
    ):
        answer = (await api.admin.get(f"{servers_path}?{query}")).body
        assert answer["num_records"] == len(answer["records"]) == found, query
    (record,) = (await api.admin.get(f"{servers_path}?timeout=7")).body["records"]
    assert (record["server"], record["timeout"]) == (f"LocalHost:{port}", 7)
    assert (await api.admin.get(f"{servers_path}/LOCALHOST.:{port}")).body["server"] == f"LocalHost:{port}"
    again = await api.admin.post(servers_path, {"server": f"localhost.:{port}"})
    assert_error(again, errors.KEY_SERVER_EXISTS, "server")


@pytest.mark.parametrize("server", ["127.0.0.1:1", "nosuch", "%40%40", "a:b:c", "%5B::1%5D:5696", "a%00b", "a" * 300])
async def test_an_absent_server_is_code_4(api: Api, servers_path: str, server: str) -> None:
    """Also one that cannot be an address."""
    assert_error(await api.admin.get(f"{servers_path}/{server}"), errors.ENTRY_NOT_FOUND, "server")


async def test_an_absent_key_manager_comes_before_the_body(api: Api) -> None:
    """404 with target uuid before a byte of the body is read, and before a malformed server."""
    path = f"/api/security/key-managers/{ABSENT}/key-servers"
    assert_error(await api.admin.post(path, b"{broken"), errors.ENTRY_NOT_FOUND, "uuid")
    assert api.admin.body_reads == 0
    assert_error(await api.admin.get(f"{path}/@"), errors.ENTRY_NOT_FOUND, "uuid")


async def test_a_dry_run_stores_nothing(api: Api, servers_path: str, pykmip_servers: list[Program]) -> None:
    """200 with a record per server: accepted or why not, its stages, what was learned; audited, not stored."""
    refused = f"127.0.0.1:{refused_port()}"
    body = {"records": [{"server": pykmip_servers[1].address}, {"server": refused}]}
    answer = await api.admin.post(f"{servers_path}?dry_run=true", body)
    assert answer.status == 200
    assert "location" not in answer.headers
    good, bad = answer.body["records"]
    assert answer.body["num_records"] == 2
    assert good["server"] == pykmip_servers[1].address
    assert good["accepted"] is True
    assert [stage["state"] for stage in good["stages"]] == ["passed"] * 6
    assert good["learned"]["tls_version"] == "TLSv1.2"
    assert not {"code", "reason", "at_fault"} & set(good)
    assert good["certificates"][0]["issuer"] == "Key Server CA"
    assert good["client_certificates"][0]["subject"] == "keystead"
    assert not {"certificates", "client_certificates", "at_fault"} & set(bad)
    assert (bad["server"], bad["accepted"], bad["code"], bad["reason"]) == (
        refused,
        False,
        str(errors.NETWORK.code),
        "connection_refused",
    )
    assert (await api.admin.get(servers_path)).body["num_records"] == 1
    record = (await api.audit())[-1]
    assert (record.method, record.state) == ("POST", "success")
    assert "dry run" in record.message


async def test_a_dry_run_names_the_certificate_at_fault(api: Api, servers_path: str, pki: Pki) -> None:
    """Beside both chains: an intermediate that the server shows has expired."""
    expired = Authority("Expired CA", parent=pki.server_ca, ends=timedelta(days=-1))
    with FaultServer(tls(server_context(expired.issue(), pki.client_ca), answering())) as server:
        body = {"server": f"127.0.0.1:{server.port}"}
        (record,) = (await api.admin.post(f"{servers_path}?dry_run=true", body)).body["records"]
    assert record["reason"] == "server_certificate_expired"
    assert record["at_fault"] == {"whose": "server"} | record["certificates"][1]
    assert record["at_fault"]["subject"] == "Expired CA"
    assert [each["subject"] for each in record["client_certificates"]] == ["keystead"]


async def test_a_dry_run_obeys_the_rules_and_roles(api: Api, servers_path: str, pykmip_servers: list[Program]) -> None:
    """Rules are raised as in an add; it needs the right to write."""
    body = {"server": pykmip_servers[0].address}
    assert_error(await api.admin.post(f"{servers_path}?dry_run=TRUE", body), errors.KEY_SERVER_EXISTS, "server")
    assert_error(await api.readonly.post(f"{servers_path}?dry_run=true", body), errors.NOT_AUTHORIZED)
    assert_error(await api.admin.post(f"{servers_path}?dryrun=true", body), errors.UNEXPECTED_ARGUMENT, "dryrun")
    assert_error(await api.admin.post(f"{servers_path}?dry_run=1", body), errors.INVALID_FIELD_VALUE, "dry_run")


async def test_a_dry_run_names_the_secondary_that_failed(
    api: Api, servers_path: str, pykmip_servers: list[Program]
) -> None:
    """Which of a primary's addresses was refused is said."""
    body = {"server": pykmip_servers[1].address, "secondary_key_servers": ["nosuch.invalid"]}
    (record,) = (await api.admin.post(f"{servers_path}?dry_run=true", body)).body["records"]
    assert record["accepted"] is False
    assert record["failed_server"] == f"nosuch.invalid:{pykmip_servers[1].port}"


async def test_the_rules_name_their_place(api: Api, servers_path: str, pykmip_servers: list[Program]) -> None:
    """Targets of single and bulk bodies; nothing is stored."""
    first, second = pykmip_servers[0].address, pykmip_servers[1].address
    for body, kind, target in (
        ({"records": [{"server": second}, {"server": second}]}, errors.DUPLICATE_KEY_SERVERS, "records[1].server"),
        ({"records": [{"server": second}, {"server": first}]}, errors.KEY_SERVER_EXISTS, "records[1].server"),
        ({"records": [{"server": f"h{i}"} for i in range(5)]}, errors.KEY_SERVER_LIMIT, None),
        ({"server": second, "username": "u"}, errors.MISSING_PASSWORD, "password"),
        ({"server": second, "username": "u", "password": ""}, errors.MISSING_PASSWORD, "password"),
        ({"records": [{"server": second, "password": CANARY}]}, errors.MISSING_USERNAME, "records[0].username"),
    ):
        error = assert_error(await api.admin.post(servers_path, body), kind, target)
        assert CANARY not in error["message"]
    assert (await api.admin.get(servers_path)).body["num_records"] == 1
    assert all(CANARY not in f"{record.input}{record.message}" for record in await api.audit())


async def test_a_server_that_fails_is_refused_with_its_reason(api: Api, servers_path: str) -> None:
    """Code, stage and reason in the arguments; recorded once."""
    before = len(await api.audit())
    address = f"127.0.0.1:{refused_port()}"
    error = assert_error(await api.admin.post(servers_path, {"server": address}), errors.NETWORK, "server")
    assert error["arguments"] == [
        {"code": "server", "message": address},
        {"code": "stage", "message": "connect"},
        {"code": "reason", "message": "connection_refused"},
    ]
    (record,) = (await api.audit())[before:]
    assert (record.state, record.code) == ("error", str(errors.NETWORK.code))


async def test_a_secret_in_the_url_is_refused_and_not_recorded(api: Api, servers_path: str) -> None:
    """262202, and the query string is kept out of the audit record."""
    answer = await api.admin.post(f"{servers_path}?password={CANARY}", {"server": "a"})
    assert_error(answer, errors.SECRET_IN_URL, "password")
    assert CANARY.encode() not in answer.content
    assert all(CANARY not in repr(record) for record in await api.audit())
    filtered = await api.admin.get(f"{servers_path}?password={CANARY}")
    assert_error(filtered, errors.FIELD_NOT_QUERYABLE, "password")
    assert CANARY.encode() not in filtered.content


# --- one server: PATCH and DELETE ---


async def test_everything_that_can_be_changed(api: Api, servers_path: str, pykmip_servers: list[Program]) -> None:
    """Each field of a PATCH counts, the key moves with the port, nothing secret is shown or recorded."""
    first, second = pykmip_servers[0], pykmip_servers[1]
    body = {
        "timeout": "30",
        "create_remove_timeout": -1,
        "username": "u",
        "password": CANARY,
        "secondary_key_servers": ["localhost"],
        "port": second.port,
        "tls_server_name": "localhost",
        "replication_domain": "site a",
    }
    answer = await api.admin.patch(f"{servers_path}/{first.address}?return_timeout=0", body)
    assert (answer.status, answer.body) == (200, {}), answer.content
    assert_error(await api.admin.get(f"{servers_path}/{first.address}"), errors.ENTRY_NOT_FOUND, "server")
    shown = await api.admin.get(link(servers_path, second.address))
    assert shown.body == {
        "uuid": servers_path.split("/")[4],
        "server": second.address,
        "timeout": 30,
        "username": "u",
        "secondary_key_servers": ["localhost"],
        "create_remove_timeout": -1,
        "tls_server_name": "localhost",
        "replication_domain": "site a",
        "_links": {"self": {"href": link(servers_path, second.address)}},
    }
    record = (await api.audit())[-1]
    assert (record.method, record.state) == ("PATCH", "success")
    assert json.loads(record.input) == body | {"password": "***"}
    assert second.address in record.message
    cleared = {"username": "", "secondary_key_servers": [], "tls_server_name": "", "replication_domain": ""}
    assert (await api.admin.patch(link(servers_path, second.address), cleared)).status == 200
    shown = await api.admin.get(f"{servers_path}/{second.address}?fields=**")
    assert shown.body["username"] == ""
    gone = {"secondary_key_servers", "tls_server_name", "replication_domain", "password", "port"}
    assert not gone & set(shown.body)


async def test_a_change_is_refused_with_its_place(api: Api, servers_path: str, pykmip_servers: list[Program]) -> None:
    """Codes and targets of a body, of the rules, and of a proof that fails; nothing is stored."""
    path = f"{servers_path}/{pykmip_servers[0].address}"
    before = (await api.admin.get(path)).body
    for body, kind, target in (
        ({}, errors.NOTHING_TO_MODIFY, None),
        ({"server": "a"}, errors.FIELD_NOT_SETTABLE, "server"),
        ({"uuid": ABSENT}, errors.FIELD_NOT_SETTABLE, "uuid"),
        ({"foo": 1}, errors.UNEXPECTED_ARGUMENT, "foo"),
        ({"port": 0}, errors.INVALID_FIELD_VALUE, "port"),
        ({"port": 65536}, errors.INVALID_FIELD_VALUE, "port"),
        ({"timeout": 61}, errors.INVALID_FIELD_VALUE, "timeout"),
        ({"tls_server_name": "a b"}, errors.INVALID_FIELD_VALUE, "tls_server_name"),
        ({"tls_server_name": "kms.example.com:5696"}, errors.INVALID_FIELD_VALUE, "tls_server_name"),
        ({"replication_domain": "x" * 256}, errors.INVALID_FIELD_VALUE, "replication_domain"),
        ({"secondary_key_servers": "localhost"}, errors.ARRAY_EXPECTED, "secondary_key_servers"),
        ({"username": "u"}, errors.MISSING_PASSWORD, "password"),
        ({"password": CANARY}, errors.MISSING_USERNAME, "username"),
        ({"secondary_key_servers": ["a", "A."]}, errors.DUPLICATE_SECONDARIES, "secondary_key_servers"),
        ({"port": refused_port()}, errors.NETWORK, "port"),
        ({"tls_server_name": "kms.example.com"}, errors.SERVER_CA_REFUSED, "server"),
    ):
        error = assert_error(await api.admin.patch(path, body), kind, target)
        assert CANARY not in repr(error)
    assert (await api.admin.get(path)).body == before
    record = (await api.audit())[-1]
    assert (record.state, record.code) == ("error", str(errors.SERVER_CA_REFUSED.code))
    assert_error(await api.readonly.patch(path, {"timeout": 1}), errors.NOT_AUTHORIZED)


async def test_a_changed_server_that_is_not_there(api: Api, servers_path: str) -> None:
    """65536843 for a server, code 4 for a key manager."""
    for call in (
        api.admin.patch(f"{servers_path}/nosuch:5696", {"timeout": 1}),
        api.admin.delete(f"{servers_path}/nosuch:5696"),
        api.admin.delete(f"{servers_path}/nosuch:5696?force=True", {}),
    ):
        assert_error(await call, errors.KEY_SERVER_NOT_CONFIGURED, "server")
    absent = f"/api/security/key-managers/{ABSENT}/key-servers/nosuch"
    assert_error(await api.admin.patch(absent, {"timeout": 1}), errors.ENTRY_NOT_FOUND, "uuid")
    assert_error(await api.admin.delete(absent), errors.ENTRY_NOT_FOUND, "uuid")


async def test_a_dry_run_of_a_change_stores_nothing(api: Api, servers_path: str, pykmip_servers: list[Program]) -> None:
    """200 with the diagnosis of the server as it would be; a change of a time-out alone is a look at it as it is."""
    path = f"{servers_path}/{pykmip_servers[0].address}"
    (record,) = (await api.admin.patch(f"{path}?dry_run=true", {"port": pykmip_servers[1].port})).body["records"]
    assert (record["server"], record["accepted"]) == (pykmip_servers[1].address, True)
    (record,) = (await api.admin.patch(f"{path}?dry_run=true", {"port": refused_port()})).body["records"]
    assert (record["accepted"], record["reason"]) == (False, "connection_refused")
    (record,) = (await api.admin.patch(f"{path}?dry_run=true", {"timeout": 3})).body["records"]
    assert record["accepted"] is True
    assert (await api.admin.get(path)).body["timeout"] == 25


async def test_stored_servers_are_probed(api: Api, servers_path: str, pykmip_servers: list[Program]) -> None:
    """200 with a record per server as in a dry run, all or those that are named; audited; for who may write."""
    first, second = (server.address for server in pykmip_servers[:2])
    assert (await api.admin.post(servers_path, {"server": second})).status == 201
    path = servers_path.replace("/key-servers", "/probe")
    for body, probed in (({}, [first, second]), ({"servers": []}, [first, second]), ({"servers": [second]}, [second])):
        answer = await api.admin.post(path, body)
        assert (answer.status, answer.body["num_records"]) == (200, len(probed))
        assert [(record["server"], record["accepted"]) for record in answer.body["records"]] == [
            (server, True) for server in probed
        ]
        assert [stage["state"] for stage in answer.body["records"][0]["stages"]] == ["passed"] * 6
    record = (await api.audit())[-1]
    assert (record.method, record.state, record.message) == ("POST", "success", "probe: 1 accepted, 0 refused")
    assert_error(await api.readonly.post(path, {}), errors.NOT_AUTHORIZED)


async def test_a_probe_is_refused(api: Api, servers_path: str, pykmip_servers: list[Program]) -> None:
    """For a server that is not stored, which is named; for an address that is none; for an absent key manager."""
    path = servers_path.replace("/key-servers", "/probe")
    known, unknown = (server.address for server in pykmip_servers[:2])
    answer = await api.admin.post(path, {"servers": [known, unknown]})
    error = assert_error(answer, errors.KEY_SERVER_NOT_CONFIGURED, "servers")
    assert error["arguments"] == [{"code": "server", "message": unknown}]
    answer = await api.admin.post(path, {"servers": [known, "a:b:c"]})
    assert_error(answer, errors.INVALID_FIELD_VALUE, "servers[1]")
    absent = f"/api/security/key-managers/{ABSENT}/probe"
    assert_error(await api.admin.post(absent, {}), errors.ENTRY_NOT_FOUND, "uuid")


async def test_a_server_is_removed(api: Api, servers_path: str, pykmip_servers: list[Program]) -> None:
    """With and without a body, the last one too: the key manager lives on without servers and takes new ones."""
    first, second = (server.address for server in pykmip_servers[:2])
    assert (await api.admin.post(servers_path, {"server": second})).status == 201
    for address, body, query in ((first, {}, ""), (second, None, "?force=False")):
        answer = await api.admin.delete(f"{servers_path}/{address}{query}", body)
        assert (answer.status, answer.body) == (200, {}), answer.content
        record = (await api.audit())[-1]
        assert (record.method, record.state, record.message) == ("DELETE", "success", f"removed {address}")
        assert_error(await api.admin.get(f"{servers_path}/{address}"), errors.ENTRY_NOT_FOUND, "server")
    listed = (await api.admin.get(servers_path)).body
    assert (listed["records"], listed["num_records"]) == ([], 0)
    key_manager = (await api.admin.get(f"{servers_path.removesuffix('/key-servers')}?fields=external")).body
    assert key_manager["external"]["servers"] == []
    assert (await api.admin.post(servers_path, {"server": second})).status == 201
    assert_error(await api.readonly.delete(f"{servers_path}/{second}"), errors.NOT_AUTHORIZED)
    assert_error(await api.admin.delete(f"{servers_path}/{second}", {"timeout": 1}), errors.BODY_NOT_ALLOWED)


async def test_a_port_is_no_field_of_a_new_server(api: Api, servers_path: str, pykmip_servers: list[Program]) -> None:
    """It stands in ``server``: 262196 for one of its own, in bulk too, and it is not read."""
    server = {"server": pykmip_servers[1].address, "port": 5696}
    assert_error(await api.admin.post(servers_path, server), errors.FIELD_NOT_SETTABLE, "port")
    answer = await api.admin.post(servers_path, {"records": [server]})
    assert_error(answer, errors.FIELD_NOT_SETTABLE, "records[0].port")
    assert_error(await api.admin.get(f"{servers_path}?fields=port"), errors.FIELD_NOT_READABLE, "fields")


async def test_a_name_to_verify_is_given_per_record(api: Api, servers_path: str, pykmip_servers: list[Program]) -> None:
    """Stored, shown and proved per server; one that is wrong names its place."""
    second, third = (server.address for server in pykmip_servers[1:3])
    records = [{"server": second, "tls_server_name": "localhost"}, {"server": third}]
    assert (await api.admin.post(servers_path, {"records": records})).status == 201
    listed = (await api.admin.get(f"{servers_path}?fields=tls_server_name")).body["records"]
    assert [record.get("tls_server_name") for record in listed] == [None, "localhost", None]
    fourth = pykmip_servers[3].address
    answer = await api.admin.post(servers_path, {"records": [{"server": fourth, "tls_server_name": "kms.example.com"}]})
    error = assert_error(answer, errors.SERVER_CA_REFUSED, "records[0].server")
    assert {"code": "reason", "message": "server_certificate_wrong_name"} in error["arguments"]
