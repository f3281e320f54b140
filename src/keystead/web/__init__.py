"""The console: pages for browsers, over the same use cases as the REST API."""
