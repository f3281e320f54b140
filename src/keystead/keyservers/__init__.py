"""Access to key servers over KMIP: the adapter behind :class:`keystead.service.ports.probing.KeyServerGateway`."""
