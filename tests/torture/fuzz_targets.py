"""The functions that get mutants, and the program that lets atheris make them.

python -m torture.fuzz_targets NAME FOLDER SEEDS [-runs=N and other options of libFuzzer]
python -m torture.fuzz_targets NAME FOLDER FILE        # tries one file again
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Check = Callable[[bytes], object]


def target(name: str, here: Path) -> Check:
    """Returns the function of this name. It writes its file below `here` if it needs one."""
    from gan_cli.errors import GanCliError

    check = {
        "header": _header,
        "metadata": _metadata,
        "record": _record,
        "picture": _picture,
        "options": _options,
        "labels": _labels,
        "archive": _archive,
    }[name](here)

    def check_refuses_by_our_errors(content: bytes) -> None:
        with contextlib.suppress(GanCliError):
            check(content)

    return check_refuses_by_our_errors


def _header(here: Path) -> Check:
    from gan_cli.storage.checksummed_file import ChecksummedFileError, decode_checksummed

    def check(content: bytes) -> None:
        with contextlib.suppress(ChecksummedFileError):
            decode_checksummed(content)

    return check


def _metadata(here: Path) -> Check:
    """Makes checkpoints with a right checksum, without tensors."""
    from gan_cli.state import checkpoint
    from gan_cli.storage.checksummed_file import encode_checksummed

    path = here / "step_00000002.safetensors"

    def check(content: bytes) -> None:
        metadata = _json(content)
        if isinstance(metadata, dict):
            metadata.pop("sha256", None)
            with contextlib.suppress(UnicodeEncodeError, IndexError):  # in our encoding
                path.write_bytes(encode_checksummed({}, metadata))
                checkpoint.load(path)

    return check


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _record(here: Path) -> Check:
    from gan_cli.runs.log import read_metrics
    from gan_cli.runs.pending_work import parse_due
    from gan_cli.storage.run_record import load_record

    def check(content: bytes) -> None:
        for name in ("config.json", "metrics.jsonl"):
            (here / name).write_bytes(content)
        load_record(here)
        list(read_metrics(here))
        parse_due(_json(content), 2, 2)

    return check


def _picture(here: Path) -> Check:
    from gan_cli.data.decoding.open_image import decode_pixels, exif_transpose, open_image
    from gan_cli.image_files.formats import BadImageError

    def check(content: bytes) -> None:
        with contextlib.suppress(BadImageError):
            image = open_image(content)
            if image.width * image.height < 1 << 20:
                decode_pixels(image)
                exif_transpose(image)

    return check


def _options(here: Path) -> Check:
    from gan_cli.storage import yaml_files

    def check(content: bytes) -> None:
        (here / "x.yaml").write_bytes(content)
        yaml_files._read.cache_clear()
        yaml_files.read_option_file(here / "x.yaml")

    return check


def _labels(here: Path) -> Check:
    from torture.hostile.pictures import make_healthy

    make_healthy(here)
    return _read_images(here / "pictures" / "labels.csv", here / "pictures")


def _archive(here: Path) -> Check:
    return _read_images(here / "pictures.zip", here / "pictures.zip")


def _read_images(path: Path, named: Path) -> Check:
    from gan_cli.image_files.formats import BadImageError
    from gan_cli.image_labels.attributes import LabelOptions
    from gan_cli.image_labels.image_paths import open_images

    def check(content: bytes) -> None:
        path.write_bytes(content)
        with open_images(str(named)) as images:
            for file in images.read_layout(LabelOptions(), "train").files[:5]:
                with contextlib.suppress(BadImageError):
                    images.read_image(file)

    return check


def main() -> None:
    """Tries one file, or runs atheris with the arguments of the command line."""
    name, here, *arguments = sys.argv[1:]
    if Path(arguments[0]).is_file():
        target(name, Path(here))(Path(arguments[0]).read_bytes())
        return
    import atheris

    with atheris.instrument_imports(include=["gan_cli"]):
        check = target(name, Path(here))
    atheris.Setup([sys.argv[0], *arguments], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
