"""What use cases need from the world, as Protocols. Adapters implement them; ``app`` wires them together."""
