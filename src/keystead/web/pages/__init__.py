"""The pages of the console: one module each, and the table of all."""

from keystead.web.declaration import Page
from keystead.web.pages import (
    accounts,
    certificates,
    developer,
    keys,
    new_account,
    new_certificate,
    new_key,
    overview,
    recovery,
    sessions,
    successor,
)

PAGES: tuple[Page, ...] = (
    *overview.PAGES,
    *new_key.PAGES,
    *keys.PAGES,
    *new_certificate.PAGES,
    *certificates.PAGES,
    *successor.PAGES,
    *recovery.PAGES,
    *new_account.PAGES,
    *accounts.PAGES,
    *developer.PAGES,
    *sessions.PAGES,
)
"""All pages. The login form is not among them: nobody is logged in there."""
