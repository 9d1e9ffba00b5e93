"""Configs: every file composes, tables and files agree, and each wrong value is refused by name."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from pydantic import Field

from gan_cli.cli.keys import list_keys
from gan_cli.config import train_config
from gan_cli.config.commands import SCHEMAS
from gan_cli.config.compatibility import parse_config
from gan_cli.config.compose import compose_command, groups
from gan_cli.config.options.fields import Number, section
from gan_cli.config.options.loop import DEVICE_OPTIONS
from gan_cli.config.options.networks.architectures import DISCRIMINATOR_OPTIONS, GENERATOR_OPTIONS
from gan_cli.config.options.objectives import AUXILIARY_OPTIONS, GRADIENT_PENALTIES, LOSS_OPTIONS, REGULARIZER_OPTIONS
from gan_cli.config.options.optimizers import OPTIMIZER_OPTIONS
from gan_cli.config.options.published_datasets import DATASET_OPTIONS
from gan_cli.config.options.tasks import TASK_OPTIONS
from gan_cli.config.search_path import config_folder
from gan_cli.config.train_config import Config
from gan_cli.config.validation import parse
from gan_cli.errors import UsageError
from gan_cli.models import registry
from gan_cli.objectives import losses, regularizers
from gan_cli.state import optimizers
from support.configs import NEEDED_BY, compose
from support.paths import ROOT

TABLES = {
    "dataset": DATASET_OPTIONS,
    "architecture/generator": GENERATOR_OPTIONS,
    "architecture/discriminator": DISCRIMINATOR_OPTIONS,
    "loss": LOSS_OPTIONS,
    "regularizer": {**REGULARIZER_OPTIONS, "none": None},
    "optimizer": OPTIMIZER_OPTIONS,
    "optimizer/generator": OPTIMIZER_OPTIONS,
    "optimizer/discriminator": OPTIMIZER_OPTIONS,
    "device": DEVICE_OPTIONS,
    "task": TASK_OPTIONS,
    "auxiliary": {**AUXILIARY_OPTIONS, "none": None},
}
PRESETS = {
    "adam_wgan_gp": "adam",
    "adam_fast": "adam",
    "adam_r1": "adam",
    "adam_dragan": "adam",
    "bce": "non_saturating",
    "r1_lazy": "r1",
    "r1_r2": "r1",
    "zero_centered_lazy": "zero_centered",
}  # options that are another's settings


def choices(group: str) -> list[str]:
    return groups()[group]


def fitting(group: str, option: str) -> list[str]:
    """The overrides under which an option of a group makes sense at all."""
    points = group == "dataset" and option in ("ring", "grid", "swiss_roll")
    folder = option in (
        "folder",
        "folder_64",
        "few_shot",
        "pggan_64",
        "projected_folder",
        "r3gan_64",
        "stylegan2_folder",
        "emoji",
        "emoji_pairs",
        "webdataset",
        "huggingface",
    )
    return [
        f"{group}={option}",
        *(["architecture=mlp"] if points else []),
        *NEEDED_BY.get(option, ()),
        *(["dataset.path=somewhere"] if folder else []),
    ]


def test_there_are_as_many_options_as_files() -> None:
    folders = [path for path in (ROOT / "configs").iterdir() if path.is_dir() and path.name != "hydra"]
    files = [path for folder in folders for path in folder.rglob("*.yaml")]
    assert sum(map(len, groups().values())) == len(files)


def test_experiments_may_stand_in_folders_of_their_own() -> None:
    assert "failure/mode_collapse" in choices("experiment")
    assert not any(group.startswith("experiment/") for group in groups())


@pytest.mark.parametrize(("group", "option"), [(group, option) for group in groups() for option in choices(group)])
def test_every_option_composes_into_a_valid_config(group: str, option: str) -> None:
    compose(*fitting(group, option))


@pytest.mark.parametrize("group", TABLES)
def test_file_names_are_the_names_in_the_tables(group: str) -> None:
    assert {PRESETS.get(option, option) for option in choices(group)} == TABLES[group].keys()
    assert "architecture" in groups()


@pytest.mark.parametrize("group", ["dataset", "loss", "optimizer", "device", "task"])
def test_the_name_in_a_file_is_its_stem(group: str) -> None:
    for option in choices(group):
        section = getattr(compose(*fitting(group, option)), group)
        assert section.name == PRESETS.get(option, option)


def test_what_can_be_chosen_is_what_is_built() -> None:
    assert losses.LOSSES.keys() == LOSS_OPTIONS.keys()
    assert registry.GENERATORS.keys() == GENERATOR_OPTIONS.keys()
    assert registry.DISCRIMINATORS.keys() == DISCRIMINATOR_OPTIONS.keys()
    assert regularizers.PENALTIES.keys() | regularizers.WEIGHT_CONSTRAINTS.keys() == REGULARIZER_OPTIONS.keys()
    assert set(GRADIENT_PENALTIES) < regularizers.PENALTIES.keys()
    assert optimizers.SLOTS.keys() == OPTIMIZER_OPTIONS.keys()


PARTS = ("loss", "regularizer", "optimizer", "architecture/generator", "architecture/discriminator")


def take(experiment: str, others: list[tuple[str, str]]) -> None:
    """What an experiment set for a part must go with the part: no left-over key of another option."""
    for group, option in others:
        parse(Config, compose_command("train", [f"experiment={experiment}", f"{group}={option}"]).data)


OTHER_CHOICES = [(group, option) for group in PARTS for option in choices(group)]


@pytest.mark.parametrize("index", range(max(len(OTHER_CHOICES), len(choices("experiment")))))
def test_every_experiment_and_every_other_choice_go_together(index: int) -> None:
    """In turn, so that each experiment and each option is tried once; `make test-all` tries all pairs."""
    experiments = choices("experiment")
    take(experiments[index % len(experiments)], [OTHER_CHOICES[index % len(OTHER_CHOICES)]])


@pytest.mark.slow
@pytest.mark.parametrize("experiment", choices("experiment"))
def test_every_experiment_takes_every_other_choice(experiment: str) -> None:
    assert len(OTHER_CHOICES) >= 14
    take(experiment, OTHER_CHOICES)


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_every_experiment_tells_its_command_its_paper_and_what_to_expect(experiment: str) -> None:
    head = (config_folder() / "experiment" / f"{experiment}.yaml").read_text().split("defaults:")[0]
    assert f"gan-train experiment={experiment}" in head
    assert "Expect" in head
    assert any(char.isdigit() for char in head.split("experiment=")[1])  # an arXiv number


# --- what comes along --------------------------------------------------------------------------------------------


def test_wasserstein_alone_brings_a_bound_and_keeps_the_default_s_pace() -> None:
    config, default = compose("loss=wasserstein"), compose()
    assert config.training == default.training
    assert config.regularizer.keys() == {"zero_centered"}
    assert (config.regularizer["zero_centered"].weight, config.regularizer["zero_centered"].every) == (1, "auto")
    assert config.architecture.discriminator.normalization == "none"
    assert config.optimizer == default.optimizer


def test_wasserstein_with_gradient_penalty_is_the_second_paper() -> None:
    for order in itertools.permutations(["loss=wasserstein", "regularizer=gradient_penalty"]):
        config = compose(*order)
        assert config.training.n_critic == 5
        assert config.regularizer["gradient_penalty"].weight == 10
        assert config.architecture.discriminator.normalization == "none"
        assert (config.optimizer.lr, config.optimizer.beta1, config.optimizer.beta2) == (1e-4, 0, 0.9)


def test_wasserstein_with_weight_clip_is_the_first_paper() -> None:
    for order in itertools.permutations(["loss=wasserstein", "regularizer=weight_clip"]):
        config = compose(*order)
        assert config.optimizer.name == "rmsprop"
        assert config.optimizer.lr == 5e-5
        assert config.regularizer["weight_clip"].limit == 0.01
        assert config.training.n_critic == 5


def test_what_the_user_names_beats_what_comes_along() -> None:
    config = compose("loss=wasserstein", "training.n_critic=2", "optimizer=rmsprop")
    assert config.training.n_critic == 2
    assert (config.optimizer.name, config.optimizer.lr) == ("rmsprop", 5e-5)


def test_what_came_along_is_told_and_what_was_named_is_not() -> None:
    implied = compose_command("train", ["loss=wasserstein", "optimizer.lr=0.01"]).implied
    assert implied == {"regularizer.zero_centered.weight": 1.0, "regularizer.zero_centered.every": "auto"}
    implied = compose_command("train", ["regularizer=weight_clip", "optimizer.lr=0.01"]).implied
    assert implied["training.n_critic"] == 5
    assert not any(name.startswith("loss") or name == "optimizer.lr" for name in implied)
    assert compose_command("train", []).implied == {}


def test_regularizer_takes_a_list_one_name_or_none() -> None:
    assert compose("regularizer=r1").regularizer.keys() == {"r1"}
    assert compose("regularizer=[r1]").regularizer.keys() == {"r1"}
    assert compose("regularizer=[r1,weight_clip]").regularizer.keys() == {"r1", "weight_clip"}
    assert compose("regularizer=[]").regularizer == compose("regularizer=none").regularizer == {}


def test_learning_rates_follow_unless_set() -> None:
    config = compose("optimizer.lr=0.5", "optimizer.generator.lr=0.25")
    assert (config.optimizer.generator.lr, config.optimizer.discriminator.lr) == (0.25, 0.5)


@pytest.mark.parametrize(
    "order", list(itertools.permutations(["architecture=dcgan", "architecture/discriminator=mlp"]))
)
def test_architectures_mix_in_either_order(order: tuple[str, ...]) -> None:
    architecture = compose(*order).architecture
    assert (architecture.generator.name, architecture.discriminator.name) == ("dcgan", "mlp")


def test_an_experiment_beats_a_loss_and_the_command_line_beats_both() -> None:
    assert compose("experiment=dcgan_mnist").regularizer == {}
    assert compose("experiment=dcgan_mnist", "regularizer=r1").regularizer.keys() == {"r1"}
    assert compose("experiment=dcgan_mnist").optimizer.lr == 0.0002
    assert compose("experiment=dcgan_mnist", "optimizer=rmsprop").optimizer.lr == 5e-5
    replaced = compose("experiment=gan2014_mnist", "architecture=dcgan").architecture
    assert (replaced.generator.name, replaced.discriminator.normalization) == ("dcgan", "batch")


def test_presets_are_what_they_stand_for() -> None:
    assert compose("loss=bce") == compose("loss=non_saturating")
    assert compose("regularizer=r1_r2") == compose("regularizer=[r1,r2]")
    assert compose("regularizer=dragan").optimizer.lr == 1e-4
    lazy = compose("regularizer=r1_lazy")
    assert (lazy.regularizer["r1"].weight, lazy.regularizer["r1"].every) == (0.5, "auto")
    assert lazy == compose()  # the default


@pytest.mark.parametrize("penalty", GRADIENT_PENALTIES)
def test_every_gradient_penalty_brings_d_without_batch_norm_and_refuses_it(penalty: str) -> None:
    assert compose(f"regularizer={penalty}").architecture.discriminator.normalization == "none"
    with pytest.raises(UsageError, match=f"normalization=batch clashes with regularizer={penalty}"):
        compose(f"regularizer={penalty}", "architecture.discriminator.normalization=batch")


def test_of_several_penalties_the_last_brings_its_optimizer() -> None:
    assert compose("regularizer=[r1,weight_clip]").optimizer.name == "rmsprop"
    assert compose("regularizer=[weight_clip,r1]").optimizer.lr == 0.002
    assert compose("regularizer=none").optimizer.lr == 0.0002


def test_the_default_name_and_integral_floats() -> None:
    assert compose().run_name == "mnist-subpixel-non_saturating"
    assert compose("task=inpainting").run_name == "mnist-inpainting-gated_unet-non_saturating"
    assert compose("name=mine", "task=inpainting").run_name == "mine"
    steps = compose("steps=1e4").steps
    assert (steps, type(steps)) == (10_000, int)


# --- what is refused ---------------------------------------------------------------------------------------------

WRONG = [
    ("dataset=minst", ["dataset=minst", "did you mean 'mnist'"]),
    ("loss=wassertein", ["loss=wassertein", "did you mean 'wasserstein'"]),
    ("regularizer=r3", ["regularizer=r3", "gradient_penalty"]),
    ("regularizer=[r1,r3]", ["regularizer=r3"]),
    ("architecture=[dcgan,mlp]", ["architecture", "one option"]),
    ("lr=1", ["unknown key lr", "optimizer.lr"]),
    ("optimzer.lr=1", ["unknown key optimzer.lr", "optimizer.lr"]),
    ("loss.margin=1", ["unknown key loss.margin"]),
    ("+new.key=1", ["unknown key new.key"]),
    ("++steps=1", ["++steps=1"]),
    ("~loss", ["~loss"]),
    ("steps", ["steps: expected key=value"]),
    ("--steps=5", ["--steps=5", "steps=..."]),
    ("steps=abc", ["steps=abc", "whole number"]),
    ("steps=1.5", ["steps=1.5", "whole number"]),
    ("steps=0", ["steps=0", "at least 1"]),
    ("steps=", ["steps=", "whole number"]),
    ("steps=true", ["steps=true", "whole number"]),
    ("steps=inf", ["steps=inf", "whole number"]),
    ("batch_size=-4", ["batch_size=-4", "at least 1"]),
    ("optimizer.lr=1e400", ["optimizer.lr=1e400", "finite number"]),
    ("batch_size=1e20", ["batch_size=1e20", "at most 1,000,000"]),
    ("optimizer.lr=nan", ["optimizer.lr=nan", "finite"]),
    ("optimizer.lr=inf", ["optimizer.lr=inf", "finite"]),
    ("optimizer.lr=-1", ["optimizer.lr=-1", "at least 0"]),
    ("optimizer.lr=fast", ["optimizer.lr=fast", "finite number"]),
    ("optimizer.beta1=1", ["optimizer.beta1=1", "below 1"]),
    ("optimizer.eps=0", ["optimizer.eps=0", "above 0"]),
    ("budget=20", ["budget=20", "unit"]),
    ("budget=fast", ["budget=fast", "unit"]),
    ("keep=-1", ["keep=-1"]),
    ("precision=fp8", ["precision=fp8", "bf16, fp16, fp32"]),
    ("compile=true training.checkpoint_activations=true", ["compile=true", "checkpoint_activations=false"]),
    ("threads=0", ["threads=0"]),
    ("seed=-1", ["seed=-1"]),
    ("name=a=b", ["name=a=b", "without ="]),
    ("name=../up", ["name=../up"]),
    ("training=5", ["training=5", "section"]),
    ("training.lr_schedule=step", ["training.lr_schedule=step", "cosine"]),
    ("training.ema_decay=1", ["training.ema_decay=1", "below 1"]),
    ("dataset.fallback=yes", ["dataset.fallback=yes", "bundled, error"]),
    ("dataset.download=maybe", ["dataset.download=maybe", "true or false"]),
    ("image_size=2", ["image_size=2", "from 4 on, the nearest are 4 and 5", "architecture=mlp"]),
    ("image_size=null", ["image_size=null"]),
    ("image_size=3", ["image_size=3", "architecture.generator=subpixel"]),
    ("image_size=[3,97]", ["image_size=[3,97]", "nearest are [4,97] and [5,97]"]),
    ("image_size=[64]", ["image_size=[64]", "a list of 2 of such"]),
    ("image_size=[64,-32]", ["image_size=[64,-32]", "at least 1"]),
    ("architecture=resnet architecture.generator.attention=5", ["attention=5", "7, 14, 28"]),
    ("architecture=resnet architecture.discriminator.attention=28", ["attention=28", "14"]),
    ("architecture=resnet dataset=ring", ["architecture.generator=resnet", "points"]),
    ("dataset=folder", ["dataset.path", "missing"]),
    ("dataset=folder dataset.path=x dataset.image_channels=2", ["dataset.image_channels=2"]),
    ("dataset=folder dataset.path=x dataset.background=red", ["dataset.background=red", "white, black"]),
    ("dataset=folder dataset.path=x dataset.on_bad=ignore", ["dataset.on_bad=ignore", "error, skip"]),
    ("dataset.split=valid", ["dataset.split=valid", "test, train"]),
    ("dataset.limit=0", ["dataset.limit=0", "at least 1"]),
    ("dataset.classes={a:1}", ["dataset.classes"]),
    ("dataset=ring architecture=mlp dataset.flip=true", ["dataset.flip", "dataset=ring has "]),
    ("optimizer/generator=adma", ["optimizer/generator=adma", "did you mean"]),
    (
        "optimizer/generator=sgd optimizer.generator.beta1=0.5",
        ["optimizer.generator.beta1", "has lr, momentum, not this key"],
    ),
    ("training.accumulate=3", ["training.accumulate=3", "batch_size=32"]),
    ("training.alternate=epochs", ["training.alternate=epochs", "epoch, step"]),
    ("training.alternate=epoch budget=20s", ["training.alternate=epoch", "steps"]),
    ("training.clip_grad_norm=0", ["training.clip_grad_norm=0", "above 0"]),
    ("training.freeze_discriminator_layers=2", ["freeze_discriminator_layers=2", "init_from"]),
    ("training.pack=3", ["training.pack=3", "batch_size=32"]),
    ("training.unroll_steps=5", ["training.unroll_steps=5", "regularizer=none", "not r1"]),
    ("training.label_smoothing=0.1 loss=hinge", ["label_smoothing=0.1", "non_saturating or minimax"]),
    ("experiment=ring training.augment=[color]", ["training.augment=[color]", "points"]),
    ("experiment=ring regularizer=consistency", ["regularizer=consistency", "points"]),
    ("training.augment=[colour]", ["training.augment=[colour]", "color, contrast, cutout"]),
    ("training.ada_target=0.6", ["training.ada_target=0.6", "training.augment"]),
    (
        "training.augment=[ada] training.ada_target=0.6 loss=relativistic",
        ["training.ada_target=0.6", "loss=relativistic", "training.augment_probability"],
    ),
    (
        "training.augment=[ada] training.ada_target=0.6 loss=wasserstein",
        ["training.ada_target=0.6", "loss=wasserstein", "training.augment_probability"],
    ),
    ("training.augment=[hue,saturation]", ["training.augment=[hue,saturation]", "1 channel", "brightness"]),
    ("training.augment_probability=0.5", ["training.augment_probability=0.5", "needs training.augment"]),
    ("schedule.augment_probability.to=0.5", ["schedule.augment_probability.to=0.5", "needs training.augment"]),
    (
        "training.augment=[color] training.ada_target=0.6 schedule.augment_probability.to=0.5",
        ["schedule.augment_probability.to=0.5", "training.ada_target", "null"],
    ),
    ("schedule.penalty.to=0.1 regularizer=none", ["schedule.penalty.to=0.1", "regularizer=r1"]),
    ("schedule.lr.until=0.5", ["schedule.lr.until=0.5", "schedule.lr.to"]),
    ("schedule.beta2.to=0.99 optimizer=sgd", ["schedule.beta2.to=0.99", "optimizer=adam"]),
    ("schedule.ema_decay.to=0.99 training.ema_decay=0", ["schedule.ema_decay.to=0.99", "training.ema_decay=0"]),
    ("schedule.ema_decay.to=1", ["schedule.ema_decay.to=1", "below 1"]),
    ("schedule.lr.shape=linear", ["schedule.lr.shape=linear", "schedule.lr.to"]),
    ("schedule.penalty.shape=linear", ["schedule.penalty.shape=linear", "schedule.penalty.to"]),
    ("schedule.lr.until=0", ["schedule.lr.until=0", "above 0"]),
    ("schedule.lr.shape=step", ["schedule.lr.shape=step", "cosine, linear"]),
    ("schedule.gamma.to=1", ["schedule.gamma", "augment_probability, beta2, ema_decay, lr, penalty"]),
    ("schedule.lr.from=1", ["schedule.lr.from", "shape, to, until"]),
    (
        "architecture=pggan architecture.generator.grow=false architecture.discriminator.grow=true",
        ["architecture.discriminator.grow=true", "grow=false"],
    ),
    (
        "architecture/discriminator=pggan architecture.discriminator.grow=true",
        ["architecture.discriminator.grow=true", "architecture.generator=subpixel", "grow=false"],
    ),
    ("architecture=pggan compile=true", ["compile=true", "architecture.generator.grow=false"]),
    ("architecture=pggan regularizer=weight_clip", ["regularizer=weight_clip", "architecture.discriminator=pggan"]),
    ("architecture=pggan regularizer=[r1,orthogonal]", ["regularizer=orthogonal", "architecture.discriminator=pggan"]),
    ("architecture=stylegan2 regularizer=weight_clip", ["weight_clip", "architecture.discriminator=stylegan2"]),
    (
        "architecture=pggan training.freeze_discriminator_layers=1",
        ["freeze_discriminator_layers=1", "architecture.discriminator=pggan"],
    ),
    ("architecture=pggan dataset=ring", ["architecture.generator=pggan", "points"]),
    ("architecture=r3gan dataset=ring", ["architecture.generator=r3gan", "points"]),
    ("architecture=stylegan2 dataset=ring", ["architecture.generator=stylegan2", "points"]),
    ("architecture=stylegan2 architecture.generator.style_mixing=2", ["architecture.generator.style_mixing=2"]),
    ("architecture=stylegan2 architecture.discriminator.residual=1", ["architecture.discriminator.residual=1", "auto"]),
    ("architecture=r3gan architecture.generator.patch=3", ["architecture.generator.patch=3", "1, 2, 4"]),
    ("training.critic_warmup=3 training.n_critic=5", ["critic_warmup=3", "n_critic=5"]),
    ("experiment=ring regularizer=js regularizer.js.every=2", ["regularizer.js.every=2", "points"]),
    ("architecture.discriminator.minibatch=std", ["minibatch=std", "stddev"]),
    ("plugins=[nowhere]", ["plugins=[nowhere]", "not enabled"]),
    ("dataset=ring", ["dataset=ring", "architecture=mlp"]),
    ("dataset=ring architecture=mlp image_size=28", ["image_size=28", "points"]),
    ("architecture.discriminator.normalization=batch", ["normalization=batch", "regularizer=r1"]),
    (
        "loss=wasserstein architecture.discriminator.normalization=batch",
        ["normalization=batch", "regularizer=zero_centered"],
    ),
    ("regularizer=[gradient_penalty,weight_clip]", ["regularizer=[gradient_penalty,weight_clip]", "choose one"]),
    (
        "regularizer=weight_clip architecture.discriminator.normalization=spectral",
        ["normalization=spectral", "weight_clip"],
    ),
    ("architecture=fastgan regularizer=weight_clip", ["architecture.discriminator.spectral=true", "weight_clip"]),
    ("architecture=mlp architecture.discriminator.normalization=instance", ["normalization=instance", "layer"]),
    ("experiment=ring regularizer.r1.every=4", ["regularizer.r1.every=4", "points"]),
    ("loss=hinge,minimax", ["loss=hinge,minimax", "-m"]),
    ("loss.name=wasserstein", ["loss.name=wasserstein", "loss=..."]),
    ("architecture.generator.name=mlp", ["architecture/generator=..."]),
    ("steps=" + "1" * 400, ["steps=1111", "at most"]),
    ("seed=" + "1" * 5000, ["seed=1111"]),
    ("image_size=256 dataset=shapes dataset.size=1000000", ["dataset.size=1000000", "at most"]),
    ("=5", ["=5"]),
    ("dataset@foo=mnist", ["dataset@foo=mnist"]),
    ("budget=0s", ["budget=0s", "unit"]),
    ("regularizer=[none,r1]", ["regularizer=[none,r1]"]),
    ("regularizer=[r1,r1]", ["regularizer=[r1,r1]"]),
    ("seed=1 seed=2", ["seed=2", "twice"]),
    ("steps=1 steps=2 loss=hinge", ["steps=2", "twice"]),
    ("optimizer.momentum=0.9", ["optimizer.momentum", "has beta1, beta2, eps, lr, not this key"]),
    ("dataset=mnist dataset.path=flat", ["dataset.path", "dataset=mnist has "]),
    ("seed=${oc.env:HOME}", ["only keys"]),
    ("regularizer=null", ["regularizer=null", "did you mean 'none'"]),
    ("image_size=48x64", ["image_size=48x64", "whole number"]),
    ("dataset.classes=[]", ["dataset.classes=[]", "at least one"]),
    ("dataset=ring architecture=mlp dataset.classes=[9]", ["'9' is no mode", "0 to 7"]),
    ("architecture.discriminator.dropout=1", ["dropout=1", "below 1"]),
    ("architecture=mlp architecture.generator.normalization=instance", ["instance"]),
    ("architecture.generator=mlp", ["architecture.generator"]),
    ("optimizer/discriminator=adam_r1", ["optimizer/discriminator=adam_r1", "expected one of"]),
    ("n_critic=5", ["unknown key n_critic", "training.n_critic"]),
    ("regularizer=r1 regularizer.r2.weight=3", ["regularizer.r2.weight"]),
    ("training.generator_updates=50 budget=9s", ["generator_updates=50", "steps"]),
    ("experiment=ring architecture=dcgan", ["dcgan works on images"]),
    ("experiment=sngan_cifar10 regularizer=weight_clip", ["weight_clip", "spectral"]),
    ("hydra.run.dir=x", ["hydra.run.dir=x", "only launcher and sweeper", "output="]),
    ("hydra.launcher.n_jobs=2", ["hydra.launcher.n_jobs=2", "only launcher and sweeper can be set, for sweeps (-m)"]),
    ("evaluation.metrics=[class_accuracy]", ["is of gan-eval", "measures accuracy/class", "by itself"]),
    ("evaluation.metrics=[frechet,memorization]", ["is of gan-eval: gan-eval RUN metrics=[memorization]"]),
    ("steps=[1", ["steps=[1"]),
    ("seed=${nope}", ["nope"]),
    (
        "architecture=mlp architecture.generator.normalization=batch batch_size=8 training.accumulate=8",
        ["architecture.generator.normalization=batch", "one sample at a time"],
    ),
    (
        "architecture=mlp regularizer=none architecture.discriminator.normalization=batch batch_size=8 training.pack=8",
        ["architecture.discriminator.normalization=batch", "one sample at a time"],
    ),
]


@pytest.mark.parametrize(("line", "words"), WRONG, ids=[line for line, _ in WRONG])
def test_refusals_are_one_line_that_names_key_and_value(line: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        compose(*line.split())
    text = str(caught.value)
    assert "\n" not in text
    assert "+" not in text.replace(line, "").replace("e+", "")  # never Hydra's advice to add the key
    for word in words:
        assert word in text
    assert caught.value.exit_code == 2


def test_a_missing_key_is_named() -> None:
    data = train_config.to_dict(compose())
    del data["training"]["n_critic"]
    with pytest.raises(UsageError, match=r"training\.n_critic is missing"):
        parse_config(data)


def test_a_config_survives_a_round_trip_as_plain_data() -> None:
    config = compose("loss=wasserstein", "dataset=shapes")
    assert parse_config(train_config.to_dict(config)) == config


def test_no_experiment_is_the_default() -> None:
    assert compose("experiment=null") == compose()


def test_differences_name_what_makes_another_run() -> None:
    one = compose("steps=5", "training.log_every=3", "device=cpu", "keep=9", "output=elsewhere")
    assert train_config.differing_keys(one, compose()) == {}
    assert train_config.differing_keys(compose("seed=1", "optimizer.beta1=0.25"), compose()) == {
        "optimizer.beta1": "optimizer.beta1=0.25 (was 0.0)",
        "seed": "seed=1 (was 0)",
    }


def test_a_path_is_the_same_in_each_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, same, other = (compose("dataset=folder", f"dataset.path={path}") for path in ("x", tmp_path / "x", "y"))
    assert train_config.differing_keys(first, same) == {}
    assert train_config.differing_keys(first, other)["dataset.path"] == "dataset.path=x (was y)"
    several = [
        compose("dataset=folder", f"dataset.path={paths}") for paths in ("[x,y]", f"[./x,{tmp_path}/y]", "[y,x]")
    ]
    assert train_config.differing_keys(several[0], several[1]) == {}
    assert train_config.differing_keys(several[0], several[2])["dataset.path"] == "dataset.path=[x,y] (was [y,x])"
    assert train_config.differing_keys(first, several[0])["dataset.path"] == "dataset.path=x (was [x,y])"


def test_every_key_has_a_line_of_help() -> None:
    for command in SCHEMAS:
        for key, forms in list_keys(command).items():
            assert all(form.description.strip() for form in forms), key


def test_limits_say_what_they_admit() -> None:
    @section
    class Section:
        share: Number = Field(gt=0, le=1, description="a share")

    assert parse(Section, {"share": 1}).share == 1.0
    for bad in (0, 1.5, float("nan"), "1", None, True, 10**400):
        with pytest.raises(UsageError, match="a finite number above 0 and at most 1"):
            parse(Section, {"share": bad})


def test_every_yaml_is_plain_data() -> None:
    for path in Path(config_folder()).rglob("*.yaml"):
        text = path.read_text()
        assert "_target_" not in text
        assert "!!" not in text
        OmegaConf.load(path)
