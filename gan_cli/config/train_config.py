"""A whole command as typed, validated data, and when two configs describe the same run. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_cli.config import schema
from gan_cli.config.compatibility import validate
from gan_cli.config.metric_names import selection_metric
from gan_cli.config.options import (
    CONDITIONINGS,
    DATASETS,
    DEVICES,
    LOSSES,
    OPTIMIZERS,
    REGULARIZERS,
    UNCONDITIONAL,
    UNEVALUATED,
    UNWATCHED,
    Architecture,
    Evaluation,
    Health,
    Training,
)
from gan_cli.config.plugin import ENABLED
from gan_cli.config.schema import key, option_of, options_of
from gan_cli.errors import UsageError, one_line

DURATION = r"(?!0+(\.0+)?[smh])[0-9]{1,9}(\.[0-9]{1,9})?[smh]"
LOGGERS = ("tensorboard", "wandb", "csv", "mlflow")
NAME = r"[^=/\\\x00-\x1f.-][^=/\\\x00-\x1f]{0,99}"


@dataclass(frozen=True)
class Config:
    """A whole `gan-train` command."""

    steps: int = key("generator updates in all", at_least=1, at_most=10**12)
    extra_steps: int | None = key("with resume: generator updates to add to those done", at_least=1, at_most=10**12)
    budget: str | None = key(
        "train for this long instead of `steps`",
        pattern=DURATION,
        pattern_means="a time with its unit, as 90s, 20m or 1.5h",
    )
    batch_size: int = key("samples of one update", at_least=1, at_most=1_000_000)
    image_size: int | tuple[int, ...] | None = key(
        "side of the images in pixels, or [height,width]; the data set's own unless set",
        at_least=1,
        at_most=1024,
        length=2,
    )
    recipe: str = key(
        "settings that fit the data, under those of an experiment; auto: chosen by the data", absent="auto"
    )
    recipe_used: str = key("the recipe that recipe=auto came to; recorded, not set", absent="none")
    seed: int = key("of everything random", at_least=0, at_most=2**63 - 1)
    name: str | None = key(
        "of the run's folder; <dataset>-<generator>-<loss> unless set",
        pattern=NAME,
        pattern_means="a name of up to 100 letters without = or slashes, not starting with . or -",
    )
    output: str = key("folder that receives the runs")
    resume: str | None = key("a run's folder or name to go on with, or auto")
    data: str | None = key(
        "with resume: the folder, zip or files where the run's data are now, if they were moved", absent=None
    )
    on_changed_data: str = key(
        "with resume, if the data are not those of the run: stop, or go on with them, this once; auto: resume=auto goes"
        " on with as many samples or more, all else stops",
        absent="auto",
        choices=("auto", "stop", "go_on"),
    )
    init_from: str | None = key(
        "a checkpoint or run to start from: its networks and weights, all else fresh", absent=None
    )
    replay: str | None = key(
        "a run that had a budget: the end moves at its steps, as recorded, and nothing is timed", absent=None
    )
    plugins: tuple[str, ...] = key("installed packages whose options are to be known, as [mypackage]", absent=())
    dry_run: bool = key("show config and networks, try one step, leave nothing behind", absent=False)
    jobs: int = key("with -m: how many runs of the sweep at a time", absent=1, at_least=1, at_most=1024)
    fresh: bool = key("with -m: begin another sweep, whatever was done of this one", absent=False)
    keep: int = key("how many step_* checkpoints to keep; 0: all", at_least=0)
    precision: str = key(
        "of the networks' arithmetic; auto: bf16 for images where the machine computes it fast, else fp32",
        choices=("auto", "fp32", "bf16"),
        instead={"fp16": "is not offered, as its range needs scaled losses; use auto, fp32, bf16"},
    )
    threads: int | str | None = key(
        "CPU threads; auto, or null: as many as are fastest in a short trial", word="auto", at_least=1, at_most=1024
    )
    deterministic: bool = key(
        "nothing is timed, and operations are chosen that repeat to the last bit, where there are such", absent=False
    )
    logger: tuple[str, ...] = key(
        "where figures and grids also go, beside metrics.jsonl, as [tensorboard,wandb]; csv: figures as a table",
        absent=(),
        choices=LOGGERS,
    )
    compile: bool = key(
        "compile the networks with torch.compile: a minute of waiting, and then slower or faster steps", absent=False
    )
    dataset: Any = option_of(DATASETS, "what is learned")
    architecture: Architecture = key("the two networks")
    conditioning: Any = option_of(CONDITIONINGS, "asking for a kind of sample", absent=UNCONDITIONAL)
    loss: Any = option_of(LOSSES, "what each network minimizes")
    regularizer: dict[str, Any] = options_of(REGULARIZERS, "what is added to hold D in check")
    optimizer: Any = option_of(OPTIMIZERS, "how weights follow gradients")
    device: Any = option_of(DEVICES, "where it runs")
    training: Training = key("the loop")
    evaluation: Evaluation = key("what samples are worth", absent=UNEVALUATED)
    health: Health = key("the watch over a run", absent=UNWATCHED)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """`(C, H, W)` of an image, `(2,)` of a point."""
        return self.dataset.sample_shape(self.image_size)

    @property
    def classes(self) -> tuple[str, ...]:
        """What can be asked for, known once the data are; nothing of an unconditional run."""
        return getattr(self.conditioning, "classes", None) or ()

    @property
    def selection_metric(self) -> str | None:
        """The metric by which a run's best checkpoint is chosen; None if there is none."""
        return selection_metric(self.evaluation.metrics, self.evaluation.best)

    @property
    def run_name(self) -> str:
        return self.name or f"{self.dataset.name}-{self.architecture.generator.name}-{self.loss.name}"


def parse(data: Mapping[str, Any]) -> Config:
    """A validated `Config` from plain data; UsageError in one line."""
    config = read(data)
    validate(config)
    return config


def read(data: Mapping[str, Any]) -> Config:
    """A `Config` whose values are right in themselves; whether they fit each other is for `validate`."""
    require_plugins(data)
    return schema.parse(Config, data)


def require_plugins(data: Any) -> None:
    """UsageError for data that need a plugin which this command has not enabled: a file never does."""
    named = data.get("plugins", ()) if isinstance(data, Mapping) else ()
    names = [str(name) for name in (named if isinstance(named, list | tuple) else [named]) if name is not None]
    if any(name not in ENABLED for name in names):
        shown = one_line(",".join(names), 100)
        raise UsageError(f"needs plugins that are not enabled: add plugins=[{shown}] if you trust them")


def refuse_keys_of_sweeps(config: Config) -> None:
    """UsageError if a single run was told how a sweep is to run."""
    if config.jobs > 1:
        raise UsageError(f"jobs={config.jobs}: runs of a sweep at a time, which needs -m")
    if config.fresh:
        raise UsageError("fresh=true: is of sweeps, which need -m; a run begins afresh unless resume= is given")


def settle_end(config: Config, named: Sequence[str]) -> Config:
    """The config with one end: steps that were named go over a budget that an experiment brought.

    UsageError for a command whose named keys say more than once, or not at all, when to stop.
    """
    ends = [key for key in ("steps", "extra_steps", "budget") if key in named and getattr(config, key) is not None]
    if len(ends) > 1:
        raise UsageError(f"{' and '.join(ends)}: each says when to stop, give one")
    if config.extra_steps is not None and config.resume is None:
        raise UsageError(f"extra_steps={config.extra_steps}: adds to a run, which needs resume=; else use steps=")
    if {"steps", "extra_steps"} & {*ends}:
        config = dataclasses.replace(config, budget=None)
    if config.replay is not None:
        if {"steps", "extra_steps"} & {*ends}:
            raise UsageError(f"{ends[0]} and replay: each says when to stop, give one")
        config = dataclasses.replace(config, budget=None)
    if config.deterministic and config.budget is not None:
        raise UsageError(f"deterministic=true: budget={config.budget} makes as many steps as fit, give steps=")
    return config


def to_dict(config: Any) -> dict[str, Any]:
    """The plain data that `parse` takes back, and JSON keeps."""
    return _listed_plainly(dataclasses.asdict(config))


def _listed_plainly(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _listed_plainly(value) for key, value in data.items()}
    return list(data) if isinstance(data, tuple) else data


def flatten(data: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every leaf."""
    for name, value in data.items():
        dotted = f"{path}.{name}" if path else name
        if isinstance(value, Mapping):
            yield from flatten(value, dotted)
        else:
            yield dotted, value


# What a run may change when it goes on without being another run; so may every interval, `*_every`.
RUN_CONTROL = (
    "steps", "extra_steps", "budget", "keep", "output", "resume", "device", "health", "evaluation",
    "dry_run", "plugins", "logger", "data", "on_changed_data",
)  # fmt: skip

RECORDED = "conditioning.classes"  # follows from the data
NO_DIFFERENCE = (
    "name", "dataset.cache", "dataset.labels_version", RECORDED, "recipe_used",
)  # fmt: skip  # where a run is kept, what follows from the data
PATHS = ("dataset.path", "dataset.root", "dataset.labels", "init_from", "replay")  # equal if they lead to one place
AUTO = ("precision", "threads")  # which a run settles when it starts, and records
AUTO_OF_DATA = ("value_range", "profiles")  # of the section dataset; runs that are older have another value there


def is_run_control(dotted: str) -> bool:
    return dotted.split(".")[0] in RUN_CONTROL or dotted.endswith("_every")


def with_data_settled(config: Config, saved: Config) -> Config:
    """The config with what `auto` came to in the data of a run that was saved, and with its way to find labels."""
    leaves = [leaf for leaf in AUTO_OF_DATA if getattr(config.dataset, leaf, None) == "auto"]
    leaves += ["labels_version"] if hasattr(config.dataset, "labels_version") else []
    settled = {leaf: getattr(saved.dataset, leaf) for leaf in leaves if hasattr(saved.dataset, leaf)}
    return dataclasses.replace(config, dataset=dataclasses.replace(config.dataset, **settled))


def differences(one: Config, other: Config) -> list[str]:
    """Keys in which two configs describe different runs, each as `key=value (was value)`; a name is no difference."""
    new, old = dict(flatten(to_dict(one))), dict(flatten(to_dict(other)))
    old |= {key: new[key] for key in AUTO if new[key] in ("auto", None)}
    old |= {
        key: "auto" for key in (f"dataset.{leaf}" for leaf in AUTO_OF_DATA) if key in old and new.get(key) == "auto"
    }
    return [
        one_line(f"{dotted}={schema.shown(new.get(dotted))} (was {schema.shown(old.get(dotted))})", 100)
        for dotted in sorted(new.keys() | old.keys())
        if not is_run_control(dotted)
        and dotted not in NO_DIFFERENCE
        and not same(dotted, new.get(dotted), old.get(dotted))
    ]


def same(dotted: str, one: Any, other: Any) -> bool:
    """Whether two values of a key say the same: of paths, whether they lead to one place."""
    if one == other or dotted not in PATHS or None in (one, other):
        return bool(one == other)
    first, second = (
        [Path(path).expanduser().resolve() for path in ((paths,) if isinstance(paths, str) else paths)]
        for paths in (one, other)
    )
    return first == second
