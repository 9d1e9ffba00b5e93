"""Features of Inception-v3 as trained on ImageNet: what FID, KID and IS are of in papers. Needs the extra `metrics`."""

from __future__ import annotations

import hashlib
import urllib.error
import warnings
from pathlib import Path

import torch
from torch import Tensor

from gan_cli.errors import UsageError, one_line
from gan_cli.evaluation.metrics.extractors import Extractor, Seen
from gan_cli.storage.download import made_if_kept

NAME = "weights-inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{NAME}"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
FOLDER = Path("~/.cache/gan-cli/inception")


def inception() -> Extractor:
    """torch-fidelity's port of the network that FID is defined by (1706.08500), which scales pictures to 299 pixels.

    UsageError without the package, or without the weights where they cannot be fetched.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of packages that it imports
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise UsageError(
            f"extractor=inception: needs the extra metrics, pip install 'gan-cli[metrics]' ({one_line(error, 80)})"
        ) from None
    network = FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(fetched())
    )

    def look(images: Tensor) -> Seen:
        features, logits = network(images[:, :3] if images.shape[1] > 2 else images[:, :1].expand(-1, 3, -1, -1))
        return Seen(features, logits.softmax(1))

    return Extractor("inception", f"inception-{SHA256}", look)


def fetched() -> Path:
    """The file of weights, downloaded once; UsageError says where to put it by hand.

    The package unpickles this file. So only the one that is known by its sha256 is ever given to it.
    """
    path = FOLDER.expanduser() / NAME
    if not path.exists():
        try:
            with made_if_kept(path.parent):
                print(f"Inception's weights: downloading 91 MB to {path}", flush=True)
                torch.hub.download_url_to_file(URL, str(path), hash_prefix=SHA256, progress=False)
        except (OSError, urllib.error.URLError, RuntimeError) as error:
            raise UsageError(
                f"extractor=inception: its weights cannot be fetched ({one_line(error, 100)}); put {URL} at {path}, or"
                " use extractor=classifier or random"
            ) from None
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != SHA256:
        raise UsageError(f"extractor=inception: {path} is damaged or another file; remove it, or put {URL} there")
    return path
