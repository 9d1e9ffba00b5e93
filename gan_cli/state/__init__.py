"""Everything that changes during training, and the checkpoint that holds it."""
