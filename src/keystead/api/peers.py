"""``/nodes/withdrawals``: what other nodes tell this one. No account calls it: the message is signed by a node.

The path is not ONTAP's, and outside of ``/api``. A refusal says nothing of its reason, which is in the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.api.body import read_body
from keystead.api.hal import Reply
from keystead.api.request import ALLOW
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.service.cluster.peers import PATH, PushRefused

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from keystead.service.cluster.peers import Peers


class PeerPage:
    """Middleware that takes messages of other nodes and passes on all other requests."""

    def __init__(self, app: ASGIApp, peers: Peers) -> None:
        self._app = app
        self._peers = peers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the message, or raise 6 (403); or pass the request on."""
        if scope.get("path") != PATH:
            await self._app(scope, receive, send)
            return
        if scope["method"] != "POST":
            scope[ALLOW] = b"POST"
            raise OntapError(errors.METHOD_NOT_SUPPORTED)
        try:
            await self._peers.receive(await read_body(scope, receive))
        except PushRefused:
            raise OntapError(errors.NOT_AUTHORIZED) from None
        await Reply(200, {}).send(send, hal=False)
