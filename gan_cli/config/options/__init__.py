"""Declares the options of gan-train: a frozen dataclass for each option, and tables of these dataclasses by name.

A dataclass declares the type, the range and the meaning of each key. The default values are in `configs/`. Imports no
torch, so that help and error messages appear fast.
"""
