"""Frozen values everyone shares. Knows no I/O, no clock, and none of its users."""
