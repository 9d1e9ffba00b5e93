"""What is found in the latent space of a generator: the latents of given images, and directions."""
