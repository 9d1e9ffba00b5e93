"""Options of the groups `architecture/generator` and `architecture/discriminator`: the keys of each network."""

from gan_cli.config.options.networks.network_keys import DiscriminatorOptions, GeneratorOptions

__all__ = ["DiscriminatorOptions", "GeneratorOptions"]
