"""The pages of the console: one module each, and the table of all."""

from keystead.web.declaration import Page
from keystead.web.pages import keys, new_key, overview, sessions

PAGES: tuple[Page, ...] = (*overview.PAGES, *new_key.PAGES, *keys.PAGES, *sessions.PAGES)
"""All pages. The login form is not among them: nobody is logged in there."""
