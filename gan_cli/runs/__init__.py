"""What a run writes beside its checkpoints: log, metrics, trackers. Imports no torch."""
