"""A key manager on real key servers behind the REST face, and accounts for tests of keys."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from keystead.core import errors
from keystead.core.model import Account, Role, Svm
from tests.peers.documented import DocumentedClient
from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group

PLAIN = {"accept": "application/json"}


@dataclass
class Served:
    """The cluster's key manager; ``url`` is the path of its volume keys."""

    api: Api
    manager: str

    @property
    def path(self) -> str:
        """The key manager's path."""
        return f"/api/security/key-managers/{self.manager}"

    @property
    def url(self) -> str:
        """The path of its volume keys."""
        return f"{self.path}/volume-keys"

    async def svm(self, name: str) -> Svm:
        """Return an SVM."""
        made = Svm(str(uuid4()), name)
        await self.api.store.write(lambda tx: tx.add_svm(made))
        return made

    async def account(self, name: str, role: Role, svm: Svm | None = None) -> DocumentedClient:
        """Return an account, and its client."""

        def add(tx: Transaction) -> None:
            admin = tx.account("admin")
            assert admin is not None
            tx.put_account(Account(name, role, admin.password_hash, svm=svm))

        await self.api.store.write(add)
        return DocumentedClient(self.api.admin.app, name, PASSWORD)

    async def vsadmin(self, svm: str) -> DocumentedClient:
        """Return an SVM with an administrator."""
        return await self.account(f"{svm}-admin", Role.VSADMIN, await self.svm(svm))

    async def create(self, name: str, **more: Any) -> str:
        """Create a key and return its id; again, if key servers that were not learned yet did not answer in time."""
        async with asyncio.timeout(60):
            made = await self.api.admin.post(self.url, {"name": name, **more})
            while made.status != 201 and made.body["error"]["code"] == str(errors.TOO_FEW_COPIES.code):
                made = await self.api.admin.post(self.url, {"name": name, **more})
        assert made.status == 201, made.content
        return made.headers["location"].rpartition("/")[2]

    async def shown(self, key_id: str, fields: str = "*") -> Any:
        """Return a key as it is shown."""
        answer = await self.api.admin.get(f"{self.url}/{key_id}?fields={fields}", headers=PLAIN)
        assert answer.status == 200, answer.content
        return answer.body


async def serve_keys(api: Api, pki: Pki, group: Group, primaries: int = 2) -> Served:
    """Return a key manager with this many real primaries: with two, each key must be on both."""
    return Served(api, await api.key_manager(pki, [server.address for server in group.primaries[:primaries]]))
