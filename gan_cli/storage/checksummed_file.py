"""Encodes and decodes safetensors files with a checksum: a JSON text in the metadata holds the file's sha256.

The sha256 is computed with its own 64 digits replaced by zeros. The safetensors format has no checksum, so a flipped
bit in a weight would load as a different weight without an error. The checksum detects damage, but it does not prove
who wrote the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors import torch as safetensors_torch
from torch import Tensor

from gan_cli.storage.atomic_write import create_folder_or_undo, write_bytes
from gan_cli.storage.run_files import read_bytes

METADATA_KEY = "gan-cli"
NO_DIGEST = "0" * 64
MAX_HEADER_BYTES = 4 << 20
MARKER = b'"{\\"sha256\\": \\"'  # the bytes before the digest; the quotes are escaped, since it is JSON inside JSON


class ChecksummedFileError(Exception):
    """The bytes of a file are damaged or have another format. The message is one line that says what is wrong."""


def encode_checksummed(tensors: dict[str, Tensor], metadata: dict[str, Any]) -> bytearray:
    """Returns the bytes of a file with these tensors and this metadata, whose key `sha256` is the checksum."""
    text = json.dumps({"sha256": NO_DIGEST, **metadata})
    content = bytearray(safetensors_torch.save(tensors, metadata={METADATA_KEY: text}))
    offset = _digest_offset(content, NO_DIGEST)
    content[offset : offset + 64] = hashlib.sha256(content).hexdigest().encode()
    return content


def decode_checksummed(content: bytes) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """Returns tensors, metadata and sha256 of a file. Raises ChecksummedFileError if it is damaged or not ours."""
    metadata = parse_metadata(content)
    sha256 = metadata.get("sha256")
    if not isinstance(sha256, str) or len(sha256) != 64 or not sha256.isascii():
        raise ChecksummedFileError("its metadata holds no sha256")
    offset = _digest_offset(content, sha256)
    digest = hashlib.sha256(content[:offset] + NO_DIGEST.encode())
    digest.update(memoryview(content)[offset + 64 :])
    if digest.hexdigest() != sha256:
        raise ChecksummedFileError("damaged, its content does not match its sha256")
    try:
        return safetensors_torch.load(content), metadata, sha256
    except SafetensorError as error:
        raise ChecksummedFileError(f"not readable as safetensors ({error})") from error


def save_cached(tensors: dict[str, Tensor], metadata: dict[str, Any], path: Path) -> None:
    """Writes a file, and its folder, for `load_cached`. Does nothing if they cannot be written."""
    with contextlib.suppress(OSError), create_folder_or_undo(path.parent):
        write_bytes(path, encode_checksummed(tensors, metadata))


def load_cached(path: Path, most_bytes: int) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Returns tensors and metadata of a file; None if it is missing, damaged or larger than `most_bytes`."""
    try:
        return decode_checksummed(read_bytes(path, most_bytes))[:2]
    except (OSError, ChecksummedFileError):
        return None


def parse_metadata(content: bytes) -> dict[str, Any]:
    """Returns the JSON text in the header, parsed and not verified. `content` is a file or the start of one.

    Raises ChecksummedFileError if the header is damaged or not ours.
    """
    size = struct.unpack("<Q", content[:8])[0] if len(content) >= 8 else 0
    if not 0 < size <= min(MAX_HEADER_BYTES, len(content) - 8):
        raise ChecksummedFileError("damaged, or no safetensors file: its header is cut off or too long")
    metadata = _loads(content[8 : 8 + size]).get("__metadata__")
    if not isinstance(metadata, dict) or not isinstance(metadata.get(METADATA_KEY), str):
        raise ChecksummedFileError("a .safetensors file, but not one that gan-train wrote")
    return _loads(metadata[METADATA_KEY])


def _loads(text: str | bytes) -> dict[str, Any]:
    """Returns the JSON object that the text holds. Raises ChecksummedFileError if the text is no JSON object."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ChecksummedFileError("damaged, its header is not JSON") from error
    if not isinstance(content, dict):
        raise ChecksummedFileError("damaged, its header is not a JSON object")
    return content


def _digest_offset(content: bytes | bytearray, digest: str) -> int:
    """Returns the offset of the sha256's 64 digits in the bytes. Raises ChecksummedFileError if they are not found."""
    offset = content.find(MARKER + digest.encode(), 0, MAX_HEADER_BYTES)
    if offset < 0:
        raise ChecksummedFileError("its sha256 is not where gan-train puts it")
    return offset + len(MARKER)
