"""The losses and regularizers that the networks minimize, and the augmentation of images. All work on tensors only."""
