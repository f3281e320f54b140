"""ONTAP's rules as pure functions and values: no I/O, no clock, no logging, no framework."""
