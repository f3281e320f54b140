"""The pages of the console: one module each, and the table of all."""

from keystead.web.declaration import Page
from keystead.web.pages import (
    add_key_manager,
    add_key_servers,
    audit,
    certificates,
    change_key_server,
    events,
    health,
    jobs,
    key_servers,
    keys,
    new_certificate,
    new_key,
    overview,
    remove_key_server,
    sessions,
    successor,
    survival,
)

PAGES: tuple[Page, ...] = (
    *overview.PAGES,
    *add_key_manager.PAGES,
    *add_key_servers.PAGES,
    *key_servers.PAGES,
    *change_key_server.PAGES,
    *remove_key_server.PAGES,
    *new_key.PAGES,
    *keys.PAGES,
    *new_certificate.PAGES,
    *certificates.PAGES,
    *successor.PAGES,
    *survival.PAGES,
    *events.PAGES,
    *audit.PAGES,
    *jobs.PAGES,
    *health.PAGES,
    *sessions.PAGES,
)
"""All pages. The login form is not among them: nobody is logged in there."""
