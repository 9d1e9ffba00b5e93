"""The bytes of a checkpoint: safetensors, with one JSON text as metadata that holds the sha256 of the whole file.

The digest is taken with its own 64 digits as zeros. safetensors itself has no checksum: without this one, a flipped
bit in a weight would load as another weight. It proves integrity, not origin.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

from safetensors import SafetensorError
from safetensors import torch as safetensors_torch
from torch import Tensor

METADATA_KEY = "gan-cli"
NO_DIGEST = "0" * 64
MOST_HEADER_BYTES = 4 << 20
MARKER = b'"{\\"sha256\\": \\"'  # how the text begins in the file: JSON escapes its quotes


class SealError(Exception):
    """What is wrong with the bytes, in one line."""


def seal(tensors: dict[str, Tensor], metadata: dict[str, Any]) -> bytearray:
    """The file's bytes, with the digest in its place."""
    text = json.dumps({"sha256": NO_DIGEST, **metadata})
    content = bytearray(safetensors_torch.save(tensors, metadata={METADATA_KEY: text}))
    offset = _digest_offset(content, NO_DIGEST)
    content[offset : offset + 64] = hashlib.sha256(content).hexdigest().encode()
    return content


def unseal(content: bytes) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """Tensors, metadata and sha256 of verified bytes; SealError if a bit of them is not as it was written."""
    metadata = _metadata(content)
    sha256 = metadata.get("sha256")
    if not isinstance(sha256, str) or len(sha256) != 64 or not sha256.isascii():
        raise SealError("its metadata holds no sha256")
    offset = _digest_offset(content, sha256)
    digest = hashlib.sha256(content[:offset] + NO_DIGEST.encode())
    digest.update(memoryview(content)[offset + 64 :])
    if digest.hexdigest() != sha256:
        raise SealError("damaged, its content does not match its sha256")
    try:
        return safetensors_torch.load(content), metadata, sha256
    except SafetensorError as error:
        raise SealError(f"not readable as safetensors ({error})") from error


def _metadata(content: bytes) -> dict[str, Any]:
    """The JSON text in the header, still untrusted."""
    size = struct.unpack("<Q", content[:8])[0] if len(content) >= 8 else 0
    if not 0 < size <= min(MOST_HEADER_BYTES, len(content) - 8):
        raise SealError("damaged, or no safetensors file: its header is cut off or too long")
    metadata = _loads(content[8 : 8 + size]).get("__metadata__")
    if not isinstance(metadata, dict) or not isinstance(metadata.get(METADATA_KEY), str):
        raise SealError("a .safetensors file, but not one that gan-train wrote")
    return _loads(metadata[METADATA_KEY])


def _loads(text: str | bytes) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SealError("damaged, its header is not JSON") from error
    if not isinstance(content, dict):
        raise SealError("damaged, its header is not a JSON object")
    return content


def _digest_offset(content: bytes | bytearray, digest: str) -> int:
    offset = content.find(MARKER + digest.encode(), 0, MOST_HEADER_BYTES)
    if offset < 0:
        raise SealError("its sha256 is not where gan-train puts it")
    return offset + len(MARKER)
