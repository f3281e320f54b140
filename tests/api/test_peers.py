"""``/nodes/withdrawals``: what a node takes there, and from whom."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keystead.api.body import SIZE_LIMIT
from keystead.core import errors
from keystead.core.model import ONTAP_LEVEL, Contact, Node
from keystead.core.withdrawals import Push, Thing, Withdrawn, encoded, enveloped
from keystead.sealing.signing import Signer, one_line
from keystead.service.cluster.peers import PATH, PURPOSE
from tests.peers.asgi import assert_error

if TYPE_CHECKING:
    from tests.api.conftest import Api

ANONYMOUS = {"authorization": None}
ADMIN = Withdrawn(Thing.ACCOUNT, "admin")


async def test_only_messages_of_nodes_are_taken(api: Api) -> None:
    """Whatever account sends them. All others get the same refusal, and the log has the reason."""
    signer = Signer(Ed25519PrivateKey.generate())
    other = Contact("192.0.2.1:8443", "00ff", one_line(signer.public))
    push = Push("another", api.services.peers.public_key, 1, (ADMIN,))
    signature = base64.b64encode(signer.sign(PURPOSE, encoded(push))).decode()
    body = enveloped(encoded(push).decode(), signature)
    refused = [b"", b"{}", b"garbage", json.dumps({"message": "", "signature": ""}).encode(), body]
    with structlog.testing.capture_logs() as logs:
        for each in refused:
            assert_error(await api.admin.post(PATH, each), errors.NOT_AUTHORIZED)
    assert [each["event"] for each in logs] == ["a withdrawal of another node is refused"] * len(refused)
    node = Node("another", "another", ONTAP_LEVEL)
    await api.store.write(lambda tx: (tx.put_node(node), tx.reach_node("another", other, tx.now())))
    api.services.peers._learned_at = 0.0
    with structlog.testing.capture_logs() as logs:
        taken = await api.admin.post(PATH, body, headers=ANONYMOUS)
    assert (taken.status, taken.body) == (200, {})
    assert [(each["event"], each["thing"], each["id"]) for each in logs] == [("another node withdrew", *ADMIN)]
    assert_error(await api.admin.post(PATH, body, headers=ANONYMOUS), errors.NOT_AUTHORIZED)
    assert (await api.admin.get("/api/cluster")).status == 200, "the database still has the account"


async def test_nothing_else_may_be_asked(api: Api) -> None:
    """No other method, and no large body."""
    for method in ("GET", "DELETE", "OPTIONS"):
        answer = await api.admin(method, PATH, headers=ANONYMOUS)
        assert_error(answer, errors.METHOD_NOT_SUPPORTED)
        assert answer.headers["allow"] == "POST"
    large = await api.admin.post(PATH, b"x" * (SIZE_LIMIT + 1), headers=ANONYMOUS)
    assert_error(large, errors.BODY_TOO_LARGE)
