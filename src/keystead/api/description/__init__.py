"""The API describes itself: OpenAPI, its page at /docs/api, the reference page; all from the declarations."""
