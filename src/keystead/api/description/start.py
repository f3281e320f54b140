"""The page that answers a browser at ``/``: what this is, and where to go. It is the same for every installation."""

from __future__ import annotations

from keystead.api.description.page import STYLE

START_PAGE = f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Keystead</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{STYLE}</style></head><body>
<main><h1>Keystead</h1>
<p>Keystead is an external key manager: it keeps your storage's encryption keys on KMIP key servers. You manage it
through the ONTAP REST API, without ONTAP.</p>
<ul>
<li><a href="/docs/api">The API's description</a>, and the same <a href="/docs/api/openapi.json">as OpenAPI</a></li>
<li><a href="/healthz"><code>/healthz</code></a>: whether this node runs;
<a href="/readyz"><code>/readyz</code></a>: whether it can serve every call</li>
<li><a href="/readyz/reads"><code>/readyz/reads</code></a>: whether it can answer reads of keys</li>
<li><code>/api</code>: the calls, with a login; <code>keystead --help</code> lists the commands that make them</li>
</ul>
</main></body></html>
"""
