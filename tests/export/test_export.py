"""Exported generators: the same samples as the checkpoint's wherever they run, or no file at all."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from gan_cli.cli.main import run_command
from gan_cli.data.dataset import to_uint8
from gan_cli.errors import CheckpointError, StorageError, UsageError
from gan_cli.export import format_writers, isolated_pt2
from gan_cli.export.export import compare_samples, example_inputs
from gan_cli.export.model_card import license_text
from gan_cli.sampling.generator_card import Card
from gan_cli.sampling.load_generator import load_generator, sample
from gan_cli.state.checkpoint import LAST
from support.configs import TINY_IMAGES, compose, without

GENERATORS = {  # an MLP is exported below, for points
    "dcgan": ["architecture=dcgan"],
    "resnet": [
        "architecture=resnet",
        "conditioning=projection",
        "architecture.generator.normalization=batch",
        "architecture.generator.attention=8",
    ],
    "r3gan": ["architecture=r3gan", "conditioning=projection"],
    "stylegan2": ["architecture=stylegan2", "conditioning=projection", "architecture.generator.style_mixing=0.9"],
    "fastgan": [
        "architecture=fastgan",
        "conditioning=projection",
        "image_size=28",
        "architecture.generator.normalization=layer",
        "architecture.generator.initialization=orthogonal",
    ],
    "pggan": ["architecture=pggan", "conditioning=projection", "image_size=28"],
    "srresnet": ["architecture=srresnet", "conditioning=tags", "image_size=[18,12]"],
    "subpixel": ["architecture=subpixel", "conditioning=acgan", "architecture.generator.normalization=spectral"],
}
ONNX, PT2 = "model.onnx", "model.pt2"


def tiny_images(generator: str) -> list[str]:
    """The settings of small runs, without those that the generator's own replace."""
    own = [override.partition("=")[0] + "=" for override in GENERATORS[generator]]
    return without(TINY_IMAGES, *own)


@pytest.fixture
def export(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Path]:
    """Runs `gan-export` and returns the folder it printed."""

    def exported(*overrides: str, code: int = 0) -> Path:
        capsys.readouterr()
        assert run_command("export", list(overrides)) == code, capsys.readouterr().err
        return Path(capsys.readouterr().out.splitlines()[-1] if code == 0 else "nowhere")

    return exported


def in_onnxruntime(folder: Path, inputs: dict[str, Tensor]) -> Tensor:
    """As the model card says it."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / ONNX)
    return torch.from_numpy(session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})[0])


@pytest.mark.parametrize("generator", GENERATORS)
def test_every_generator_is_itself_in_onnxruntime(
    train: Callable[..., Path], export: Callable[..., Path], generator: str
) -> None:
    run = train(*tiny_images(generator), *GENERATORS[generator], "steps=1")
    folder = export(f"ckpt={run}", "format=onnx")
    assert folder == run / "exported" / "step_00000001_onnx"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["README.md", "config.json", ONNX, "parity.json", "samples.png"]
    )
    parity = json.loads((folder / "parity.json").read_text())
    assert parity["differences"].keys() == {"1", "2", "5"}
    assert max(parity["differences"].values()) <= 1e-4
    loaded = load_generator(run)
    inputs = example_inputs(loaded, range(100, 107))  # a batch of which the exporter has seen none
    assert ("condition" not in inputs) == (generator == "dcgan")
    with torch.no_grad():
        expected = loaded.network(inputs["latent"], inputs.get("condition"))
    assert expected.std() > 0.01
    torch.testing.assert_close(in_onnxruntime(folder, inputs), expected, atol=1e-4, rtol=0)
    if "condition" in inputs:
        other = in_onnxruntime(folder, inputs | {"condition": inputs["condition"].flip(0)})
        assert (other - expected).abs().max() > 1e-3  # it is not left out


def test_a_pt2_runs_where_nobody_knows_gan_cli(
    train: Callable[..., Path], export: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(*TINY_IMAGES, *GENERATORS["resnet"], "steps=1")
    folder = export(f"ckpt={run}", "format=pt2")
    assert max(json.loads((folder / "parity.json").read_text())["differences"].values()) <= 1e-4
    loaded = load_generator(run)
    inputs = example_inputs(loaded, range(7))
    with torch.no_grad():
        expected = loaded.network(inputs["latent"], inputs["condition"])
    with monkeypatch.context() as patch:
        for name in [name for name in sys.modules if name.startswith("gan_cli")]:
            patch.setitem(sys.modules, name, None)  # its import fails
        samples = torch.export.load(folder / PT2).module()(*inputs.values())
    torch.testing.assert_close(samples, expected, atol=1e-4, rtol=0)


def test_points_are_exported_and_training_goes_on_as_before(
    train: Callable[..., Path], export: Callable[..., Path]
) -> None:
    """What spares torch's compiler in a run must not keep an export from it, nor an export change later runs."""
    command = ["experiment=ring", "steps=2", "dataset.size=1000", "threads=1", "conditioning=concat"]
    before = train(*command, "name=before")
    folder = export(f"ckpt={before}", "format=onnx")
    export(f"ckpt={before}", "format=safetensors")
    one, two = (load_generator(run).network.state_dict() for run in (before, train(*command, "name=after")))
    assert all(torch.equal(one[name], two[name]) for name in one)
    card = json.loads((folder / "config.json").read_text())
    assert card["outputs"]["sample"] == {"dtype": "float32", "shape": ["batch", 2]}
    assert card["inputs"]["condition"]["shape"] == ["batch", 8]


# --- safetensors -------------------------------------------------------------------------------------------------


@pytest.fixture
def exported(trained: Callable[..., Path], export: Callable[..., Path]) -> tuple[Path, Path]:
    """A conditional run and its generator's folder."""
    run = trained(*TINY_IMAGES, "steps=2", "conditioning=acgan", "architecture.generator.latent=uniform", "name=run")
    return run, export(f"ckpt={run}")


def test_an_exported_folder_is_loaded_as_a_checkpoint_is(exported: tuple[Path, Path]) -> None:
    run, folder = exported
    one, two, three = load_generator(run), load_generator(folder), load_generator(folder / "model.safetensors")
    expected = sample(one, range(6))
    assert torch.equal(sample(two, range(6)), expected)
    assert torch.equal(sample(three, range(6)), expected)
    assert (two.classes, two.latent, two.sample_shape) == (one.classes, one.latent, one.sample_shape)
    assert (two.sha256, two.step, two.ema) == (one.sha256, 2, True)
    assert two.config is None


def test_gan_sample_takes_an_exported_folder(
    exported: tuple[Path, Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, folder = exported
    grids = []
    for source in (run, folder):
        capsys.readouterr()
        assert run_command("sample", [f"ckpt={source}", "n=8", "label=filled circle"]) == 0
        grids.append(Path(capsys.readouterr().out.strip()))
    assert grids[0].read_bytes() == grids[1].read_bytes()
    assert run_command("sample", [f"ckpt={folder}", "n=8", "ema=false"]) == 2
    assert "only the averaged generator" in capsys.readouterr().err


def test_the_folder_follows_the_hub_s_conventions(exported: tuple[Path, Path]) -> None:
    run, folder = exported
    assert folder.name == "step_00000002_safetensors"
    card = json.loads((folder / "config.json").read_text())
    assert card["library_name"] == "gan-cli"
    assert card["inputs"]["latent"] == {
        "dtype": "float32", "shape": ["batch", 8], "distribution": "uniform", "range": [-1, 1],
    }  # fmt: skip
    assert card["outputs"]["sample"]["range"] == [-1, 1]
    assert card["conditioning"]["classes"] == list(load_generator(run).classes)
    assert str(run) not in (folder / "config.json").read_text() + (folder / "README.md").read_text()
    front = (folder / "README.md").read_text().split("---")[1]
    assert "library_name: gan-cli" in front
    assert "\nlicense:" not in front
    assert "gan-cli claims no rights in these weights" in (folder / "README.md").read_text()
    weights = load_file(folder / "model.safetensors")  # by the library alone
    state = load_generator(run).network.state_dict()
    assert weights.keys() == state.keys()
    assert all(torch.equal(weights[name], state[name]) for name in state)


@pytest.mark.parametrize("network", ["subpixel", "r3gan"])
def test_the_values_of_a_network_without_a_bound_are_described(
    trained: Callable[..., Path], export: Callable[..., Path], network: str
) -> None:
    """As pixels are clamped, the text describes all values; a range is promised only where the network keeps it."""
    run = trained(*TINY_IMAGES, f"architecture/generator={network}", "steps=1", f"name={network}")
    folder = export(f"ckpt={run}")
    values = json.loads((folder / "config.json").read_text())["outputs"]["sample"]
    assert values["pixels"] == "clamp(round((x + 1) * 127.5), 0, 255)"
    assert values.get("range") == ([-1, 1] if network == "subpixel" else None)
    card = (folder / "README.md").read_text()
    assert values["pixels"] in card
    assert ("samples of 1 x 16 x 16 in [-1, 1] from" in card) == (network == "subpixel")
    assert ("The network does not bound its values" in card) == ("meaning" in values) == (network == "r3gan")
    generator = load_generator(run)
    generator.network.load_state_dict({name: 4 * value for name, value in generator.network.state_dict().items()})
    images = sample(generator, range(8))
    pixels = torch.clamp(torch.round((images + 1) * 127.5), 0, 255).to(torch.uint8)
    assert torch.equal(pixels, to_uint8(images))


def test_the_card_s_code_runs(exported: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    _, folder = exported
    monkeypatch.chdir(folder.parent)
    text = (folder / "README.md").read_text()
    names: dict[str, Any] = {}
    exec(text.split("```python\n")[1].split("```")[0], names)  # noqa: S102
    assert names["samples"].shape == (16, 1, 16, 16)


def test_foreign_keys_of_a_card_may_stay(exported: tuple[Path, Path]) -> None:
    card = exported[1] / "config.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "_name_or_path": "somebody/cats"}))
    assert load_generator(exported[1]).step == 2


def replacing(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(old, new)


TAMPERED: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "a flipped bit": ("model.safetensors", lambda data: data[:-1] + bytes([data[-1] ^ 1]), "sha256"),
    "a cut": ("model.safetensors", lambda data: data[: len(data) // 2], "sha256"),
    "no JSON": ("config.json", lambda data: data[:100], "cannot be read as JSON"),
    "a list": ("config.json", lambda data: b"[]", "expected a JSON object"),
    "nested": ("config.json", lambda data: b"[" * 100_000, "cannot be read as JSON"),
    "another width": (
        "config.json",
        replacing(b'"base_channels": 4', b'"base_channels": 8'),
        "by its config it would be",
    ),
    "an unknown network": ("config.json", replacing(b'"subpixel"', b'"os.system"'), "expected one of"),
    "a plugin": ("config.json", replacing(b'"plugins": []', b'"plugins": ["evil"]'), "plugins"),
    "a shape": (
        "config.json",
        replacing(b'_shape": [\n    1,\n    16,', b'_shape": [1, 17,'),
        "by its config it would be",
    ),
    "no shape": ("config.json", replacing(b'_shape": [\n    1,\n    16,', b'_shape": [1, 0,'), "at least 1"),
    "too many classes": (
        "config.json",
        replacing(b'"classes": [', b'"classes": ["more", '),
        "by its config it would be",
    ),
    "an endless card": ("config.json", lambda data: data + b" " * (5 << 20), "larger than"),
}


def test_a_tampered_folder_is_refused_in_a_line(exported: tuple[Path, Path]) -> None:
    for how, (name, change, words) in TAMPERED.items():
        folder = shutil.copytree(exported[1], exported[1].with_name(how))
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(change(before))
        assert (folder / name).read_bytes() != before, how
        with pytest.raises(CheckpointError, match=words) as refused:
            load_generator(folder)
        assert "\n" not in str(refused.value)


def test_a_whole_checkpoint_is_no_generator(exported: tuple[Path, Path]) -> None:
    run, folder = exported
    (folder / "model.safetensors").write_bytes((run / "checkpoints" / LAST).read_bytes())
    with pytest.raises(CheckpointError, match="no generator of a format"):
        load_generator(folder)


# --- refusing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "wrong"),
    [("safetensors", "values"), ("onnx", "values"), ("pt2", "values"), ("onnx", "nan"), ("onnx", "shape")],
)
def test_a_file_that_differs_is_not_kept(
    trained: Callable[..., Path],
    export: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    format: str,
    wrong: str,
) -> None:
    run = trained(*TINY_IMAGES, "steps=1", "name=run")
    before = sorted(run.rglob("*"))

    def differing(path: Path, inputs: Sequence[format_writers.Inputs]) -> list[Tensor]:
        network = load_generator(run).network
        made = [format_writers.NamedInputs(network, [*each]).run(each) for each in inputs]
        made[-1][0, 0, 0, 0] += {"values": 2e-4, "nan": float("nan"), "shape": 0.0}[wrong]
        return [samples[:1] for samples in made] if wrong == "shape" else made

    kind = format_writers.EXPORTERS[format]
    monkeypatch.setitem(format_writers.EXPORTERS, format, kind._replace(run=differing, write=lambda *_: None))
    export(f"ckpt={run}", f"format={format}", code=5)
    assert sorted(run.rglob("*")) == before


def test_the_bound_is_met_exactly() -> None:
    zeros = [torch.zeros(2, 3)]
    assert compare_samples(zeros, [torch.full((2, 3), 9e-5)], "onnx")["2"] == pytest.approx(9e-5)
    with pytest.raises(Exception, match=r"differs from the checkpoint's by 0\.00011 at batch 2"):
        compare_samples(zeros, [torch.full((2, 3), 1.1e-4)], "onnx")


def test_a_pt2_that_cannot_be_loaded_is_refused(
    trained: Callable[..., Path], export: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(*TINY_IMAGES, "steps=1", "name=run")
    kind = format_writers.EXPORTERS["pt2"]

    def write(generator: object, example: object, path: Path) -> None:
        path.write_bytes(b"nothing")

    monkeypatch.setitem(format_writers.EXPORTERS, "pt2", kind._replace(write=write))
    export(f"ckpt={run}", "format=pt2", code=5)
    assert not (run / "exported").exists()


class Untraceable(torch.nn.Module):
    """What it does depends on the values that it is given."""

    def forward(self, latent: Tensor) -> Tensor:
        return latent if latent.sum() > 0 else -latent


@pytest.mark.parametrize("format", ["onnx", "pt2"])
def test_a_generator_that_cannot_be_exported_is_one_line(
    trained: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], format: str
) -> None:
    run = trained(*TINY_IMAGES, "steps=1", "name=run")
    before = sorted(run.rglob("*"))
    monkeypatch.setattr(format_writers, "_plain_network", lambda network: Untraceable())
    capsys.readouterr()
    assert run_command("export", [f"ckpt={run}", f"format={format}"]) == 2
    printed, error = capsys.readouterr()
    assert error.startswith(f"gan-export: format={format}: this generator cannot be exported (")
    assert (error.count("\n"), printed) == (1, "")
    assert sorted(run.rglob("*")) == before


def test_a_file_that_does_not_run_is_one_line(
    trained: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(*TINY_IMAGES, "steps=1", "name=run")
    kind = format_writers.EXPORTERS["onnx"]

    def write(generator: object, example: object, path: Path) -> None:
        path.write_bytes(b"nothing")

    monkeypatch.setitem(format_writers.EXPORTERS, "onnx", kind._replace(write=write))
    capsys.readouterr()
    assert run_command("export", [f"ckpt={run}", "format=onnx"]) == 5
    error = capsys.readouterr().err
    assert error.startswith("gan-export: format=onnx: onnxruntime cannot run what was written (")
    assert error.count("\n") == 1
    assert not (run / "exported").exists()


def test_a_process_apart_that_hangs_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated_pt2, "TIMEOUT_SECONDS", 0.01)
    with pytest.raises(StorageError, match=r"model\.pt2: a subprocess has not run it in 0\.01 s"):
        isolated_pt2.run_in_subprocess(tmp_path / PT2, [{"latent": torch.zeros(1, 2)}])


def test_nothing_is_overwritten(trained: Callable[..., Path], export: Callable[..., Path]) -> None:
    run = trained(*TINY_IMAGES, "steps=1", "name=run")
    folders = [export(f"ckpt={run}") for _ in range(2)] + [export(f"ckpt={run}", "out=deep/er", "ema=false")]
    assert [folder.name for folder in folders] == [
        "step_00000001_safetensors",
        "step_00000001_safetensors-2",
        "step_00000001_safetensors",
    ]
    assert folders[2].parent == Path("deep/er")
    assert json.loads((folders[2] / "config.json").read_text())["ema"] is False
    one, two = (load_file(folder / "model.safetensors") for folder in (folders[0], folders[2]))
    assert any(not torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("overrides", "code", "words"),
    [
        ([], 2, "ckpt is missing"),
        (["ckpt=nowhere"], 3, "no such checkpoint"),
        (["ckpt=x", "format=h5"], 2, "format=h5"),
        (["ckpt=x.pt2"], 3, "no such checkpoint"),
    ],
)
def test_refusals(here: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], code: int, words: str) -> None:
    assert run_command("export", overrides) == code
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert list(here.iterdir()) == []


def test_a_missing_package_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    Path("x").touch()
    assert run_command("export", ["ckpt=x", "format=onnx"]) == 2
    assert capsys.readouterr().err == "gan-export: format=onnx needs onnxruntime: pip install 'gan-cli[onnx]'\n"


def test_an_export_of_another_tool_is_refused_by_name(here: Path) -> None:
    Path("model.pt2").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"expected a \.safetensors file"):
        load_generator("model.pt2")
    with pytest.raises(UsageError, match="expected what load_generator returns"):
        sample(None, [])  # type: ignore[arg-type]


def test_a_process_apart_gives_what_was_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its side is run in this process here; exporting a .pt2 above starts a real one."""

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        isolated_pt2.main(*command[-3:])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)

    class Twice(torch.nn.Module):
        def forward(self, latent: Tensor) -> Tensor:
            return 2 * latent

    program = torch.export.export(Twice(), (torch.zeros(3, 2),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, tmp_path / PT2)
    inputs = [{"latent": torch.randn(count, 2)} for count in (1, 4)]
    for given, made in zip(inputs, isolated_pt2.run_in_subprocess(tmp_path / PT2, inputs), strict=True):
        assert np.array_equal(made.numpy(), (2 * given["latent"]).numpy())


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        ("mnist", "CC BY-SA 3.0"),
        ("folder", "own images"),
        ("avatars", "name the artist"),
        ("emoji_pairs", "Apache 2.0"),
        ("shapes", "they learned from (`shapes`)"),
    ],
)
def test_a_card_says_whose_the_weights_and_the_data_are(dataset: str, words: str) -> None:
    config = compose(*TINY_IMAGES)
    of_shapes = Card(
        gan_cli="0",
        dataset="shapes",
        sample_shape=(1, 16, 16),
        generator=config.architecture.generator,
        conditioning=config.conditioning,
        ema=True,
        step=1,
        checkpoint="0" * 64,
    )
    told = " ".join(license_text(replace(of_shapes, dataset=dataset)))
    assert "claims no rights" in told
    assert words in told
    drawn = license_text(replace(of_shapes, dataset=dataset, data_licences=("toon: CC BY 4.0 (x`y)",)))
    assert drawn[-1] == "It learned from images that are drawn: `toon: CC BY 4.0 (x'y)`."


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"licence": "CC0 1.0; by A"}, ("toon-head: CC0 1.0; by A",)),
        ({"licences": ["MIT; by A", "MIT; by B", 3]}, ("toon-head: MIT; by A", "toon-head: MIT; by B")),
        ({"licence": 3}, ()),
        ({"licences": "x"}, ()),
        ({}, ()),
        ("x", ()),
    ],
)
def test_an_export_names_the_licences_that_its_run_recorded(
    trained: Callable[..., Path], export: Callable[..., Path], changes: Any, expected: tuple[str, ...]
) -> None:
    run = trained(*TINY_IMAGES, "steps=1", "name=licensed")
    record = json.loads((run / "config.json").read_text())
    record["data"]["changes"] = changes
    record["config"]["dataset"]["style"] = "toon-head"
    (run / "config.json").write_text(json.dumps(record))
    folder = export(f"ckpt={run}", "format=safetensors")
    card = json.loads((folder / "config.json").read_text())
    assert tuple(card["data_licences"]) == expected
    assert all(f"drawn: `{each}`." in (folder / "README.md").read_text() for each in expected)
    assert load_generator(folder).card.data_licences == expected
