"""keystead.api.description.reference: the page says what the declarations say, and what it says of queries is so."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import uuid4

import pytest

from keystead.api.description.openapi import template
from keystead.api.description.query_examples import EXAMPLES, SERVERS, QueryExample
from keystead.api.description.reference import reference
from keystead.api.parameters import LIST_PARAMETERS, READ_PARAMETERS, WRITE_PARAMETERS
from keystead.api.resources import PATHS, RESOURCES
from keystead.core.model import KeyManager, KeyServer
from keystead.core.server_address import ServerAddress

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api

KEY_MANAGER = "22222222-2222-4222-8222-222222222222"


def test_every_path_and_method_and_field_is_on_the_page() -> None:
    """Nothing that is served or declared is missing."""
    page = reference()
    for path, operations in PATHS.items():
        for method in operations:
            assert f"| `{template(path)}` | {method} |" in page
    for resource in RESOURCES:
        section = page.split(f"\n### {resource.name}\n")[1].split("\n### ")[0]
        for declared in resource.declared:
            assert f"`{declared.name}" in section


def test_every_parameter_is_on_the_page() -> None:
    """Those of all reads, lists and writes, and those of one operation."""
    page = reference()
    for name in (*READ_PARAMETERS, *LIST_PARAMETERS, *WRITE_PARAMETERS):
        assert f"| `{name}` |" in page
    for name in ("dry_run", "force", "create_inactive", "validate_certificates"):
        assert f"`{name}`: " in page


def test_a_row_tells_all() -> None:
    """Type, when it is shown, what sets it, whether lists are ordered by it, since when."""
    page = reference()
    assert "| `timeout` | -1..60 | yes | yes | yes | yes | 9.6 | Seconds to wait" in page
    assert "| `password` | secret string | never | yes | yes |  | 9.6 | KMIP password; never shown. |" in page
    assert "| `server` | host[:port] | always | required |  | yes | 9.6 |" in page
    assert "| `external.servers[]` | object | | | | | | The primary key servers" in page
    assert "| `status.code` | 0..2147483647 | by name or `**` |  |  |  | 9.7 |" in page
    assert "| `port` | 1..65535 | never |  | yes |  | 9.18 |" in page
    assert "| `tls_server_name` | host name or IP address | yes | yes | yes |  | ours | Not ONTAP's" in page
    assert "| `onboard.enabled` | true\\|false | yes |  | no: 65536508 |  | 9.6 |" in page


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.query for example in EXAMPLES])
async def test_a_query_finds_what_the_page_says(api: Api, example: QueryExample) -> None:
    """The servers of the page, each query of the page."""
    await api.store.write(add_servers)
    query = "&".join(
        f"{name}={quote(value, safe='')}"
        for name, _, value in (piece.partition("=") for piece in example.query.split("&"))
    )
    answer = await api.admin.get(f"/api/security/key-managers/{KEY_MANAGER}/key-servers?{query}")
    assert answer.status == 200, answer.content
    assert " ".join(record["server"].partition(".")[0] for record in answer.body["records"]) == example.found


def add_servers(tx: Transaction) -> None:
    """Store the servers of the page, without proving them."""
    tx.add_key_manager(KeyManager(KEY_MANAGER, None, enabled=True, client_certificate="", server_ca_certificates=()))
    tx.add_key_servers(
        [
            KeyServer(
                uuid=str(uuid4()),
                key_manager=KEY_MANAGER,
                position=position,
                address=ServerAddress.parse(server.address),
                timeout=server.timeout,
                create_remove_timeout=10,
                username=server.username,
                secondary_key_servers=tuple(filter(None, [server.secondary])),
            )
            for position, server in enumerate(SERVERS, 1)
        ]
    )
