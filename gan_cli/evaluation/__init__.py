"""Evaluation of samples: references, features, metrics."""
