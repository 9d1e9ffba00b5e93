"""Breaks commands on purpose: kills, failing writes, power cuts, signals, hostile files. See `make torture-quick`."""
