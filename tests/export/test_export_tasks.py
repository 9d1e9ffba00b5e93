"""Exported generators that make an image from an image: named inputs, the same results, and a card whose code runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_cli.cli.main import run_command
from gan_cli.export.export import example_inputs
from gan_cli.export.format_writers import EXPORTERS, NamedInputs
from gan_cli.sampling.load_generator import load_generator
from gan_cli.storage.locate import EXPORTED
from support.tasks import RUNS, TINY

INPUTS = {
    "translation": {"image": [16, 16]},
    "inpainting": {"latent": [], "image": [16, 16], "mask": [16, 16]},
    "super_resolution": {"image": [4, 4]},
}


MEANINGS = {
    "translation": "the source image",
    "inpainting": "the known pixels; the hidden ones are 0",
    "super_resolution": "the small image",
}


@pytest.fixture
def exported(trained: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> Callable[..., Path]:
    """Trains a task and exports it. Returns the exported folder."""

    def export(task: str, format: str) -> Path:
        run = trained(*RUNS[task], *TINY, f"name={task}")
        capsys.readouterr()
        assert run_command("export", [f"ckpt={run}", f"format={format}"]) == 0, capsys.readouterr().err
        return Path(capsys.readouterr().out.splitlines()[-1])

    return export


@pytest.mark.parametrize("task", RUNS)
@pytest.mark.parametrize("format", ["safetensors", "onnx", "pt2"])
def test_an_exported_generator_has_named_inputs_and_the_same_results(
    exported: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, task: str, format: str
) -> None:
    folder = exported(task, format)
    inputs = json.loads((folder / "config.json").read_text())["inputs"]
    assert {name: each["shape"][2:] for name, each in inputs.items()} == INPUTS[task]
    assert inputs["image"]["range"] == [-1, 1]
    assert inputs["image"]["meaning"] == MEANINGS[task]
    assert inputs.get("mask", {"range": [0, 1]})["range"] == [0, 1]
    assert max(json.loads((folder / "parity.json").read_text())["differences"].values()) <= 1e-4
    text = (folder / "README.md").read_text()
    assert "pipeline_tag: image-to-image\n" in text
    monkeypatch.chdir(folder.parent if format == "safetensors" else folder)
    names: dict[str, Any] = {}
    exec(text.split("```python\n")[1].split("```")[0], names)  # noqa: S102
    assert tuple(names["samples"].shape) == (16, 3, 16, 16)
    loaded = load_generator(folder.parents[1])
    given = example_inputs(loaded, range(7))
    if format == "safetensors":
        again = NamedInputs(load_generator(folder).network, [*given]).run(given)
        assert torch.equal(again, NamedInputs(loaded.network, [*given]).run(given))


@pytest.mark.parametrize("format", ["onnx", "pt2"])
def test_pixels_that_the_mask_hides_have_no_effect(exported: Callable[..., Path], format: str) -> None:
    folder = exported("inpainting", format)
    given = example_inputs(load_generator(folder.parents[1]), range(3))
    given = {name: tensor.clone() for name, tensor in given.items()}
    shown = {name: tensor.clone() for name, tensor in given.items()}
    shown |= {"image": torch.where(given["mask"] > 0.5, torch.tensor(0.7), given["image"])}
    (hidden, full) = EXPORTERS[format].run(folder / EXPORTED[format], [given, shown])
    assert torch.equal(hidden, full)


def test_an_exported_generator_takes_a_photo(
    exported: Callable[..., Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from support.images import noise_image

    folder = exported("inpainting", "safetensors")
    noise_image(20, 20).save("photo.png")
    capsys.readouterr()
    assert run_command("sample", [f"ckpt={folder}", "input=photo.png", "n=2"]) == 0, capsys.readouterr().err
    assert run_command("sample", [f"ckpt={folder}"]) == 2
    assert "an export has no data, give input=" in capsys.readouterr().err
