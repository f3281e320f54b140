"""Retire and recover keys, and destroy the objects of purged keys and of aborted attempts."""
