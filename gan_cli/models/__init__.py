"""Networks, their layers and conditioning, their inputs, and how they are built from a config."""
