"""Data sets in memory, their labels, and the batches drawn from them."""
