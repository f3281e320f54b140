"""``/health``: the nodes, and how the one that answers is: its database, backup, disk, listener and settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystead.core.console_paths import HEALTH
from keystead.web.declaration import Page
from keystead.web.health import checks, headline, node_rows
from keystead.web.rendering import page, redirect
from keystead.web.shell import ATTENTION, OF_HEALTH, shell

if TYPE_CHECKING:
    from starlette.responses import Response

    from keystead.web.request import PageRequest


async def health(request: PageRequest) -> Response:
    """Show how the service itself is."""
    view = await request.services.health.view(request.call)
    items = await request.services.attention.items(request.call)
    about = [item for item in items if item.subject in OF_HEALTH]
    found = checks(view, request.services.listener_tls.protocol_versions)
    tone, sentence = headline(about, found[0])
    context = {
        "cluster": await request.services.cluster.get(request.call),
        "tone": tone,
        "sentence": sentence,
        "items": about,
        "nodes": node_rows(view),
        "checks": found,
    }
    return page("health.html", await shell(request, HEALTH, items) | context)


async def remove_node(request: PageRequest) -> Response:
    """Remove a node that is down, and show the others."""
    await request.services.node_removal.remove(request.call, request.value("uuid"))
    return redirect(HEALTH)


PAGES: Final = (
    Page(HEALTH, health, needs=(("GET", "/api/cluster/nodes"), ("GET", ATTENTION))),
    Page(
        "/nodes/{uuid}/remove",
        remove_node,
        needs=(("DELETE", "/api/cluster/nodes/{uuid}"),),
        method="POST",
        asks_password=True,
    ),
)
