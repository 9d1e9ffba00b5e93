"""The config of `gan-train` as typed, validated data, and the comparison of two configs. Imports no torch."""

import dataclasses
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Annotated, Any, Literal

from pydantic import Field

from gan_cli.config.metric_names import selection_metric
from gan_cli.config.options.conditioning import CONDITIONING_OPTIONS, Unconditional
from gan_cli.config.options.datasets import AUTO_OF_DATA
from gan_cli.config.options.fields import Bool, EachOf, Integer, Name, OneOf, Several, Text, matching, section
from gan_cli.config.options.fields import flatten as flatten
from gan_cli.config.options.loop import DEVICE_OPTIONS, EvaluationOptions, HealthOptions, TrainingOptions
from gan_cli.config.options.networks.architectures import ArchitectureOptions
from gan_cli.config.options.objectives import AUXILIARY_OPTIONS, LOSS_OPTIONS, REGULARIZER_OPTIONS
from gan_cli.config.options.optimizers import OPTIMIZER_OPTIONS
from gan_cli.config.options.published_datasets import DATASET_OPTIONS
from gan_cli.config.options.schedules import ScheduleOptions
from gan_cli.config.options.tasks import TASK_OPTIONS, Generation, join_names
from gan_cli.config.plugin import ENABLED
from gan_cli.config.validation import format_value, parse
from gan_cli.errors import UsageError, one_line
from gan_cli.storage.locate import resolve_path

DURATION = r"(?!0+(\.0+)?[smh])[0-9]{1,9}(\.[0-9]{1,9})?[smh]"
Side = Annotated[Integer, Field(ge=1, le=1024)]  # in pixels
LIST_GROUPS = ("regularizer", "auxiliary")  # groups of which a run can have several options
NAME = r"[^=/\\\x00-\x1f.-][^=/\\\x00-\x1f]{0,99}"


@section
class Config:
    """The config of `gan-train`."""

    steps: Integer = Field(ge=1, le=10**12, description="generator updates in total")
    extra_steps: Integer | None = Field(
        ge=1, le=10**12, description="with resume: generator updates in addition to those done"
    )
    budget: Text | None = matching(
        DURATION, "a time with its unit, as 90s, 20m or 1.5h", description="train for this time instead of `steps`"
    )
    batch_size: Integer = Field(ge=1, le=1_000_000, description="samples per update")
    image_size: Side | Annotated[tuple[Side, ...], Field(min_length=2, max_length=2)] | None = Field(
        description="side of the images in pixels, or [height,width]; that of the data set unless set"
    )
    recipe: Text = Field(
        "auto", description="settings that fit the data; those of an experiment override them; auto: chosen by the data"
    )
    recipe_used: Text = Field("none", description="the recipe that recipe=auto chose; recorded, not to be set")
    seed: Integer = Field(ge=0, le=2**63 - 1, description="seed of everything random")
    name: Text | None = matching(
        NAME,
        "a name that begins with neither . nor -, of up to 100 letters without = or slashes",
        description="name of the run's folder; <dataset>-<generator>-<loss> unless set",
    )
    output: Text = Field(description="folder that receives the runs")
    resume: Text | None = Field(
        description="folder or name of a run to continue; auto: the run with this config, if there is one"
    )
    data: Text | None = Field(
        None, description="with resume: the folder, zip or files of the run's data, if they were moved"
    )
    on_changed_data: Literal["auto", "stop", "go_on"] = Field(
        "auto",
        description="with resume, if the data have changed: stop, or go_on with them, this once; auto: resume=auto"
        " goes on with as many samples or more, everything else stops",
    )
    resume_strict: Bool = Field(
        False, description="with resume: end with an error if packages or machine are not those of the run"
    )
    init_from: Text | None = Field(
        None, description="a checkpoint or run whose networks and weights to start from; everything else is new"
    )
    replay: Text | None = Field(
        None, description="a run that had a budget: repeat its steps as recorded, without measuring time"
    )
    plugins: Several[Name] = Field((), description="installed packages whose options to add, as [mypackage]")
    dry_run: Bool = Field(False, description="show config and networks, audit the data, try and estimate the run")
    jobs: Integer = Field(1, ge=1, le=1024, description="with -m: runs of the sweep at the same time")
    fresh: Bool = Field(False, description="with -m: begin a new sweep, even if this one has begun")
    keep: Integer = Field(ge=0, description="number of step_* checkpoints to keep; 0: all")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        description="precision of the networks; auto: for images bf16 if the machine computes it fast, or fp16 on a GPU"
        " that computes only this fast, else fp32"
    )
    threads: Literal["auto"] | Annotated[Integer, Field(ge=1, le=1024)] | None = Field(
        description="CPU threads; auto or null: the number that is fastest in a short trial"
    )
    deterministic: Bool = Field(
        False, description="use operations that repeat to the last bit, where they exist, and measure no time"
    )
    logger: Several[Literal["tensorboard", "wandb", "csv", "mlflow"]] = Field(
        (), description="where metrics and grids are also logged, as [tensorboard,wandb]; csv: metrics as a table"
    )
    compile: Bool = Field(
        False, description="compile the networks with torch.compile: takes a minute, then steps are faster or slower"
    )
    dataset: Annotated[Any, OneOf(DATASET_OPTIONS)] = Field(description="the training data")
    architecture: ArchitectureOptions = Field(description="the two networks")
    conditioning: Annotated[Any, OneOf(CONDITIONING_OPTIONS)] = Field(
        default_factory=lambda: Unconditional(name="none"), description="how samples are conditioned on a class"
    )
    task: Annotated[Any, OneOf(TASK_OPTIONS)] = Field(
        default_factory=lambda: Generation(name="generation"), description="what the generator is given and makes"
    )
    loss: Annotated[Any, OneOf(LOSS_OPTIONS)] = Field(description="what each network minimizes")
    regularizer: Annotated[dict[str, Any], EachOf(REGULARIZER_OPTIONS)] = Field(
        description="penalties and constraints of the discriminator"
    )
    auxiliary: Annotated[dict[str, Any], EachOf(AUXILIARY_OPTIONS)] = Field(
        default_factory=dict, description="what the generator minimizes beside the adversarial loss"
    )
    optimizer: Annotated[Any, OneOf(OPTIMIZER_OPTIONS)] = Field(description="the update rule of the weights")
    device: Annotated[Any, OneOf(DEVICE_OPTIONS)] = Field(description="the device")
    training: TrainingOptions = Field(description="the training loop")
    schedule: ScheduleOptions = Field(
        default_factory=ScheduleOptions, description="values that change in the course of the run"
    )
    evaluation: EvaluationOptions = Field(
        default_factory=EvaluationOptions,  # type: ignore[arg-type]
        description="evaluation during training",
    )
    health: HealthOptions = Field(
        default_factory=HealthOptions,  # type: ignore[arg-type]
        description="the health monitor of a run",
    )

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample: `(C, H, W)` for images, `(2,)` for points."""
        return self.dataset.sample_shape(self.image_size)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that samples can be conditioned on. Empty without classes, and before the data are read."""
        return getattr(self.conditioning, "classes", None) or ()

    @property
    def frequencies(self) -> tuple[float, ...] | None:
        """The shares of the classes in the data, with which values that are not requested are drawn; None: evenly."""
        return getattr(self.conditioning, "frequencies", None)

    @property
    def selection_metric(self) -> str | None:
        """The name of the metric that selects a run's best checkpoint; None if there is no such metric."""
        return selection_metric(self.evaluation.metrics, self.evaluation.best)

    @property
    def run_name(self) -> str:
        """The name of the folder that holds the run."""
        return self.name or join_names(self.dataset, self.task, self.architecture.generator, self.loss)


def parse_unvalidated(data: Mapping[str, Any]) -> Config:
    """Returns the `Config` for plain data. Checks each value alone; `validate` checks whether values fit together."""
    require_plugins(data)
    return parse(Config, data)


def require_plugins(data: Any) -> None:
    """Raises UsageError if a config needs a plugin that is not enabled. A config file cannot enable a plugin."""
    named = data.get("plugins", ()) if isinstance(data, Mapping) else ()
    names = [str(name) for name in (named if isinstance(named, list | tuple) else [named]) if name is not None]
    if any(name not in ENABLED for name in names):
        listed = one_line(",".join(names), 100)
        raise UsageError(f"needs plugins that are not enabled: add plugins=[{listed}] if you trust them")


def wrong_value(config: Config, key: str, reason: str) -> UsageError:
    """Returns the error `key=value: reason` about the value that a dotted key has in the config."""
    return UsageError(f"{key}={format_value(attrgetter(key)(config))}: {reason}")


def refuse_sweep_keys(config: Config) -> None:
    """Raises UsageError if keys of sweeps are set for a single run."""
    if config.jobs > 1:
        raise wrong_value(config, "jobs", "runs of a sweep at a time, which needs -m")
    if config.fresh:
        raise UsageError("fresh=true: is for sweeps, which need -m; a run is new unless resume= is given")


def resolve_run_length(config: Config, named: Sequence[str]) -> Config:
    """Returns the config, with `budget` set to None if `replay`, or a step count in `named`, says when the run ends.

    `named` are the keys that the user set. Raises UsageError if keys contradict each other.
    """
    ends = [key for key in ("steps", "extra_steps", "budget") if key in named and getattr(config, key) is not None]
    if len(ends) > 1:
        raise UsageError(f"{' and '.join(ends)}: each says when to stop, give one")
    if config.extra_steps is not None and config.resume is None:
        raise wrong_value(config, "extra_steps", "adds to a run, which needs resume=; else use steps=")
    by_steps = bool(ends) and ends != ["budget"]
    if by_steps and config.replay is not None:
        raise UsageError(f"{ends[0]} and replay: each says when to stop, give one")
    if by_steps or config.replay is not None:
        config = dataclasses.replace(config, budget=None)
    if config.deterministic and config.budget is not None:
        raise UsageError(f"deterministic=true: budget={config.budget} makes as many steps as fit, give steps=")
    return config


def to_dict(config: Any) -> dict[str, Any]:
    """Returns the config as plain data, which JSON can store and `parse` accepts: with lists in place of tuples."""
    return dataclasses.asdict(config, dict_factory=_with_lists)


def _with_lists(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in items}


# Keys that may change when a run is resumed. The keys of intervals, `*_every`, may change too.
RUN_CONTROL = (
    "steps", "extra_steps", "budget", "keep", "output", "resume", "device", "health", "evaluation",
    "dry_run", "plugins", "logger", "data", "on_changed_data", "resume_strict",
)  # fmt: skip

RECORDED_KEYS = ("conditioning.classes", "conditioning.frequencies")  # determined by the data
# Keys that are not compared, because they say where files are kept or are determined by other keys and the data.
NOT_COMPARED = ("name", "dataset.cache", "dataset.labels_version", *RECORDED_KEYS, "recipe_used")
PATHS = ("dataset.path", "dataset.root", "dataset.labels", "init_from", "replay")  # compared as resolved paths
AUTO_KEYS = ("precision", "threads")  # a run replaces "auto" when it starts, and records the value


def is_run_control(dotted: str) -> bool:
    """Returns whether a key may change when a run is resumed."""
    return dotted.split(".")[0] in RUN_CONTROL or dotted.endswith("_every")


def adopt_data_settings(config: Config, saved: Config) -> Config:
    """Returns `config` with `dataset.labels_version`, and the keys of AUTO_OF_DATA that are unset, of a saved run."""
    leaves = [leaf for leaf, unset in AUTO_OF_DATA.items() if getattr(config.dataset, leaf, None) == unset]
    leaves += ["labels_version"] if hasattr(config.dataset, "labels_version") else []
    settled = {leaf: getattr(saved.dataset, leaf) for leaf in leaves if hasattr(saved.dataset, leaf)}
    return dataclasses.replace(config, dataset=dataclasses.replace(config.dataset, **settled))


def differing_keys(one: Config, other: Config) -> dict[str, str]:
    """Returns, for each key that differs and may not change on resume, the text `key=value (was value of other)`."""
    new, old = dict(flatten(to_dict(one))), dict(flatten(to_dict(other)))
    old |= {key: new[key] for key in AUTO_KEYS if new[key] in ("auto", None)}
    of_data = {f"dataset.{leaf}": unset for leaf, unset in AUTO_OF_DATA.items()}
    old |= {key: unset for key, unset in of_data.items() if key in old and new.get(key) == unset}
    return {
        dotted: one_line(f"{dotted}={format_value(new.get(dotted))} (was {format_value(old.get(dotted))})", 100)
        for dotted in sorted(new.keys() | old.keys())
        if not is_run_control(dotted)
        and dotted not in NOT_COMPARED
        and not is_same_value(dotted, new.get(dotted), old.get(dotted))
    }


def is_same_value(dotted: str, one: Any, other: Any) -> bool:
    """Returns whether two values of a key are equal. Paths are equal if they resolve to the same path."""
    if one == other or dotted not in PATHS or None in (one, other):
        return bool(one == other)
    listed = [[paths] if isinstance(paths, str) else paths for paths in (one, other)]
    first, second = ([resolve_path(path) for path in paths] for paths in listed)
    return first == second
