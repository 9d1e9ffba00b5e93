"""A whole command as typed, validated data, and when two configs describe the same run. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gan_cli import schema
from gan_cli.errors import UsageError, one_line
from gan_cli.geometry import EXAMPLES, levels_of
from gan_cli.options import (
    CONVOLUTIONAL,
    DATASETS,
    DEVICES,
    GRADIENT_PENALTIES,
    LOSSES,
    OPTIMIZERS,
    REGULARIZERS,
    UNWATCHED,
    Architecture,
    Health,
    Training,
)
from gan_cli.plugin import ENABLED
from gan_cli.schema import key, option_of, options_of

MOST_TIMED = 10  # generator updates of a turn under a budget
CROSS_ENTROPIES = ("non_saturating", "minimax")
DURATION = r"(?!0+(\.0+)?[smh])[0-9]{1,9}(\.[0-9]{1,9})?[smh]"
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
    seed: int = key("of everything random", at_least=0, at_most=2**63 - 1)
    name: str | None = key(
        "of the run's folder; <dataset>-<generator>-<loss> unless set",
        pattern=NAME,
        pattern_means="a name of up to 100 letters without = or slashes, not starting with . or -",
    )
    output: str = key("folder that receives the runs")
    resume: str | None = key("a run's folder or name to go on with, or auto")
    init_from: str | None = key(
        "a checkpoint or run to start from: its networks and weights, all else fresh", absent=None
    )
    plugins: tuple[str, ...] = key("installed packages whose options are to be known, as [mypackage]", absent=())
    dry_run: bool = key("show config and networks, try one step, leave nothing behind", absent=False)
    keep: int = key("how many step_* checkpoints to keep; 0: all", at_least=0)
    precision: str = key("of the networks' arithmetic", choices=("fp32", "bf16"))
    threads: int | None = key("CPU threads; the library's choice unless set", at_least=1, at_most=1024)
    dataset: Any = option_of(DATASETS, "what is learned")
    architecture: Architecture = key("the two networks")
    loss: Any = option_of(LOSSES, "what each network minimizes")
    regularizer: dict[str, Any] = options_of(REGULARIZERS, "what is added to hold D in check")
    optimizer: Any = option_of(OPTIMIZERS, "how weights follow gradients")
    device: Any = option_of(DEVICES, "where it runs")
    training: Training = key("the loop")
    health: Health = key("the watch over a run", absent=UNWATCHED)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """`(C, H, W)` of an image, `(2,)` of a point."""
        return self.dataset.sample_shape(self.image_size)

    @property
    def run_name(self) -> str:
        return self.name or f"{self.dataset.name}-{self.architecture.generator.name}-{self.loss.name}"


@dataclass(frozen=True)
class SampleConfig:
    """A whole `gan-sample` command."""

    ckpt: str | None = key("a checkpoint, a run's folder, or outputs/<name> (its newest)")
    n: int = key("number of samples, of seeds seed to seed+n-1", at_least=1, at_most=1_000_000)
    seed: int = key("seed of the first sample", at_least=0, at_most=2**62)
    seeds: str | None = key(
        "the seeds themselves, in place of n and seed",
        pattern=r"[0-9]{1,18}(-[0-9]{1,18})?(,[0-9]{1,18}(-[0-9]{1,18})?)*",
        pattern_means="seeds and ranges, as 0-7,12",
    )
    batch_size: int = key("samples made at once; changes speed, not pictures", at_least=1, at_most=100_000)
    truncation: float | None = key("latents are drawn within this many standard deviations", above=0, at_most=100)
    format: str = key("one picture, a folder of pictures, or arrays", choices=("grid", "images", "npz"))
    out: str | None = key("folder that receives them; <run>/generated unless set")
    ema: bool = key("use the averaged generator if the checkpoint has one")
    plugins: tuple[str, ...] = key("installed packages that the checkpoint's run had enabled, as [mypackage]")
    device: Any = option_of(DEVICES, "where it runs")


SCHEMAS = {"train": Config, "sample": SampleConfig}


def parse(data: Mapping[str, Any]) -> Config:
    """A validated `Config` from plain data; UsageError in one line."""
    config = read(data)
    validate(config)
    return config


def read(data: Mapping[str, Any]) -> Config:
    """A `Config` whose values are right in themselves; whether they fit each other is for `validate`."""
    _require_plugins(data)
    return schema.parse(Config, data)


def _require_plugins(data: Any) -> None:
    """UsageError for data that need a plugin which this command has not enabled: a file never does."""
    named = data.get("plugins", ()) if isinstance(data, Mapping) else ()
    names = [str(name) for name in (named if isinstance(named, list | tuple) else [named]) if name is not None]
    if any(name not in ENABLED for name in names):
        shown = one_line(",".join(names), 100)
        raise UsageError(f"needs plugins that are not enabled: add plugins=[{shown}] if you trust them")


def validate(config: Config) -> None:
    """Refuses what is right in itself but clashes between sections."""
    _validate_shapes(config)
    _validate_regularizers(config)
    _validate_training(config)


def _validate_shapes(config: Config) -> None:
    if getattr(config.dataset, "classes", None) == ():
        raise UsageError("dataset.classes=[]: name at least one class, or leave it out")
    shape = config.sample_shape
    if len(shape) == 1 and config.image_size is not None:
        raise UsageError(
            f"image_size={config.image_size}: dataset={config.dataset.name} has points, leave image_size out"
        )
    for role in ("generator", "discriminator"):
        network = getattr(config.architecture, role)
        if network.name not in CONVOLUTIONAL:
            continue
        if len(shape) == 1:
            raise UsageError(
                f"architecture.{role}={network.name} works on images, but dataset={config.dataset.name} has points:"
                " use architecture=mlp"
            )
        _validate_sides(config, role, network, *shape[1:])


def _validate_sides(config: Config, role: str, network: Any, height: int, width: int) -> None:
    try:
        base, _, levels = levels_of(height, width)
    except ValueError:
        sizes = _listed(EXAMPLES)
        raise UsageError(
            f"image_size={schema.shown(config.image_size)}: architecture.{role}={network.name} makes sides of 4 to 7"
            f" times a power of two, as {sizes}; of a pair, both are halved equally often"
        ) from None
    at = getattr(network, "attention", None)
    made = range(levels + 1) if role == "generator" else range(min(levels - 1, 1), levels)
    heights = [base << level for level in made]
    if at is not None and at not in heights:
        raise UsageError(
            f"architecture.{role}.attention={at}: expected the height of one of its maps, {_listed(heights)}"
        )


def _validate_cures(config: Config) -> None:
    training, points = config.training, len(config.sample_shape) == 1
    penalties = [name for name in config.regularizer if name != "weight_clip"]
    if training.unroll_steps and penalties:
        raise UsageError(
            f"training.unroll_steps={training.unroll_steps}: looks ahead through D's loss alone, use regularizer=none,"
            f" not {penalties[0]}"
        )
    if training.label_smoothing and config.loss.name not in CROSS_ENTROPIES:
        raise UsageError(
            f"training.label_smoothing={training.label_smoothing:g}: loss={config.loss.name} has no targets, use"
            f" {' or '.join(CROSS_ENTROPIES)}"
        )
    if points and (training.augment or "consistency" in config.regularizer):
        key = f"training.augment=[{','.join(training.augment)}]" if training.augment else "regularizer=consistency"
        raise UsageError(f"{key}: is for images, dataset={config.dataset.name} has points")
    if training.ada_target is not None and not training.augment:
        raise UsageError(
            f"training.ada_target={training.ada_target:g}: says how often to augment, which needs"
            " training.augment=[color,translation,cutout]"
        )


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _validate_training(config: Config) -> None:
    training = config.training
    if config.batch_size % (training.accumulate * training.pack):
        raise UsageError(
            f"training.accumulate={training.accumulate} training.pack={training.pack}: batch_size={config.batch_size}"
            " cannot be split into so many equal parts"
        )
    if training.critic_warmup and (training.alternate == "epoch" or training.critic_warmup < training.n_critic):
        raise UsageError(
            f"training.critic_warmup={training.critic_warmup}: expected at least n_critic={training.n_critic} updates,"
            " and training.alternate=step"
        )
    _validate_cures(config)
    if training.alternate == "epoch" and config.budget is not None:
        raise UsageError("training.alternate=epoch: its pace tells nothing before a whole turn, give steps, no budget")
    if training.generator_updates > MOST_TIMED and config.budget is not None:
        raise UsageError(
            f"training.generator_updates={training.generator_updates}: the pace of turns this long cannot be measured,"
            " give steps, no budget"
        )
    if training.freeze_discriminator_layers and config.init_from is None:
        raise UsageError(
            f"training.freeze_discriminator_layers={training.freeze_discriminator_layers}: keeps what has been learned"
            " before, which needs init_from="
        )


def _validate_regularizers(config: Config) -> None:
    chosen = config.regularizer
    normalization = getattr(config.architecture.discriminator, "normalization", "none")
    for name in GRADIENT_PENALTIES:
        if name not in chosen:
            continue
        if normalization == "batch":
            raise UsageError(
                f"architecture.discriminator.normalization=batch clashes with regularizer={name}, whose gradient is"
                " each sample's own: use none, layer, instance or spectral"
            )
        if len(config.sample_shape) == 1 and getattr(chosen[name], "every", 1) > 1:
            raise UsageError(
                f"regularizer.{name}.every={chosen[name].every}: lazy penalties fail on points"
                f" (2501.05441, appendix E), use regularizer.{name}.every=1"
            )
    if "weight_clip" in chosen and "gradient_penalty" in chosen:
        raise UsageError("regularizer=[gradient_penalty,weight_clip]: both bound D's slope, choose one")
    if "weight_clip" in chosen and normalization == "spectral":
        raise UsageError(
            "architecture.discriminator.normalization=spectral undoes regularizer=weight_clip: choose one of the two"
        )


def validate_ends(config: Config, named: Sequence[str]) -> None:
    """Refuses a command whose named keys say more than once, or not at all, when to stop."""
    ends = [key for key in ("steps", "extra_steps", "budget") if key in named and getattr(config, key) is not None]
    if len(ends) > 1:
        raise UsageError(f"{' and '.join(ends)}: each says when to stop, give one")
    if config.extra_steps is not None and config.resume is None:
        raise UsageError(f"extra_steps={config.extra_steps}: adds to a run, which needs resume=; else use steps=")


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
RUN_CONTROL = ("steps", "extra_steps", "budget", "keep", "output", "resume", "device", "health", "dry_run", "plugins")


def is_run_control(dotted: str) -> bool:
    return dotted.split(".")[0] in RUN_CONTROL or dotted.endswith("_every")


def differences(one: Config, other: Config) -> list[str]:
    """Keys in which two configs describe different runs, each as `key=value (was value)`; a name is no difference."""
    new, old = dict(flatten(to_dict(one))), dict(flatten(to_dict(other)))
    return [
        one_line(f"{dotted}={schema.shown(new.get(dotted))} (was {schema.shown(old.get(dotted))})", 100)
        for dotted in sorted(new.keys() | old.keys())
        if new.get(dotted) != old.get(dotted) and not is_run_control(dotted) and dotted != "name"
    ]
