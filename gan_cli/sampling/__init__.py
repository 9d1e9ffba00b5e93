"""Generates samples and animations with the generator of a checkpoint or of an exported file."""
