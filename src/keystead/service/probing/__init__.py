"""Probing key servers: before they are stored, and again and again while they are watched."""
