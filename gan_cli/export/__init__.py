"""A generator as files for other programs."""
