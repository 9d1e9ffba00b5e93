"""Recognizes files by suffix or first bytes: those that are read, and others, for which it gives advice."""

from __future__ import annotations

import os
import stat

READ_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".ppm", ".pgm",
    ".pbm", ".pnm", ".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c", ".avif",
)  # fmt: skip
ARRAYS = (".npy", ".npz")
TARS = (".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
FORMATS_READ = (
    "png, jpg, webp, bmp, gif, tif, ppm, jp2 and avif images are read, and npy and npz arrays;"
    " in a folder, a zip or a tar"
)
TO_PNG = "convert it to png"
CONVERT_DEEP = "convert it to 16-bit png or npy"
RAW = (".cr2", ".cr3", ".arw", ".nef", ".dng", ".orf", ".raf", ".rw2", ".pef", ".srw")
RARE = (".apng", ".eps", ".heic", ".heif", ".ico", ".jxl", ".psd", ".svg", ".tga", ".pcx", ".qoi", ".xcf")
UNREAD_IMAGE_SUFFIXES = {  # image formats that are not read: such a file counts as an unusable image
    **dict.fromkeys(RAW, "develop it to tif or png"),
    **dict.fromkeys(RARE, TO_PNG),
    **dict.fromkeys((".dcm", ".dicom"), CONVERT_DEEP),
    **dict.fromkeys((".exr", ".hdr", ".pfm"), "convert it to npy or a tif of floats"),
}
EXTRACT_FRAMES = "extract its frames, as by `ffmpeg -i film.mp4 frames/%06d.png`"
EXTRACT_IMAGES = "write its images out as files or as an npy"
UNSAFE = "it may hold code and is not loaded: save its arrays by numpy.savez"
LABEL = "it is a label and no image: write the labels into a table as file,label and name it by dataset.labels"
CONTAINER_SUFFIXES = {  # files that may contain images: reported if nothing else is found or if it is the path itself
    **dict.fromkeys((".mp4", ".mov", ".avi", ".mkv", ".webm"), EXTRACT_FRAMES),
    **dict.fromkeys((".h5", ".hdf5", ".mat", ".parquet", ".arrow", ".tfrecord", ".tfrecords"), EXTRACT_IMAGES),
    **dict.fromkeys((".mdb", ".lmdb"), EXTRACT_IMAGES),
    **dict.fromkeys((".nii", ".fits"), CONVERT_DEEP),
    **dict.fromkeys((".pt", ".pth", ".pkl", ".pickle"), UNSAFE),
    **dict.fromkeys((".rar", ".7z", ".gz", ".zst"), "unpack it"),
    ".pdf": TO_PNG,
    ".cls": LABEL,
}
MOST_FILE_BYTES = 256 * 2**20  # the largest size of an image file
NON_IMAGE_SUFFIXES = (  # no images: such files are not opened to check
    ".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".md", ".html", ".htm", ".yaml", ".yml", ".toml", ".ini", ".cfg",
    ".py", ".ipynb", ".sh", ".log", ".doc", ".docx", ".xls", ".xlsx", ".caption", ".zip", ".db", ".url", ".exe",
    ".bak", ".tmp", ".part", ".crdownload", ".xmp", ".wav", ".mp3",
)  # fmt: skip
HEADER_BYTES = 140  # first bytes that identify an image
MAGIC = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ",
    b"\xff\x4f\xff\x51",
)  # fmt: skip
NPY_MAGIC, ZIP_MAGIC = b"\x93NUMPY", b"PK"
PACKED_MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\0": "xz"}
DICOM = "is a DICOM file: " + CONVERT_DEEP


class BadImageError(Exception):
    """An image that cannot be used. The text gives the reason in a few words."""


def read_start(path: str, count: int) -> bytes:
    """Returns the first `count` bytes of a file. Raises BadImageError if the path is not a regular file."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise BadImageError("not a regular file")
    # O_NONBLOCK: if the file has become a pipe meanwhile, opening it does not wait for a writer.
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as opened:
        return opened.read(count)


def suffix_of(name: str) -> str:
    """Returns the suffix in lower case, or an empty text. A suffix of digits, as in `1.2.840.113`, does not count."""
    suffix = os.path.splitext(name)[1].lower()
    return "" if suffix[1:].isdigit() else suffix


def stem_of_path(path: str) -> str:
    """Returns the last part of a path, without the suffix of an image, array or archive."""
    name = os.path.basename(os.path.abspath(os.path.expanduser(path)))
    ending = next((each for each in (".zip", *TARS, *ARRAYS, *READ_SUFFIXES) if name.lower().endswith(each)), "")
    return name[: len(name) - len(ending)]


def needs_content_check(name: str) -> bool:
    """Returns whether the first bytes must be read to know if a file of this name is an image."""
    suffix = suffix_of(name)
    return not (suffix in NON_IMAGE_SUFFIXES or suffix in CONTAINER_SUFFIXES or name.lower().endswith((*ARRAYS, *TARS)))


def is_image(start: bytes) -> bool:
    """Returns whether the first bytes of a file are those of an image format that is read."""
    if start.startswith(MAGIC) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP") or start[4:12] == b"ftypavif":
        return True
    return start[:1] == b"P" and start[1:2] in b"123456" and start[2:3] in b" \t\r\n" and len(start) > 3


def is_dicom(start: bytes) -> bool:
    """Returns whether the first bytes of a file are those of a DICOM file."""
    return start[128:132] == b"DICM"


def is_tar(start: bytes) -> bool:
    """Returns whether the first 512 bytes of a file are those of a tar, or of a compressed file, which may be a tar."""
    return start[257:262] == b"ustar" or start.startswith(tuple(PACKED_MAGIC))


def conversion_advice(name: str) -> str | None:
    """Returns advice for a file that may hold images but is not read, or None for other files."""
    suffix = suffix_of(name)
    advice = UNREAD_IMAGE_SUFFIXES.get(suffix) or CONTAINER_SUFFIXES.get(suffix)
    return f"{suffix[1:]} is not read, {advice}" if advice else None
