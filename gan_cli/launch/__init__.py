"""From a config to a run: start, resume, replay, fine-tune, dry run."""
