"""Sweeps: jobs, their outcomes, leaderboard and comparison. Imports no torch."""
