"""Options of the groups `architecture/generator` and `architecture/discriminator`: the keys of each network."""
