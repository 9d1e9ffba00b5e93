"""Breaks commands on purpose: kills, failing writes, power cuts, signals, hostile files. Run by `make torture-quick`."""
