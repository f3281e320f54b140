"""KMIP server for applications: an adapter of :mod:`keystead.service.applications`."""
