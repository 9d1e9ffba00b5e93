"""Kinds of files: which are read, by their endings or their first bytes, and what to do with each of the others."""

from __future__ import annotations

import os

READ = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".ppm", ".pgm",
    ".pbm", ".pnm", ".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c", ".avif",
)  # fmt: skip
ARRAYS = (".npy", ".npz")
TARS = (".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
FORMATS_READ = (
    "png, jpg, webp, bmp, gif, tif, ppm, jp2 and avif pictures are read, and npy and npz arrays;"
    " in a folder, a zip or a tar"
)
TO_PNG = "convert it to png"
DEVELOP = "develop it to tif or png"
CONVERT_DEEP = "convert it to 16-bit png or npy"
FOREIGN = {  # pictures all the same: each stands among those that cannot be used
    ".cr2": DEVELOP, ".cr3": DEVELOP, ".arw": DEVELOP, ".nef": DEVELOP, ".dng": DEVELOP, ".orf": DEVELOP,
    ".raf": DEVELOP, ".rw2": DEVELOP, ".pef": DEVELOP, ".srw": DEVELOP, ".apng": TO_PNG,
    ".eps": TO_PNG, ".heic": TO_PNG, ".heif": TO_PNG, ".ico": TO_PNG, ".jxl": TO_PNG, ".psd": TO_PNG, ".svg": TO_PNG,
    ".tga": TO_PNG, ".pcx": TO_PNG, ".qoi": TO_PNG, ".xcf": TO_PNG, ".dcm": CONVERT_DEEP, ".dicom": CONVERT_DEEP,
    ".exr": "convert it to npy or a tif of floats", ".hdr": "convert it to npy or a tif of floats",
    ".pfm": "convert it to npy or a tif of floats",
}  # fmt: skip
FILM = "take its pictures out, as by `ffmpeg -i film.mp4 frames/%06d.png`"
TABLE = "write its pictures out as files or as an npy"
UNSAFE = "it may hold code and is not loaded: save its arrays by numpy.savez"
UNPACK = "unpack it"
HOLDERS = {  # of pictures in another form: told where nothing else is found, or where one is named as the path
    ".mp4": FILM, ".mov": FILM, ".avi": FILM, ".mkv": FILM, ".webm": FILM, ".h5": TABLE, ".hdf5": TABLE, ".mat": TABLE,
    ".parquet": TABLE, ".arrow": TABLE, ".tfrecord": TABLE, ".tfrecords": TABLE, ".mdb": TABLE, ".lmdb": TABLE,
    ".nii": CONVERT_DEEP, ".fits": CONVERT_DEEP, ".pt": UNSAFE, ".pth": UNSAFE, ".pkl": UNSAFE, ".pickle": UNSAFE,
    ".rar": UNPACK, ".7z": UNPACK, ".gz": UNPACK, ".zst": UNPACK, ".pdf": TO_PNG,
}  # fmt: skip
MOST_FILE_BYTES = 256 * 2**20  # of one picture
OTHERS = (  # files that are no pictures, and are not opened to see whether they are
    ".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".md", ".html", ".htm", ".yaml", ".yml", ".toml", ".ini", ".cfg",
    ".py", ".ipynb", ".sh", ".log", ".doc", ".docx", ".xls", ".xlsx", ".cls", ".caption", ".zip", ".db", ".url", ".exe",
    ".bak", ".tmp", ".part", ".crdownload", ".xmp", ".wav", ".mp3",
)  # fmt: skip
BEGINNING = 140  # bytes that tell a picture
MAGIC = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ",
    b"\xff\x4f\xff\x51",
)  # fmt: skip
NPY_MAGIC, ZIP_MAGIC = b"\x93NUMPY", b"PK"
PACKED_MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\0": "xz"}
DICOM = "is a DICOM file: " + CONVERT_DEEP


def suffix_of(name: str) -> str:
    """The ending in small letters; none of a name such as `pic0`, or of digits alone, as in `1.2.840.113`."""
    suffix = os.path.splitext(name)[1].lower()
    return "" if suffix[1:].isdigit() else suffix


def stem_of(name: str) -> str:
    """The name of a picture, of an array or of what is packed, without its ending."""
    ending = next((each for each in (".zip", *TARS, *ARRAYS, *READ) if name.lower().endswith(each)), "")
    return name[: len(name) - len(ending)]


def by_content(name: str) -> bool:
    """Whether only the first bytes tell if a file of this name is a picture."""
    suffix = suffix_of(name)
    return not (suffix in OTHERS or suffix in HOLDERS or name.lower().endswith((*ARRAYS, *TARS)))


def is_picture(start: bytes) -> bool:
    """Whether a file that begins so is a picture of a kind that is read."""
    if start.startswith(MAGIC) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP") or start[4:12] == b"ftypavif":
        return True
    return start[:1] == b"P" and start[1:2] in b"123456" and start[2:3] in b" \t\r\n" and len(start) > 3


def is_dicom(start: bytes) -> bool:
    return start[128:132] == b"DICM"


def is_tar(start: bytes) -> bool:
    """Whether a file whose first 512 bytes these are is a tar, or packed as one may be."""
    return start[257:262] == b"ustar" or start.startswith(tuple(PACKED_MAGIC))


def refusal_of(name: str) -> str | None:
    """Why a picture of this name is not even opened; None if it may be one that is read."""
    suffix = suffix_of(name)
    return f"{suffix[1:]} is not read, {FOREIGN[suffix]}" if suffix in FOREIGN else None


def way_of(name: str) -> str | None:
    """What a file of this name is and what to do with it, if it may hold pictures but is not read."""
    suffix = suffix_of(name)
    for known in (FOREIGN, HOLDERS):
        if suffix in known:
            return f"{suffix[1:]} is not read, {known[suffix]}"
    return None
