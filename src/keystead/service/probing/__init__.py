"""Probing key servers: before they are stored, and repeatedly while they are watched."""
