"""Key servers over KMIP: the adapter behind :class:`keystead.service.ports.store.KeyServerGateway`."""
