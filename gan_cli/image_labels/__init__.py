"""Finds the labels of image files in folders, tables, names and arrays. Imports no torch."""
