"""Rebuild a lost database from what key servers hold."""
