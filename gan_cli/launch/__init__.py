"""Turns a validated config into a run: starts, resumes, replays, fine-tunes, or only previews it."""
