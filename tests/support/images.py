"""Image files of known content: single colours, noise, PNG of any kind, damaged files, folders and archives."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from gan_cli.data.decoding import conversion, decode

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def write_image(path: Path, colour: object = RED, size: tuple[int, int] = (8, 8), mode: str = "RGB", **options) -> Path:
    """Writes an image of one colour; `size` is (width, height). Returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)
    return path


def write_class_folders(root: Path, **counts: int) -> Path:
    """Writes one sub-folder per class with so many images, each of another colour. Returns `root`."""
    shade = 0
    for name, count in counts.items():
        for index in range(count):
            write_image(root / name / f"{index}.png", (shade % 256, shade // 256, 128))
            shade += 1
    return root


def write_mixed_folder(root: Path) -> list[str]:
    """Writes 300 files of many sizes, modes and formats in 3 classes. Returns the 3 names of bad files, sorted."""
    modes = ("RGB", "L", "RGBA", "P", "1", "LA", "CMYK", "I;16")
    suffixes = {"CMYK": (".jpg",), "RGB": (".png", ".jpg", ".webp", ".bmp"), "L": (".jpeg", ".png", ".bmp", ".JPG")}
    for index in range(297):
        width, height, mode = 9 + index * 7 % 60, 9 + index * 11 % 50, modes[index % len(modes)]
        if mode == "I;16":
            image = Image.fromarray(np.linspace(0, 65535, width * height).astype(np.uint16).reshape(height, width))
        elif mode == "CMYK":
            image = noise_image(width, height, seed=index).convert("CMYK")
        else:
            image = noise_image(width, height, "RGBA", seed=index).convert(mode)
        choice = suffixes.get(mode, (".png",))
        path = root / ("bird", "cat", "dog")[index % 3] / f"{index:03d}{choice[index // len(modes) % len(choice)]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    content = encode_image(noise_image(40, 40), "JPEG")
    (root / "bird" / "truncated.jpg").write_bytes(content[: len(content) // 2])
    (root / "cat" / "note.png").write_text("This is no image.\n")
    frames = [noise_image(16, 16, seed=seed) for seed in (1, 2)]
    frames[0].save(root / "dog" / "moving.gif", save_all=True, append_images=frames[1:])
    return ["bird/truncated.jpg", "cat/note.png", "dog/moving.gif"]


def zip_folder(source: Path, target: Path, prefix: str = "") -> Path:
    """Writes everything in a folder to a zip, with `prefix` before each name. Returns the zip."""
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(source.rglob("*")):
            archive.write(path, prefix + path.relative_to(source).as_posix())
    return target


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Returns a chunk of a PNG file: length, kind, data and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bytes(width: int, height: int, depth: int, kind: int, row: bytes, *chunks: bytes) -> bytes:
    """Returns a PNG file of any bit depth and colour kind (0: grey, 2: RGB, 3: palette), whose rows are all equal."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress((b"\0" + row) * height))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + png_chunk(b"IEND", b"")


def encode_image(image: Image.Image, kind: str, **options) -> bytes:
    """Returns the bytes of an image file of the format `kind`."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise_image(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Returns an image of uniform random values."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(values.squeeze(-1) if channels == 1 else values, mode=None).convert(mode)


def damaged_copies(contents: list[bytes], cuts: int, times: int) -> list[bytes]:
    """Returns each file truncated at `cuts` lengths, and `times` copies of it with four random bytes near its start."""
    random = np.random.default_rng(0)
    pieces = [content[: len(content) * cut // cuts] for content in contents for cut in range(cuts)]
    for content in contents * times:
        damaged = bytearray(content)
        for _ in range(4):
            damaged[random.integers(0, min(len(content), 200))] = random.integers(0, 256)
        pieces.append(bytes(damaged))
    return pieces


def count_bad_images(pieces: list[bytes], target: conversion.TargetFormat) -> int:
    """Decodes files. Returns how many of them cannot be decoded."""
    samples: list[np.ndarray] = []
    outcomes = decode.decode_all(pieces, lambda piece: piece, target, samples.extend)
    bad = sum(outcome.bad is not None for outcome in outcomes)
    assert len(outcomes) - bad == len(samples)
    return bad
