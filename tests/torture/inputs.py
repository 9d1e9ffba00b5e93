"""What commands read beside a run: another run, exports, pictures, caches, a sweep. Made once, copied into trials."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torture.hostile.pictures import make_healthy
from torture.scenarios import SCENARIOS, TINY, copy_run, finished_run, only_run
from torture.worker import Trial

SWEEP = SCENARIOS["sweep"].arguments
EVAL = ("run", "metrics=[frechet]", "n=20", "resamples=0")
PICTURES = (*(each for each in TINY if not each.startswith("dataset")), "dataset=folder", "steps=1", "name=n")
CACHED = (*PICTURES, "dataset.path=pictures", "dataset.cache=cache")
STUDY = (
    "-m", *TINY, "name=s", "steps=1", "evaluation.extractor=pixels", "hydra/sweeper=optuna",
    "hydra.sweeper.storage=sqlite:///study.db", "hydra.sweeper.study_name=s", "hydra.sweeper.n_trials={trials}",
    "seed=choice(0,1,2,3)",
)  # fmt: skip


@dataclass(frozen=True)
class Input:
    """A command, and the function that makes in a trial what the command reads."""

    command: str
    arguments: tuple[str, ...]
    make: Callable[[Trial], object]


def cache_everything() -> None:
    """Lets this process cache small data sets too, and Optuna log without colours."""
    from gan_cli.data import image_store

    image_store.MIN_CACHE_BYTES = 0
    os.environ["NO_COLOR"] = "1"


def run_once(trial: Trial, command: str, *arguments: str) -> None:
    """Runs a command that must succeed."""
    ended = trial.run(command, *arguments, before=cache_everything)
    if ended.code:
        raise RuntimeError(f"gan-{command}: {ended.last_line}")


def make_two_runs(trial: Trial) -> None:
    """Makes the runs `run` and `other`."""
    copy_run(trial)
    shutil.copytree(finished_run(trial), trial.here / "other")


def make_export(trial: Trial) -> None:
    """Makes `export`, a folder that gan-export wrote, and `model.safetensors` with `model.json`, a file of it."""

    def make(shared: Trial) -> Path:
        copy_run(shared)
        run_once(shared, "export", "run")
        run_once(shared, "export", "run", "out=model.safetensors")
        return shared.here

    made = trial.bench.once(("exports",), make)
    shutil.copytree(next((made / "run" / "exported").iterdir()), trial.here / "export")
    for name in ("model.safetensors", "model.json"):
        shutil.copy(made / name, trial.here)


def make_sweep(trial: Trial) -> Path:
    """Makes a finished sweep, and returns its folder, which `sweep` links to."""

    def make(shared: Trial) -> Path:
        run_once(shared, "train", *SWEEP)
        return shared.here

    made = trial.bench.once(("sweep",), make)
    shutil.copytree(made / "outputs", trial.here / "outputs", symlinks=True)
    folder = only_run(trial)
    (trial.here / "sweep").symlink_to(folder)
    return folder


def make_study(trial: Trial) -> Path:
    """Makes a search with one trial, and returns its database."""

    def make(shared: Trial) -> Path:
        run_once(shared, "train", *study(1))
        return shared.here

    made = trial.bench.once(("study",), make)
    shutil.copytree(made / "outputs", trial.here / "outputs", symlinks=True)
    return Path(shutil.copy(made / "study.db", trial.here))


def study(trials: int) -> list[str]:
    """Returns the arguments of a search with this number of trials."""
    return [each.format(trials=trials) for each in STUDY]


def make_image_cache(trial: Trial) -> Path:
    """Makes `pictures` and a file of decoded images in `cache`, and returns that file."""
    make_healthy(trial.here)
    run_once(trial, "train", *CACHED)
    shutil.rmtree(trial.here / "outputs")
    (found,) = (trial.here / "cache").glob("*.pictures")
    return found


def make_evaluation_cache(trial: Trial) -> list[Path]:
    """Makes a run and the caches of a reference and of a classifier in the user's home, and returns their files."""
    copy_run(trial)
    run_once(trial, "eval", *EVAL, "extractor=classifier")
    shutil.rmtree(trial.here / "run" / "evaluations")
    return sorted((trial.folder / "home" / ".cache").rglob("*.safetensors"))
