"""Options of the data sets that are drawn from SVG images: avatars and emoji."""

from typing import ClassVar, Literal

from pydantic import Field

from gan_cli.config.options.datasets import ImageOptions, ImageSize, check_drawn_bytes, image_shape
from gan_cli.config.options.fields import Integer, Name, Text, matching, section
from gan_cli.errors import UsageError

TEST_SEEDS = 1_000_000  # the avatars of the test split have the seeds from here on, those for training lower ones
# The styles of dicebear-styles without `initials` and `initial-face`, which show letters and need fonts.
Style = Literal[
    "adventurer", "adventurer-neutral", "avataaars", "avataaars-neutral", "big-ears", "big-ears-neutral", "big-smile",
    "blobs", "bottts", "bottts-neutral", "cameo", "clay", "constellation", "critters", "croodles", "croodles-neutral",
    "cutouts", "disco", "dylan", "fun-emoji", "gaze", "glass", "glyphs", "icons", "identicon", "landscape", "line-face",
    "loops", "lorelei", "lorelei-neutral", "marbles", "micah", "miniavs", "moods", "notionists", "notionists-neutral",
    "open-peeps", "patchwork", "personas", "pixel-art", "pixel-art-neutral", "pixelbot", "planets", "rings", "shadows",
    "shape-grid", "shapes", "slice", "sprouts", "squircles", "stack", "stripes", "thumbs", "toon-head", "triangles",
    "voxel-art", "voxel-bot", "waves", "weave",
]  # fmt: skip
Vendor = Literal["noto", "twemoji"]


@section
class DrawnOptions(ImageOptions):
    """The keys that the data sets of SVG images have in common. `extra` is the extra that draws them."""

    extra: ClassVar[str] = "emoji"
    cache: Text = Field(
        title="a folder, or none",
        description="folder of drawn images, which the next run maps instead of drawing them again, or none",
    )


@section
class Avatars(DrawnOptions):
    extra: ClassVar[str] = "avatars"
    style: Style = Field(description="how the avatars are drawn; the run shows the licence of the style")
    size: Integer = Field(ge=1, le=TEST_SEEDS, description="number of avatars drawn, each from a seed of its own")
    background: Text = matching(
        r"style|white|black|#[0-9a-fA-F]{6}",
        "style, white, black or a colour as '#8090ff'",
        description="colour behind the avatars: white, black or '#8090ff'; style: those of the style, white if it has"
        " none",
    )

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        for key, is_set in (("classes", self.classes is not None), ("balance", self.balance)):
            if is_set:
                raise UsageError(f"dataset.{key}: avatars have several attributes, none is their class; leave it out")
        return check_drawn_bytes(self.size, image_shape(self.channels, image_size))


@section
class EmojiOptions(DrawnOptions):
    """The keys that the data sets of emoji have in common."""

    path: Text | tuple[Name, ...] | None = Field(
        description="the folder with the npm packages @iconify-json/noto and @iconify-json/twemoji: their tarballs,"
        " their folders or node_modules; or one or more tarballs, as [a.tgz,b.tgz]"
    )
    background: Text = matching(
        r"white|black|#[0-9a-fA-F]{6}",
        "white, black or a colour as '#8090ff'",
        description="colour behind the emoji: white, black or '#8090ff'",
    )

    def shape_drawn_from(self, vendors: tuple[str, ...], image_size: ImageSize) -> tuple[int, ...]:
        """Returns the shape of a sample. Raises UsageError, which names the packages, if `path` is not set."""
        if self.path is None:
            packages = " ".join(f"@iconify-json/{vendor}" for vendor in vendors)
            raise UsageError(
                f"dataset.path is missing: run npm pack {packages} in a folder, and set dataset.path= that folder"
            )
        return image_shape(self.channels, image_size)


@section
class Emoji(EmojiOptions):
    vendor: Vendor = Field(description="who drew the emoji: noto, Google's, or twemoji, Twitter's")

    @property
    def vendors(self) -> tuple[str, ...]:
        return (self.vendor,)

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        return self.shape_drawn_from(self.vendors, image_size)


@section
class EmojiPairs(EmojiOptions):
    source: Vendor = Field(description="who drew the source images: noto or twemoji")
    target: Vendor = Field(description="who drew the samples: noto or twemoji")

    @property
    def vendors(self) -> tuple[str, ...]:
        return (self.source, self.target)

    def sample_shape(self, image_size: ImageSize) -> tuple[int, ...]:
        if self.source == self.target:
            raise UsageError(f"dataset.source and dataset.target are both {self.source}: choose two vendors")
        return self.shape_drawn_from(self.vendors, image_size)
