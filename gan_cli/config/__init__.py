"""Configs: composed by Hydra, parsed into dataclasses, checked for what does not go together. Imports no torch."""
