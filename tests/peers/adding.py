"""Adds and changes without HTTP, with real probes: what harness processes do. As a program: a second process.

The program opens one installation and does what each line of standard input orders, several calls at once, with one
line of answer.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from keystead.app.wiring import running
from keystead.core.errors import OntapError
from keystead.core.key_managers import CertificateName, NewKeyManager
from keystead.core.key_servers import AddRequest, ModifyRequest, NewKeyServer
from keystead.core.model import Role
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from keystead.service.context import Call, Caller
from keystead.settings import Settings
from tests.peers import fork_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence

    from keystead.service.services import Services

ROOT = Path(__file__).parents[2]
CALL = Call(Caller("admin", Role.ADMIN, "192.0.2.7"), "POST", "/api/security/key-managers/x/key-servers")


def new_key_server(fields: dict[str, Any]) -> NewKeyServer:
    """A server as the REST face would ask for it."""
    return NewKeyServer(
        server=ServerAddress.parse(fields["server"]),
        timeout=10,
        username=fields.get("username", ""),
        password=Secret(fields["password"]) if "password" in fields else None,
        secondary_key_servers=tuple(fields.get("secondary_key_servers", ())),
    )


def modify_request(fields: dict[str, Any]) -> ModifyRequest:
    """A change as the REST face would ask for it."""
    values = dict(fields)
    if "password" in values:
        values["password"] = Secret(values["password"])
    if "secondary_key_servers" in values:
        values["secondary_key_servers"] = tuple(values["secondary_key_servers"])
    return ModifyRequest(ServerAddress.parse(values.pop("server")), **values)


@asynccontextmanager
async def opened(data: str, database: str) -> AsyncIterator[Services]:
    """The use cases of an installation."""
    settings = Settings(data=Path(data), database=database, egress_allow=("127.0.0.0/8",), probes_per_account=16)
    async with running(settings) as open_:
        yield open_.services


async def add(services: Services, key_manager: str, servers: Sequence[NewKeyServer]) -> None:
    """Add servers in one call."""
    state = await services.key_servers.state(CALL, key_manager)
    await services.key_servers.add(CALL, state, AddRequest(tuple(servers), "records[{index}]."))


async def change(services: Services, key_manager: str, verb: str, fields: dict[str, Any]) -> None:
    """Add, modify or remove one server."""
    if verb == "add":
        await add(services, key_manager, [new_key_server(fields)])
        return
    state = await services.key_servers.state(CALL, key_manager)
    if verb == "modify":
        await services.key_servers.modify(CALL, state, modify_request(fields))
    else:
        await services.key_servers.remove(CALL, state, ServerAddress.parse(fields["server"]))


async def outcome(work: Awaitable[Any]) -> str:
    """Return what became of it: the word stored, or the code of the refusal."""
    try:
        await work
    except OntapError as error:
        return str(error.kind.code)
    return "stored"


class Adder:
    """A process that adds, from a test's side."""

    def __init__(self, data: Path, database: str) -> None:
        command = [*fork_server.command(__name__), str(data), database]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=120)

    def add(self, key_manager: str, requests: Sequence[Sequence[str]]) -> None:
        """Order adds to a key manager, all at once, each of one or more addresses."""
        self._order("add", key_manager, requests)

    def change(self, key_manager: str, requests: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Order changes of a key manager's servers, all at once, each ``add``, ``modify`` or ``remove`` of one."""
        self._order("change", key_manager, requests)

    def create(self, new: Mapping[str, Any], requests: Sequence[Sequence[str]]) -> None:
        """Order creations of an SVM's key manager, all at once, each with these addresses."""
        self._order("create", new, requests)

    def _order(self, *order: Any) -> None:
        assert self._process.stdin
        print(json.dumps(order), file=self._process.stdin, flush=True)

    def outcomes(self) -> list[str]:
        """Return what became of the requests of the last order."""
        assert self._process.stdout
        found: list[str] = json.loads(self._process.stdout.readline())
        return found


def new_key_manager(new: Mapping[str, Any], servers: Sequence[NewKeyServer]) -> NewKeyManager:
    """A key manager as the REST face would ask for it."""
    return NewKeyManager(
        svm_uuid=None,
        svm_name=new["svm"],
        client_certificate=CertificateName(new["client_certificate"]),
        server_ca_certificates=(CertificateName(new["server_ca"]),),
        servers=tuple(servers),
    )


def work(services: Services, job: str, where: Any, request: Sequence[Any]) -> Awaitable[Any]:
    """One call of an order."""
    if job == "change":
        return change(services, where, *request)
    servers = tuple(new_key_server({"server": address}) for address in request)
    if job == "create":
        return services.key_managers.create(CALL, new_key_manager(where, servers))
    return add(services, where, servers)


async def main(data: str, database: str) -> None:
    """Do orders until the end of standard input."""
    loop = asyncio.get_running_loop()
    async with opened(data, database) as services:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            job, where, requests = json.loads(line)
            calls = [outcome(work(services, job, where, request)) for request in requests]
            print(json.dumps(await asyncio.gather(*calls)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
