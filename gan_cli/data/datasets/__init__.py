"""Published data sets, and synthetic points and shapes."""
