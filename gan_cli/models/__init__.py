"""The networks, their layers, their inputs (latents and conditions), and functions that build them from a config."""
