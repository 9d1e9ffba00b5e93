"""Inception's features: the weights are the known ones or none, and a user is told where to put them."""

from __future__ import annotations

import builtins
import hashlib
import urllib.error
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_cli.errors import UsageError
from gan_cli.evaluation.metrics import inception_features


def test_without_network_one_line_says_where_to_put_the_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(UsageError, match=r"cannot be downloaded .*no network.*put https://.* at .*/inception/weights-"):
        inception_features.fetch_weights()
    assert not (Path.home() / ".cache").exists()


def test_a_download_that_is_another_file_is_not_kept(
    here: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder = server
    (folder / "weights.pth").write_bytes(b"something else")
    monkeypatch.setattr(inception_features, "URL", address + "weights.pth")
    with pytest.raises(UsageError, match="cannot be downloaded"):
        inception_features.fetch_weights()
    assert not inception_features.FOLDER.expanduser().exists()


def test_a_file_with_another_content_is_never_unpickled(here: Path) -> None:
    path = inception_features.FOLDER.expanduser() / inception_features.NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x80\x04 a pickle that could run anything")
    with pytest.raises(UsageError, match="damaged or another file; remove it, or put https"):
        inception_features.build_inception_extractor()


def test_a_download_is_kept_for_the_next_time(
    here: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder = server
    (folder / "weights.pth").write_bytes(b"weights")
    monkeypatch.setattr(inception_features, "URL", address + "weights.pth")
    monkeypatch.setattr(inception_features, "SHA256", hashlib.sha256(b"weights").hexdigest())
    path = inception_features.fetch_weights()
    assert path.read_bytes() == b"weights"
    (folder / "weights.pth").unlink()
    assert inception_features.fetch_weights() == path


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name.startswith("torch_fidelity"):
            raise ImportError("No module named 'torch_fidelity'")
        return original(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"needs the extra metrics, pip install 'gan-cli\[metrics\]'"):
        inception_features.build_inception_extractor()


def test_what_the_network_is_shown_and_gives(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With weights of chance in the place of the known ones, which need a network to fetch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch_fidelity import feature_extractor_inceptionv3 as theirs
    monkeypatch.setattr(inception_features, "fetch_weights", lambda: Path("chance"))
    monkeypatch.setattr(theirs.torch, "load", lambda path, weights_only: {})
    monkeypatch.setattr(theirs.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
    found = inception_features.build_inception_extractor()
    for channels in (1, 2, 3, 4):
        seen = found.extract(torch.randint(256, (2, channels, 32, 32), dtype=torch.uint8))
        assert seen.features.shape == (2, 2048)
        assert seen.probabilities is not None
        assert torch.allclose(seen.probabilities.sum(1), torch.ones(2), atol=1e-4)
    assert found.name == "inception"
