"""Use cases of applications and of the objects that they keep over KMIP."""
