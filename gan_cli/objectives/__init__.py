"""What the networks minimize: losses, regularizers, and augmentation; functions of tensors."""
