"""Small runs of the tasks that make an image from an image."""

TINY = (
    "dataset=shapes",
    "dataset.size=200",
    "dataset.image_channels=3",
    "image_size=16",
    "architecture.generator.base_channels=4",
    "architecture.discriminator.base_channels=4",
    "batch_size=8",
    "steps=3",
    "threads=1",
    "training.log_every=1",
    "training.sample_every=0",
    "training.checkpoint_every=0",
)
RUNS = {
    "translation": ("task=translation", "task.source=edges", "architecture.generator.levels=2"),
    "inpainting": ("task=inpainting", "architecture.generator.levels=2"),
    "super_resolution": ("task=super_resolution", "architecture.generator.blocks=2"),
}
