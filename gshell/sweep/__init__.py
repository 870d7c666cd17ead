"""Experiments: processes on many hosts, reservations, and sweeps over parameters that survive
crashes. What execo's users know, under the same names."""
