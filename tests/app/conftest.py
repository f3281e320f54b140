"""Real processes and databases, for the tests of the composition root."""

from tests.peers.databases import postgres
from tests.peers.keystead import initialised, installation, shared_service, sound_ports

__all__ = ["initialised", "installation", "postgres", "shared_service", "sound_ports"]
