"""The rules of keys: values and pure functions."""
