"""Animations as WebP, GIF, MP4 or a folder of PNGs, and the animation of a run's sample grids."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from PIL import Image, ImageChops

from gan_cli.errors import StorageError, count_noun, one_line
from gan_cli.storage.atomic_write import replacing
from gan_cli.storage.run_files import open_to_read
from gan_cli.storage.run_folder import SAMPLES

MAX_FRAMES, MAX_FRAME_SIDE = 120, 768  # frames of the animation of a run's grids, and its largest side in pixels
GRID_ANIMATION_FPS = 5  # frames per second of that animation
LAST_FRAME_SECONDS = 1.8  # how much longer its last frame is shown
MOST_PIXELS, MOST_BYTES = 100_000_000, 1 << 30  # of a grid that is read: 64 images of 1,024 pixels have 68,000,000
WEBP_QUALITY = 80
MODES_WITH_OPACITY = ("RGBA", "LA", "PA")
MIN_VISIBLE_OPACITY = 128  # of 255; a GIF shows pixels of at least this opacity
TRANSPARENT_INDEX = 255  # the palette entry of a GIF that means transparent
Item = TypeVar("Item")


class Animation(NamedTuple):
    """An animation of `total` frames of one size, which `frames` yields one after the other.

    Once all frames were read, `unreadable` has the files of frames that could not be read.
    """

    frames: Iterable[Image.Image]
    total: int
    fps: int
    last_frame_seconds: float = 0.0  # how much longer the last frame is shown
    background: str = "white"  # behind transparent pixels in file formats without opacity
    unreadable: Sequence[Path] = ()


def write_animation(animation: Animation, path: Path) -> None:
    """Writes .webp, .gif or .mp4, as the suffix of `path` says. For any other suffix, writes a folder of PNGs.

    All formats but GIF hold only one frame in memory. Raises StorageError if the MP4 encoder fails.
    """
    suffix = path.suffix.lower()
    if suffix == ".mp4":
        _write_mp4(animation, path)
    elif suffix in (".webp", ".gif"):
        _write_webp_or_gif(animation, path, suffix)
    else:
        path.mkdir()
        for number, image in enumerate(animation.frames, 1):
            image.save(path / f"frame_{number:06d}.png", format="PNG")


def _write_webp_or_gif(animation: Animation, path: Path, suffix: str) -> None:
    frames = map(_to_gif_opacity, animation.frames) if suffix == ".gif" else iter(animation.frames)
    # a GIF has durations in multiples of 10 ms; viewers show frames of less than 20 ms too slowly
    milliseconds = 10 * max(round(100 / animation.fps), 2) if suffix == ".gif" else round(1000 / animation.fps)
    durations = [milliseconds] * (animation.total - 1) + [milliseconds + round(1000 * animation.last_frame_seconds)]
    first = next(frames)
    options: dict[str, Any] = {"loop": 0, "quality": WEBP_QUALITY, "duration": durations[0]}
    if animation.total > 1:
        options |= {"append_images": [_RemainingFrames(frames, animation.total - 1)], "duration": durations}
    if "transparency" in first.info:
        options["disposal"] = 2  # clears each frame before the next
    first.save(path, format=suffix[1:], save_all=True, **options)


def _to_gif_opacity(image: Image.Image) -> Image.Image:
    """Converts RGBA to a palette image, in which pixels that are at least half opaque are shown. Keeps other modes."""
    if image.mode != "RGBA":
        return image
    visible = image.getchannel("A").point(lambda opacity: 255 if opacity >= MIN_VISIBLE_OPACITY else 0)
    colours = Image.composite(image.convert("RGB"), Image.new("RGB", image.size), visible)
    quantized = colours.quantize(TRANSPARENT_INDEX)
    palette = quantized.getpalette() or []
    quantized.putpalette(palette + [0] * (3 * (TRANSPARENT_INDEX + 1) - len(palette)))
    quantized.paste(TRANSPARENT_INDEX, mask=ImageChops.invert(visible))
    quantized.info["transparency"] = TRANSPARENT_INDEX
    return quantized


def remove_opacity(image: Image.Image, background: str = "white") -> Image.Image:
    """Returns the image as RGB. If the image has opacity, it is put on a background of this colour."""
    if image.mode not in MODES_WITH_OPACITY:
        return image.convert("RGB")
    foreground = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", foreground.size, background), foreground).convert("RGB")


class _RemainingFrames(Image.Image):
    """All frames after the first, as one image of many frames. Pillow reads each frame only when it writes it."""

    def __init__(self, frames: Iterator[Image.Image], count: int) -> None:
        super().__init__()
        self._frames = frames
        self.n_frames = count

    def seek(self, frame: int) -> None:
        image = next(self._frames, None)
        if image is None:
            raise EOFError
        self.im, self._mode, self._size = image.im, image.mode, image.size
        self.info, self.palette = image.info, image.palette


def _write_mp4(animation: Animation, path: Path) -> None:
    """Writes H.264 in 4:2:0, which needs even sides: an odd side gets one more row or column of black pixels."""
    import imageio_ffmpeg

    frames = iter(animation.frames)
    first = next(frames)
    width, height = first.width + first.width % 2, first.height + first.height % 2
    settings = {"fps": animation.fps, "quality": 8, "macro_block_size": 1, "output_params": ["-movflags", "+faststart"]}
    writer = imageio_ffmpeg.write_frames(str(path), (width, height), **settings)
    try:
        writer.send(None)
        for image in itertools.chain([first], frames):
            pixels = remove_opacity(image, animation.background).crop((0, 0, width, height)).tobytes()
            writer.send(pixels)
        for _ in range(round(animation.last_frame_seconds * animation.fps)):
            writer.send(pixels)
    except OSError as error:
        raise StorageError(f"{path}: the MP4 encoder failed ({one_line(error, 200)})") from error
    finally:
        writer.close()


def animation_of_grids(grids: Sequence[Path], max_frames: int = MAX_FRAMES, fps: int = GRID_ANIMATION_FPS) -> Animation:
    """Returns the animation of image files. If there are more than `max_frames`, evenly spaced ones are taken."""
    selected, unreadable = evenly_spaced(grids, max_frames), list[Path]()
    frames = _read_same_size(selected, unreadable)
    return Animation(frames, len(selected), fps, LAST_FRAME_SECONDS, unreadable=unreadable)


def list_grids(run: Path, last: float | None = None) -> list[tuple[int, Path]]:
    """Returns (step, file) of each grid of a run, by step. Leaves out grids after `last`, which a rollback undid."""
    numbered = [(re.fullmatch(r"step_([0-9]{1,15})", path.stem), path) for path in (run / SAMPLES).glob("step_*.png")]
    grids = sorted((int(match[1]), path) for match, path in numbered if match and path.is_file())
    return [(step, path) for step, path in grids if last is None or step <= last]


def evenly_spaced(items: Sequence[Item], most: int) -> list[Item]:
    """Returns at most `most` of the items, with the first and the last of them."""
    count = min(len(items), most)
    return [items[round(index * (len(items) - 1) / max(count - 1, 1))] for index in range(count)]


def _read_same_size(grids: Sequence[Path], unreadable: list[Path]) -> Iterator[Image.Image]:
    """Yields the images, shrunk to `MAX_FRAME_SIDE` and of one size; the last once more for each unreadable file.

    Adds the unreadable files to `unreadable`.
    """
    image: Image.Image | None = None
    for path in grids:
        try:
            with open_grid(path) as opened:
                frame = opened.convert("RGBA" if opened.mode in MODES_WITH_OPACITY else "RGB")
        except Exception:  # Pillow raises many kinds for invalid files
            unreadable.append(path)
            continue
        frame.thumbnail((MAX_FRAME_SIDE, MAX_FRAME_SIDE))
        image = frame if image is None else frame.resize(image.size)
        yield image
    if image is None:
        raise StorageError(f"{grids[0].parent}: none of its sample grids can be read")
    yield from [image] * len(unreadable)


@contextlib.contextmanager
def open_grid(path: Path) -> Iterator[Image.Image]:
    """Opens a PNG file of a run, which may come from someone else, without decoding its pixels.

    Raises OSError if it is no regular file or too large; Pillow may raise almost anything for an invalid file.
    """
    ignored = warnings.catch_warnings(action="ignore")  # of large images
    with open_to_read(path) as file, ignored, Image.open(file, formats=["PNG"]) as image:
        if image.width * image.height > MOST_PIXELS or os.fstat(file.fileno()).st_size > MOST_BYTES:
            raise OSError(errno.EFBIG, f"larger than {MOST_PIXELS:,} pixels", str(path))
        yield image


def save_progress_animation(grids: Sequence[Path], path: Path) -> str:
    """Writes an animated WebP of at most `MAX_FRAMES` of a run's grids. Writes nothing if there are no grids.

    Returns a line on the grids that could not be read, which it lacks; an empty text if there are none.
    """
    if not grids:
        return ""
    animation = animation_of_grids(grids)
    with replacing(path) as temporary:
        write_animation(animation, temporary)
    return describe_unreadable(animation)


def describe_unreadable(animation: Animation) -> str:
    """Returns a line on the frames of a written animation that could not be read; an empty text if there are none."""
    if not animation.unreadable:
        return ""
    return f"{count_noun(len(animation.unreadable), 'grid')} cannot be read and left out: {animation.unreadable[0]}"
