"""What the networks are given beside latents, and what the tasks make of it: pure functions of tensors."""
