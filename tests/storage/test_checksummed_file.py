"""Files with a checksum: a sound checksum proves no sound file."""

from __future__ import annotations

import hashlib

import pytest
import torch

from gan_cli.storage.checksummed_file import (
    NO_DIGEST,
    ChecksummedFileError,
    decode_checksummed,
    encode_checksummed,
)


def test_a_broken_file_with_a_sound_checksum_is_refused() -> None:
    content = bytes(encode_checksummed({"a": torch.arange(3.0)}, {"about": "numbers"}))
    tensors, metadata, sha256 = decode_checksummed(content)
    assert tensors["a"].tolist() == [0, 1, 2]
    assert metadata == {"sha256": sha256, "about": "numbers"}
    longer = content.replace(sha256.encode(), NO_DIGEST.encode()) + b"more"
    longer = longer.replace(NO_DIGEST.encode(), hashlib.sha256(longer).hexdigest().encode())
    with pytest.raises(ChecksummedFileError, match="not readable as safetensors"):
        decode_checksummed(longer)
