"""Inception-v3 features (ImageNet weights), as papers use them for FID, KID and IS. Needs the extra `metrics`."""

from __future__ import annotations

import hashlib
import urllib.error
import warnings
from pathlib import Path

import torch
from torch import Tensor

from gan_cli.errors import UsageError, one_line
from gan_cli.evaluation.metrics.feature_extractors import Extractor, Features
from gan_cli.storage.atomic_write import create_folder_or_undo

NAME = "weights-inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{NAME}"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
AT_ONCE = 50  # images; each takes 5 MB in the first layers
FOLDER = Path("~/.cache/gan-cli/inception")


def build_inception_extractor() -> Extractor:
    """Builds torch-fidelity's port of the network that defines FID (1706.08500). It resizes images to 299 x 299 pixels.

    UsageError if the package is missing, or if the weights are missing and cannot be downloaded.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # from packages that it imports
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise UsageError(
            f"extractor=inception: needs the extra metrics, pip install 'gan-cli[metrics]' ({one_line(error, 80)})"
        ) from None
    network = FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(fetch_weights())
    )

    def extract_batch(images: Tensor) -> Features:
        seen = images[:, :3] if images.shape[1] > 2 else images[:, :1].expand(-1, 3, -1, -1)
        network.to(images.device)
        features, logits = (torch.cat(parts) for parts in zip(*map(network, seen.split(AT_ONCE)), strict=True))
        return Features(features, logits.softmax(1))

    return Extractor("inception", f"inception-{SHA256}", extract_batch)


def fetch_weights() -> Path:
    """Returns the file of weights, downloading it the first time. UsageError names the path to put it at by hand.

    torch-fidelity unpickles this file, so its sha256 is verified before it is passed on.
    """
    path = FOLDER.expanduser() / NAME
    if not path.exists():
        try:
            with create_folder_or_undo(path.parent):
                print(f"Inception weights: downloading 91 MB to {path}", flush=True)
                torch.hub.download_url_to_file(URL, str(path), hash_prefix=SHA256, progress=False)
        except (OSError, urllib.error.URLError, RuntimeError) as error:
            raise UsageError(
                f"extractor=inception: its weights cannot be downloaded ({one_line(error, 100)}); put {URL} at {path},"
                " or use extractor=classifier or random"
            ) from None
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != SHA256:
        raise UsageError(f"extractor=inception: {path} is damaged or another file; remove it, or put {URL} there")
    return path
