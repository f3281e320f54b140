"""Retire and recover keys, and destroy the objects of those that are past recovery."""
