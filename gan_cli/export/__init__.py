"""Writes a generator as a file that other programs can run, with a description of the file."""
