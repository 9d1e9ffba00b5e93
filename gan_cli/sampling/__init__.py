"""Samples and films from a checkpoint or an export."""
