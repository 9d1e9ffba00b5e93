"""Pictures that move: a sequence of frames as WebP, GIF, MP4 or numbered PNGs, and the film of a run's grids."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageChops

from gan_cli.errors import StorageError, one_line
from gan_cli.storage.links import without_link

MOST_FRAMES, LARGEST_FRAME = 120, 768  # of the film that a run leaves
RUN_FPS, HELD_SECONDS = 5, 1.8  # its last picture stays longer
QUALITY = 80
OPACITY = ("RGBA", "LA", "PA")  # modes that have it
HALF = 128  # opacity from which a GIF shows a pixel
CLEAR = 255  # the entry of a GIF's palette that stands for no pixel


class Film(NamedTuple):
    """`total` frames of one size, drawn as they are needed; the last one is held for `held` seconds more.

    What is transparent stands on `background` in a kind of file without opacity.
    """

    frames: Iterable[Image.Image]
    total: int
    fps: int
    held: float = 0.0
    background: str = "white"


def write_film(film: Film, path: Path) -> None:
    """Writes the kind of file that the name ends in, .webp, .gif or .mp4, of another name a folder of PNGs.

    But for a GIF it holds one frame at once.
    """
    ending = path.suffix.lower()
    if ending not in (".webp", ".gif", ".mp4"):
        _write_frames(film, path)
    elif ending == ".mp4":
        _write_mp4(film, path)
    else:
        _write_animated(film, path, ending)


def _write_frames(film: Film, folder: Path) -> None:
    """`frame_000001.png` and on, with their opacity."""
    folder.mkdir()
    for number, picture in enumerate(film.frames, 1):
        picture.save(folder / f"frame_{number:06d}.png", format="PNG")


def _write_animated(film: Film, path: Path, ending: str) -> None:
    frames = map(_with_hard_edges, film.frames) if ending == ".gif" else iter(film.frames)
    milliseconds = _milliseconds(film.fps, ending)
    durations = [milliseconds] * (film.total - 1) + [milliseconds + round(1000 * film.held)]
    first = next(frames)
    clears = {"disposal": 2} if "transparency" in first.info else {}  # each frame is taken away before the next
    first.save(
        path,
        format={".webp": "WEBP", ".gif": "GIF"}[ending],
        save_all=True,
        append_images=[_Rest(frames, film.total - 1)] if film.total > 1 else [],
        duration=durations if film.total > 1 else durations[0],
        loop=0,
        quality=QUALITY,
        **clears,
    )


def _with_hard_edges(picture: Image.Image) -> Image.Image:
    """A picture with opacity as a GIF can have it: each pixel is shown or not, by whether it is at least half opaque.

    Others are as they are.
    """
    if picture.mode != "RGBA":
        return picture
    shown = picture.getchannel("A").point(lambda opacity: 255 if opacity >= HALF else 0)
    colours = Image.new("RGB", picture.size)
    colours.paste(picture.convert("RGB"), mask=shown)
    limited = colours.quantize(CLEAR)
    palette = limited.getpalette() or []
    limited.putpalette(palette + [0] * (3 * (CLEAR + 1) - len(palette)))
    limited.paste(CLEAR, mask=ImageChops.invert(shown))
    limited.info["transparency"] = CLEAR
    return limited


def flat(picture: Image.Image, background: str = "white") -> Image.Image:
    """The picture without opacity, on a background of this colour."""
    if picture.mode not in OPACITY:
        return picture.convert("RGB")
    seen = picture.convert("RGBA")
    ground = Image.new("RGBA", seen.size, background)
    return Image.alpha_composite(ground, seen).convert("RGB")


def _milliseconds(fps: int, suffix: str) -> int:
    """Of a frame; a GIF counts in hundredths of a second."""
    return 10 * max(round(100 / fps), 2) if suffix == ".gif" else round(1000 / fps)


class _Rest(Image.Image):
    """The frames after the first, as one picture of many frames: Pillow then asks for each when it comes to it."""

    def __init__(self, frames: Iterator[Image.Image], count: int) -> None:
        super().__init__()
        self._frames = frames
        self.n_frames = count

    def seek(self, frame: int) -> None:
        picture = next(self._frames, None)
        if picture is None:
            raise EOFError
        self.im, self._mode, self._size = picture.im, picture.mode, picture.size
        self.info, self.palette = picture.info, picture.palette


def _write_mp4(film: Film, path: Path) -> None:
    """H.264 in 4:2:0, which takes even sides alone: a line of black is added where one is odd."""
    import imageio_ffmpeg

    frames = iter(film.frames)
    first = next(frames)
    width, height = first.width + first.width % 2, first.height + first.height % 2
    writer = imageio_ffmpeg.write_frames(
        str(path),
        (width, height),
        fps=film.fps,
        quality=8,
        macro_block_size=1,
        output_params=["-movflags", "+faststart"],
    )
    try:
        writer.send(None)
        for picture in itertools.chain([first], frames):
            shown = flat(picture, film.background).crop((0, 0, width, height)).tobytes()
            writer.send(shown)
        for _ in range(round(film.held * film.fps)):
            writer.send(shown)
    except OSError as error:
        raise StorageError(f"{path}: could not be made into a film ({one_line(error, 200)})") from error
    finally:
        writer.close()


# --- of a run -----------------------------------------------------------------------------------------------------


def film_of(grids: Sequence[Path], most: int = MOST_FRAMES, fps: int = RUN_FPS) -> Film:
    """The film of pictures in files, at most `most` of them, evenly chosen."""
    count = min(len(grids), most)
    chosen = [grids[round(index * (len(grids) - 1) / max(count - 1, 1))] for index in range(count)]
    return Film(_read_alike(chosen), count, fps, HELD_SECONDS)


def _read_alike(grids: Sequence[Path]) -> Iterator[Image.Image]:
    """At most `LARGEST_FRAME` wide and high, all of the size of the first."""
    size: tuple[int, int] | None = None
    for path in grids:
        with Image.open(path) as picture:
            image = picture.convert("RGBA" if picture.mode in OPACITY else "RGB")
        image.thumbnail((LARGEST_FRAME, LARGEST_FRAME))
        size = size or image.size
        yield image if image.size == size else image.resize(size)


def save_film(grids: Sequence[Path], path: Path) -> None:
    """An animated WebP of a run's grids, at most `MOST_FRAMES`; nothing of none."""
    if not grids:
        return
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    write_film(film_of(grids), without_link(temporary))
    os.replace(temporary, path)
