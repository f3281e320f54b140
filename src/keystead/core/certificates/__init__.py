"""The rules of certificates: install, make, sign."""
