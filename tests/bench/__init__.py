"""Measures gshell beside its peers (run.py). Knows its command line and, of its insides, spawn."""
