"""The training loop, its two steps, and what is done between them."""
