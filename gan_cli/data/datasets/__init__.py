"""Data sets that are chosen by name, and drawn points and shapes."""
