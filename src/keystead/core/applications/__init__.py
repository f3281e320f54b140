"""Rules of the objects that applications keep over KMIP."""
