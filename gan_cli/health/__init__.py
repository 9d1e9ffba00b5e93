"""What a run's metrics say of its health, and which overrides help. Imports no torch."""
