"""gan-cli from Python: the same runs, samples and errors as its commands'."""

from __future__ import annotations

import dataclasses
import json
import os
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gan_cli import api, api_arguments
from gan_cli.cli.main import run_command
from gan_cli.config import train_config
from gan_cli.config.compose import compose_command
from gan_cli.data.dataset import to_uint8
from gan_cli.errors import CheckpointError, CollapsedError, GanCliError, UsageError
from gan_cli.models.generate import latents_from_seeds
from gan_cli.plugins.option_sources import read_option_sources
from gan_cli.sampling.load_generator import load_generator, sample
from gan_cli.state.checkpoint import LAST, load
from support.configs import TINY_IMAGES
from support.paths import ROOT

CONDITIONAL = [*TINY_IMAGES, "conditioning=projection", "steps=3", "name=kinds"]


def test_importing_it_imports_no_torch_and_nothing_of_hydra() -> None:
    code = "import sys, gan_cli.api; sys.exit(any(name in sys.modules for name in ('torch', 'hydra', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_example_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "examples" / "api.py").read_text()
    assert "budget=8s" in text
    short = here / "api.py"
    short.write_text(text.replace("budget=8s", "steps=20"))
    runpy.run_path(str(short), run_name="__main__")
    printed = capsys.readouterr().out
    assert "1000 points" in printed
    assert "modes" in printed.splitlines()[-1]


# --- train --------------------------------------------------------------------------------------------------------


def test_a_run_is_that_of_the_command(train: Callable[..., Path], here: Path) -> None:
    typed = train(*TINY_IMAGES, "steps=2", "name=typed")
    listed = api.train([*TINY_IMAGES, "steps=2", "name=listed"])
    mapped = api.train(
        {
            "dataset": "shapes", "dataset.size": 200, "image_size": 16, "batch_size": 8, "threads": 1, "steps": 2,
            "architecture": {"generator": {"base_channels": 4, "latent_dim": 8}, "discriminator": {"base_channels": 4}},
            "training": {"log_every": 1, "sample_every": 0, "checkpoint_every": 0}, "name": "it's, mapped",
        }
    )  # fmt: skip
    config = load_generator(typed).config
    assert config is not None
    whole = api.train(config)
    one, *others = (load(run / "checkpoints" / LAST) for run in (typed, listed, mapped, whole))
    for other in others:
        assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)
    assert mapped.parent.name == "it's, mapped"
    record = json.loads((listed / "config.json").read_text())
    assert record["command"].startswith("gan-train dataset=shapes ")
    for run in (mapped, whole):
        words = shlex.split(json.loads((run / "config.json").read_text())["command"])
        assert (words[0], "dataset=shapes" in words) == ("gan-train", True)
        again, once = (
            train_config.to_dict(part)
            for part in (api_arguments.read_overrides(read_option_sources(words[1:])).config, config)
        )
        for part in (again, once):
            del part["name"], part["threads"], part["precision"]  # which a run settles
        assert again == once
    assert record["ended"]["status"] == "done"


def test_values_of_a_mapping_are_taken_as_they_are(tmp_path: Path) -> None:
    pictures = tmp_path / "a b,c=[d]"
    overrides = api_arguments.parse_overrides(
        {
            "dataset.path": pictures, "regularizer": ["r1", "lecam"], "budget": None, "deterministic": True,
            "optimizer.lr": 2e-4, "dataset.classes": ["a cat", "1,2"], "loss": "hinge", "label": "x",
        }
    )  # fmt: skip
    assert overrides == [
        f"dataset.path={pictures}", "regularizer=[r1,lecam]", "budget=null", "deterministic=true",
        "optimizer.lr=0.0002", "dataset.classes=['a cat','1,2']", "loss=hinge", "label=x",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["loss=hinge", "optimizer.lr=0.003", "optimizer.generator.lr=0.0002", "name=it's"],
        ["optimizer=sgd", "optimizer/generator=adam", "regularizer=none", "dataset.classes=['a b',c]"],
        ["regularizer=[gradient_penalty,lecam]", "loss=wasserstein", "budget=5s", "training.augment=[]"],
        ["experiment=ring", "conditioning=concat", "device=cpu"],
        ["experiment=sngan_cifar10", "image_size=[32,64]", "output=a b,c=[d]", "dataset.root=~/x"],
        ["dataset=folder", "dataset.path=null", "architecture=mlp", "logger=[tensorboard]", "resume=auto"],
    ],
)
def test_a_config_is_told_as_a_command_that_comes_to_it(overrides: list[str]) -> None:
    config = train_config.parse_unvalidated(compose_command("train", read_option_sources(overrides)).data)
    typed = api_arguments.config_to_overrides(config)
    assert typed is not None
    assert train_config.parse_unvalidated(compose_command("train", read_option_sources(typed)).data) == config
    assert len(typed) <= 25
    assert overrides or not typed


def test_of_a_config_with_a_budget_the_command_says_no_steps() -> None:
    config = train_config.parse_unvalidated(compose_command("train", ["steps=77", "budget=5s"]).data)
    assert api_arguments.config_to_overrides(config) == ["budget=5s"]


def test_a_config_that_no_command_comes_to_has_none() -> None:
    config = train_config.parse_unvalidated(compose_command("train", ["loss=hinge"]).data)
    assert api_arguments.config_to_overrides(dataclasses.replace(config, plugins=("not.enabled",))) is None


def test_a_config_with_keys_of_sweeps_is_refused(here: Path) -> None:
    config = train_config.parse_unvalidated(compose_command("train", []).data)
    for more in ({"jobs": 2}, {"fresh": True}):
        with pytest.raises(UsageError, match="-m"):
            api.train(dataclasses.replace(config, **more))  # type: ignore[arg-type]
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (["loss=hnge"], "loss=hnge"),
        (["loss=hinge,minimax"], "needs -m"),
        ("loss=hinge", "expected a list of overrides"),
        ([["loss=hinge"]], "is no override"),
        (5, "expected a list"),
        ({"los": "hinge"}, "unknown key los"),
        ({"steps": float("nan")}, "steps=nan"),
        (["dry_run=true"], "dry_run=true"),
        (["resume=nowhere"], "no run there"),
        (["+seed=1"], "neither added nor deleted"),
        (["--help"], "unknown flag"),
    ],
)
def test_a_mistake_is_an_error_of_ours_and_writes_nothing(here: Path, config: object, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        api.train(config)  # type: ignore[arg-type]
    assert words in str(raised.value)
    assert list(here.iterdir()) == []


def test_a_run_that_fails_raises(here: Path) -> None:
    bad = [*TINY_IMAGES, "steps=40", "health.on_collapse=stop", "optimizer.lr=5", "regularizer=none", "loss=minimax"]
    with pytest.raises(GanCliError) as raised:
        api.train(bad)
    assert isinstance(raised.value, CollapsedError) or raised.value.exit_code == 4


def test_a_resume_goes_on(here: Path) -> None:
    run = api.train([*TINY_IMAGES, "steps=2"])
    assert api.train({"resume": run, "extra_steps": 2}) == run
    assert load_generator(run).step == 4
    assert api.train([f"resume={run}", "steps=4"]) == run  # all is done


def test_a_thread_of_ones_own_can_train(here: Path) -> None:
    runs: list[Path] = []
    thread = threading.Thread(target=lambda: runs.append(api.train([*TINY_IMAGES, "steps=1"])))
    thread.start()
    thread.join(60)
    assert load_generator(runs[0]).step == 1


def test_ctrl_c_saves_and_is_an_interrupt(here: Path) -> None:
    threading.Timer(1.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        api.train([*TINY_IMAGES, "steps=1e6", "name=long"])
    run = next(here.glob("outputs/long/*"))
    assert load_generator(run).step > 0
    assert json.loads((run / "config.json").read_text())["ended"]["status"] == "stopped"


# --- load and sample ----------------------------------------------------------------------------------------------


def test_samples_are_those_of_gan_sample(train: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    run = train(*CONDITIONAL)
    generator = api.load_generator(str(run))
    assert (generator.sample_shape, generator.step, generator.ema) == ((1, 16, 16), 3, True)
    assert len(generator.classes) == 8
    for label in (None, "outlined circle", "filled cross,outlined square"):
        capsys.readouterr()
        more = [] if label is None else [f"label={label}"]
        assert run_command("sample", [f"ckpt={run}", "seeds=3-18", "format=npz", "batch_size=5", *more]) == 0
        arrays = np.load(capsys.readouterr().out.strip())
        made = api.sample(generator, range(3, 19), label)
        assert (made.dtype, made.shape) == (torch.float32, (16, 1, 16, 16))
        assert -1 <= made.min() < made.max() <= 1
        apart = to_uint8(made)[:, 0].numpy().astype(int) - arrays["images"][..., 0]
        assert np.abs(apart).max() <= 1


def test_labels_of_each(train: Callable[..., Path]) -> None:
    generator = api.load_generator(train(*CONDITIONAL))
    names = generator.classes
    wanted = [names[2], names[0], names[2]]
    by_name = sample(generator, [5, 6, 7], wanted)
    for labels in ([2, 0, 2], np.array([2, 0, 2]), torch.tensor([2, 0, 2]), tuple(wanted), list(np.array([2, 0, 2]))):
        assert torch.equal(sample(generator, [5, 6, 7], labels), by_name)  # type: ignore[arg-type]
    assert torch.equal(sample(generator, np.array([5, 6, 7]), 2)[[0, 2]], by_name[[0, 2]])  # type: ignore[arg-type]
    for number in (np.int64(2), torch.tensor(2), np.array(2)):
        assert torch.equal(sample(generator, [5, 6, 7], number)[[0, 2]], by_name[[0, 2]])  # type: ignore[arg-type]
    tensors = list(torch.tensor([2, 0, 2]))
    assert torch.equal(sample(generator, [5, 6, 7], tensors), by_name)  # type: ignore[arg-type]
    assert not torch.equal(sample(generator, [5, 6, 7], 0), by_name)
    one, many = (sample(generator, range(9), names[1], batch_size=size) for size in (1, 64))
    torch.testing.assert_close(one, many, atol=1e-5, rtol=0)
    assert not torch.equal(sample(generator, range(4), truncation=0.5), sample(generator, range(4)))


def test_latents_give_the_samples_of_their_seeds(train: Callable[..., Path]) -> None:
    generator = load_generator(train(*TINY_IMAGES, "conditioning=projection", "steps=1", "name=of_latents"))
    latents = latents_from_seeds(range(9), generator.latent)
    expected = api.sample(generator, range(9), labels=1)
    assert torch.equal(api.sample(generator, latents=latents, labels=1), expected)
    assert torch.equal(api.sample(generator, latents=latents.numpy().tolist(), labels=1, batch_size=9), expected)
    assert api.sample(generator, latents=latents[0].numpy()).shape == expected[:1].shape
    refused: dict[str, dict[str, Any]] = {
        "seeds and latents: latents are used as they are": {"seeds": [1], "latents": latents},
        "truncation and latents": {"truncation": 0.5, "latents": latents},
        "seeds is missing": {},
        "is of another one|is it of another one": {"latents": latents[:, 1:]},
        "NaN": {"latents": latents * np.nan},
    }
    for words, arguments in refused.items():
        with pytest.raises(UsageError, match=words):
            api.sample(generator, **arguments)


def test_what_cannot_be_sampled_is_said(train: Callable[..., Path]) -> None:
    generator = api.load_generator(train(*CONDITIONAL))
    wrong: list[tuple[list, dict, str]] = [
        ([], {}, "at least one"),
        ([-1], {}, "from 0"),
        ([2**63], {}, "from 0"),
        ([1.5], {}, "1.5 is no whole number"),
        (["a"], {}, "is no whole number"),
        ([1, 2], {"labels": ["filled cross"]}, "labels: 1 for 2 seeds"),
        ([1], {"labels": ["dog"]}, "label=dog: no class"),
        ([1], {"labels": ["filled cross,filled circle"]}, "names 2 classes"),
        ([1], {"labels": 8}, "expected 0 to 7"),
        ([1], {"labels": 1.5}, "labels=1.5: expected a class"),
        ([1], {"labels": True}, "labels=True: expected a class"),
        ([1], {"labels": {"filled cross"}}, "expected a class"),
        ([1], {"labels": torch.tensor(1.5)}, "labels=1.5: expected a class"),
        ([1, 2], {"labels": [1.0, 0.0]}, "labels: 1.0 is no class and no whole number"),
        ([1, 2], {"labels": np.array([1.0, 0.0])}, "labels: 1.0 is no class"),
        ([1, 2], {"labels": [["a"], ["b"]]}, "labels: ['a'] is no class"),
        ([1, 2], {"labels": np.eye(2, dtype=int)}, "labels: [1, 0] is no class"),
        ([1], {"labels": [None]}, "labels: None is no class"),
        ([1], {"labels": [True]}, "labels: True is no class"),
        ([1], {"truncation": 0.0}, "truncation=0.0"),
        ([1], {"batch_size": 0}, "batch_size=0"),
    ]
    for seeds, more, words in wrong:
        with pytest.raises(UsageError) as raised:
            api.sample(generator, seeds, **more)
        assert words in str(raised.value)
        assert "\n" not in str(raised.value)


def test_an_unconditional_one_has_no_labels(train: Callable[..., Path]) -> None:
    generator = api.load_generator(train(*TINY_IMAGES, "steps=1"))
    with pytest.raises(UsageError, match="takes no class"):
        api.sample(generator, [1], "cat")
    average, last = (api.load_generator(generator.path, ema=ema) for ema in (True, False))
    assert (average.ema, last.ema) == (True, False)


def test_what_is_no_checkpoint_is_refused(here: Path) -> None:
    for path in ("nowhere", "nowhere.safetensors", ".", "~nosuchuser/x", "x" * 300, "a\0b"):
        with pytest.raises(CheckpointError):
            api.load_generator(path)
    Path("x.pt").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="can run code"):
        api.load_generator("x.pt")


# --- evaluate -----------------------------------------------------------------------------------------------------


def test_figures_are_those_of_gan_eval(here: Path) -> None:
    run = api.train(["experiment=ring", "steps=20", "dataset.size=2000", "threads=1"])
    before = sorted(run.rglob("*"))
    evaluated = api.evaluate(run, metrics=["modes"], n=500, resamples=0)
    assert any(figure.name.startswith("modes/") for figure in evaluated.figures)
    assert evaluated.about["step"] == 20
    assert sorted(run.rglob("*")) == before
    for nowhere in ("nowhere", "x" * 300):
        with pytest.raises(CheckpointError):
            api.evaluate(nowhere)
    shutil.rmtree(run)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"metrics": ["fid"]}, "metrics=[fid]: here it is metrics=[frechet] extractor=inception"),
        ({"metrics": "frechet,modes"}, "metrics=frechet,modes: expected"),
        ({"metrics": 5}, "metrics=5: expected"),
        ({"resamples": -3}, "resamples=-3: expected a whole number at least 0"),
        ({"n": -5}, "n=-5: expected a whole number at least 10"),
        ({"n": 0}, "n=0: expected"),
        ({"n": True}, "n=true: expected"),
        ({"seed": -1}, "seed=-1: expected"),
        ({"extractor": "clasifier"}, "extractor=clasifier: expected one of auto, classifier"),
        ({"ema": "no"}, "ema=no: expected true or false"),
        ({"device": "gpu"}, "device=gpu"),
        ({"real": "a"}, "real=a: is for two folders"),
        ({"path": None}, "path is missing"),
        ({"path": None, "real": "a"}, "fake is missing"),
        ({"path": None, "real": "a", "fake": "b", "data": "c"}, "data=c: says where"),
    ],
)
def test_what_cannot_be_judged_is_said_in_a_line(here: Path, asked: dict, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        api.evaluate(**{"path": "nowhere", **asked})
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_numbers_of_numpy_and_paths_are_taken(here: Path) -> None:
    asked = api_arguments.parse_evaluation_options(
        ckpt=Path("a"), n=np.int64(50), metrics=("frechet",), data=Path("b c")
    )
    assert (asked.ckpt, asked.n, asked.metrics, asked.data) == ("a", 50, ("frechet",), "b c")
    assert (asked.resamples, asked.extractor) == (200, "auto")


def test_two_folders_are_compared_as_gan_eval_does(here: Path) -> None:
    random = np.random.default_rng(0)
    for name, most in (("photos", 256), ("made", 128)):
        Path(name).mkdir()
        for index in range(60):
            Image.fromarray(random.integers(0, most, (8, 8), dtype=np.uint8)).save(f"{name}/{index}.png")
    how = {"metrics": ["frechet"], "extractor": "pixels", "n": 30, "resamples": 2}
    evaluated = api.evaluate(real=Path("photos"), fake="made", **how)  # type: ignore[arg-type]
    assert run_command("eval", ["real=photos", "fake=made", "metrics=[frechet]", "extractor=pixels", "n=30"]) == 0
    saved = json.loads(next(here.glob("*.json")).read_text())["figures"][0]
    (figure,) = evaluated.figures
    assert (figure.name, figure.value) == (saved["name"], pytest.approx(saved["value"]))
    assert figure.value > (figure.floor or 0)


def test_what_is_no_generator_and_no_path_is_said(train: Callable[..., Path]) -> None:
    generator = load_generator(train(*TINY_IMAGES, "steps=1"))
    for call, told in (
        (lambda: load_generator(None), "path: expected a checkpoint"),  # type: ignore[arg-type]
        (lambda: sample(None, [1]), "generator: expected what load_generator returns"),  # type: ignore[arg-type]
        (lambda: sample(generator, 5), "seeds=5: expected several"),  # type: ignore[arg-type]
    ):
        with pytest.raises(UsageError, match=told):
            call()
