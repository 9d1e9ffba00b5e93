"""Sweeps: plans and runs the jobs, records their outcomes, ranks and compares the results. Imports no torch."""
