"""`recipe=auto`: what the data call for, under all that was typed, and of no account for which run is which."""

import dataclasses
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from PIL import Image

from gan_cli import api
from gan_cli.cli.main import run_command
from gan_cli.config import recipes, train_config
from gan_cli.config.compatibility import parse_config
from gan_cli.config.compose import compose_command, groups
from gan_cli.config.options.objectives import WITHOUT_BOUNDARY
from gan_cli.config.recipes import AUTO, NONE, choose_recipe
from gan_cli.config.search_path import config_folder
from gan_cli.data.load_dataset import build_dataset
from gan_cli.errors import UsageError
from gan_cli.image_labels import count_samples
from gan_cli.image_labels.attributes import LabelOptions
from gan_cli.image_labels.image_paths import count_images
from gan_cli.sweeps.combinations import compose_sweep
from gan_cli.sweeps.plan import plan
from support.configs import compose

TINY = ["image_size=16", "batch_size=4", "steps=1", "threads=1", "architecture.generator.base_channels=4"]
TINY += ["architecture.discriminator.base_channels=4", "dataset.cache=none"]
ROLES = ("generator", "discriminator")


def pictures(folder: Path, count: int) -> Path:
    """A folder of small red images."""
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (16, 16), (200, number % 256, 0)).save(folder / f"{number}.png")
    return folder


def chosen(*overrides: str) -> str:
    return compose_command("train", overrides).data[recipes.USED_KEY]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return pictures(tmp_path / "pictures", 8)


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Sets how many images any folder holds."""
    return lambda count: monkeypatch.setattr(count_samples, "count_in_folder", lambda *section: count)


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], NONE),
        (["dataset=fashion_mnist"], NONE),
        (["dataset=ring", "architecture=mlp"], NONE),
        (["dataset=shapes", "dataset.image_channels=1"], NONE),
        (["dataset=cifar10"], "colour_32"),
        (["dataset=celeba"], "colour_64"),
        (["dataset=celeba", "image_size=128"], "colour_128"),
        (["dataset=celeba", "dataset.limit=500"], "colour_64_few"),
        (["dataset=cifar10", "dataset.classes=[cat]"], "colour_32"),
        (["dataset=cifar100", "dataset.classes=[apple]"], "colour_32_few"),
        (["dataset=cifar100", "dataset.classes=[apple,bear]"], "colour_32"),
        (["dataset=stl10", "dataset.classes=[cat]"], "colour_64_few"),
        (["dataset=stl10", "dataset.classes=[cat]", "dataset.split=test"], "colour_64_few"),
        (["dataset=stl10", "dataset.split=test"], "colour_64"),
        (["dataset=usps"], NONE),
        (["dataset=oxford_pets"], "colour_64"),
        (["dataset=oxford_pets", "dataset.classes=[beagle]"], "colour_64_few"),
        (["dataset=oxford_pets", "dataset.target=species", "dataset.classes=[dog]"], "colour_64"),
        (["dataset=folder", "dataset.path=x"], "colour_64"),
        (["dataset=celeba", "loss=hinge"], "colour_64"),
        (["dataset=celeba", "loss=wasserstein"], "colour_64_wasserstein"),
        (["dataset=celeba", "loss=wasserstein", "dataset.limit=500"], "colour_64_wasserstein_few"),
        (["loss=wasserstein"], NONE),
        (["loss=least_squares"], "grey_least_squares"),
        (["loss=least_squares", "dataset=ring", "architecture=mlp"], NONE),
        (["dataset=folder", "dataset.path=x", "image_size=32"], "colour_32"),
        (["dataset=folder", "dataset.path=x", "image_size=[64,128]"], "colour_128"),
    ],
)
def test_kind_size_channels_and_number_decide(
    overrides: list[str], name: str, many: Callable[[int | None], None]
) -> None:
    many(5_000)
    assert chosen(*overrides) == name


def test_few_pictures_are_counted_as_they_lie(folder: Path, tmp_path: Path) -> None:
    assert chosen("dataset=folder", f"dataset.path={folder}") == "colour_64_few"
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"deeper/{path.name.upper()}")
        archive.writestr("notes.txt", "none")
    assert counted(tmp_path / "pictures.zip") == 8
    assert counted(folder) == 8
    assert counted(tmp_path / "nothing") is None
    for hidden in (".thumbs", "__MACOSX"):
        pictures(folder / hidden, 2)
    (folder / "links").mkdir()
    (folder / "links" / "more").symlink_to(pictures(tmp_path / "more", 3), target_is_directory=True)
    (folder / "links" / "loop").symlink_to(folder, target_is_directory=True)
    os.mkfifo(tmp_path / "pipe.zip")
    assert counted(folder) == 11
    assert counted(tmp_path / "pipe.zip") is None


def test_only_the_pictures_of_the_split_and_the_classes_are_counted(tmp_path: Path) -> None:
    for place, count in (("train/cat", 3), ("train/dog", 2), ("val/cat", 4), ("val/dog", 1)):
        pictures(tmp_path / place, count)
    (tmp_path / "train" / "cat" / "phone.heic").touch()
    assert counted(tmp_path) == 5
    assert counted(tmp_path, "test") == 5
    assert counted(tmp_path, classes=("cat",)) == 3
    assert counted(tmp_path, "test", classes=("dog",)) == 1
    with pytest.raises(UsageError, match="'cow' is no class of these data"):
        counted(tmp_path, classes=("cow",))
    (tmp_path / "train" / "cat" / "phone.heic").unlink()
    table = ["file,kind", *(f"{place}/{number}.png,{number}" for place in ("cat", "dog") for number in range(3))]
    (tmp_path / "train" / "labels.csv").write_text("\n".join(table))
    assert counted(tmp_path, classes=("0",)) == 2
    assert counted(tmp_path, labels="none", classes=("dog",)) == 2
    typed = ["dataset=folder", f"dataset.path={tmp_path}", "dataset.split=test", "dataset.classes=[cat]"]
    read = build_dataset(compose(*typed, "dataset.labels=none", "dataset.cache=none").dataset, 16)
    chosen = compose_command("train", [*typed, "dataset.labels=none"]).recipe
    assert len(read) == 4
    assert chosen.reason.startswith("4 images")


def counted(
    path: Path, split: str = "train", labels: str | None = None, classes: tuple[str, ...] | None = None
) -> int | None:
    return count_images(str(path), split, LabelOptions(labels), classes, follow_links=True)


def test_an_experiment_gets_none_unless_it_asks_for_one(folder: Path) -> None:
    data = [f"dataset.path={folder}"]
    assert chosen("experiment=folder_64", *data) == NONE
    assert chosen("experiment=folder_64", "recipe=auto", *data) == "colour_64_few"
    assert chosen("experiment=fast", "dataset=folder", *data) == "colour_64_few"


def test_what_is_typed_goes_over_the_recipe() -> None:
    data = ["dataset=celeba"]
    settings = compose(*data)
    assert settings.regularizer["r1"].weight != compose(*data, "recipe=none").regularizer["r1"].weight
    assert compose(*data, "regularizer.r1.weight=7").regularizer["r1"].weight == 7
    assert compose(*data, "regularizer=none").regularizer == {}
    own = compose(*data, "regularizer=r1").regularizer
    assert own == compose("regularizer=r1").regularizer == compose(*data, "regularizer=[r1]").regularizer
    lazy = [compose(*data, f"regularizer={typed}").regularizer for typed in ("r1_lazy", "[r1_lazy]")]
    assert lazy == [compose().regularizer] * 2
    assert compose(*data, "optimizer=sgd").optimizer == compose("optimizer=sgd").optimizer


def test_every_recipe_composes_and_can_be_named() -> None:
    for name in groups()["recipe"]:
        config = compose("dataset=celeba", f"recipe={name}")
        assert config.recipe == name
        assert config.recipe_used == (name if name != AUTO else "colour_64")


def test_data_that_cannot_be_read_get_none_and_their_own_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert choose_recipe({"dataset": {"name": "folder"}, "image_size": 64, "loss": {"name": "hinge"}}).name == NONE
    assert run_command("train", ["dataset=folder"]) == 2
    assert "dataset.path is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("written", "recipe"),
    [
        ("recipe: colour_64", "colour_64"),
        ("defaults:\n  - override /recipe: colour_64", "colour_64"),
        ("recipe: none", NONE),
        ("steps: 3", NONE),
    ],
)
def test_an_experiment_of_ones_own_asks_for_a_recipe_by_a_key_or_an_override(
    here: Path, written: str, recipe: str
) -> None:
    """Of data that would call for another."""
    (here / "configs" / "experiment").mkdir(parents=True)
    (here / "configs" / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{written}\n")
    found = compose_command("train", ["experiment=mine", "dataset=cifar10"])
    assert (found.data["recipe"], found.data[recipes.USED_KEY]) == (recipe, recipe)
    weight = {"colour_64": compose("dataset=celeba").regularizer["r1"].weight, NONE: compose().regularizer["r1"].weight}
    assert found.data["regularizer"]["r1"]["weight"] == weight[recipe]
    assert chosen("experiment=mine", "dataset=cifar10", "recipe=auto") == "colour_32"


def test_another_option_of_ones_own_asks_for_a_recipe_too(here: Path) -> None:
    (here / "configs" / "dataset").mkdir(parents=True)
    own = here / "configs" / "dataset" / "mine.yaml"
    own.write_text("# @package _global_\ndefaults:\n  - cifar10\n  - override /recipe: colour_64\n")
    assert chosen("dataset=mine") == "colour_64"
    own.write_text("# @package _global_\ndefaults:\n  - cifar10\n  - _self_\nrecipe: colour_63\n")
    with pytest.raises(UsageError, match=r"dataset=mine: .*recipe=colour_63: expected one of .*did you mean"):
        compose_command("train", ["dataset=mine"])


@pytest.mark.parametrize("by_key", [True, False])
@pytest.mark.parametrize(
    ("chosen", "weighted", "typed", "expected"),
    [
        ("override /loss: hinge", "r1", [], {"r1": 7.0}),
        ("override /loss: wasserstein", "zero_centered", [], {"zero_centered": 7.0}),
        ("override /regularizer: [gradient_penalty]", "gradient_penalty", [], {"gradient_penalty": 7.0}),
        ("override /loss: hinge", "r1", ["regularizer=lecam"], {"lecam": 0.3}),
        ("override /loss: hinge", "r1", ["loss=wasserstein"], {"zero_centered": 50.0}),
    ],
)
def test_an_experiments_penalty_is_over_its_recipes_and_what_was_replaced_goes_of_both(
    here: Path, by_key: bool, chosen: str, weighted: str, typed: list[str], expected: dict[str, float]
) -> None:
    (here / "configs" / "experiment").mkdir(parents=True)
    lines = [
        "# @package _global_",
        "defaults:",
        f"  - {chosen}",
        *([] if by_key else ["  - override /recipe: colour_64"]),
    ]
    lines += ["regularizer:", f"  {weighted}:", "    weight: 7.0", *(["recipe: colour_64"] if by_key else [])]
    (here / "configs" / "experiment" / "mine.yaml").write_text("\n".join(lines))
    found = compose("experiment=mine", "dataset=cifar10", *typed)
    assert {name: penalty.weight for name, penalty in found.regularizer.items()} == expected
    assert found.architecture.generator.output == "blurred"


def test_a_key_that_only_the_recipe_brings_can_be_set() -> None:
    typed = ["dataset=cifar10", "recipe=colour_64_wasserstein"]
    assert compose(*typed, "regularizer.zero_centered.weight=3").regularizer["zero_centered"].weight == 3
    with pytest.raises(UsageError, match=r"unknown key regularizer\.zero_centered\.wieght .*zero_centered\.weight"):
        compose(*typed, "regularizer.zero_centered.wieght=3")
    with pytest.raises(UsageError, match=r"add regularizer=\[.*zero_centered\], or regularizer=zero_centered alone"):
        compose("dataset=cifar10", "regularizer.zero_centered.weight=3")


@pytest.mark.parametrize("name", ["colour_64", "colour_64_few", "colour_64_wasserstein"])
def test_a_recipe_by_its_name_has_the_penalty_of_the_loss(name: str) -> None:
    typed = ["dataset=celeba", "loss=wasserstein", f"recipe={name}"]
    found = compose(*typed)
    like = "colour_64_wasserstein" + ("_few" if name.endswith("few") else "")
    assert (found.recipe, found.recipe_used) == (name, like)
    assert found.regularizer == compose(*typed[:2], f"recipe={like}").regularizer
    assert [*found.regularizer] == ["zero_centered"]
    assert [*compose(*typed, "regularizer=gradient_penalty").regularizer] == ["gradient_penalty"]
    assert [*compose(f"recipe={name}", "experiment=wgan_gp_cifar10").regularizer] == ["gradient_penalty"]


def test_a_loss_of_ones_own_keeps_the_penalty_that_it_brings(here: Path) -> None:
    (here / "configs" / "loss").mkdir(parents=True)
    text = "# @package _global_\ndefaults:\n  - override /regularizer: [dragan]\nloss:\n  name: hinge\n"
    (here / "configs" / "loss" / "mine.yaml").write_text(text)
    assert [*compose("dataset=celeba", "loss=mine").regularizer] == ["dragan"]


@pytest.mark.parametrize("typed", [[], ["recipe=colour_64"]])
def test_a_penalty_that_an_experiments_own_loss_brings_is_over_the_recipes(here: Path, typed: list[str]) -> None:
    for group, lines in (
        ("loss", ["  - override /regularizer: [dragan]", "loss:", "  name: hinge"]),
        ("experiment", ["  - override /loss: mine", *([] if typed else ["recipe: colour_64"])]),
    ):
        (here / "configs" / group).mkdir(parents=True)
        text = "\n".join(["# @package _global_", "defaults:", *lines])
        (here / "configs" / group / "mine.yaml").write_text(text)
    found = compose("experiment=mine", "dataset=cifar10", *typed)
    assert (found.recipe_used, found.loss.name) == ("colour_64", "hinge")
    assert found.regularizer == compose("regularizer=dragan").regularizer


def test_what_depends_on_augmenting_goes_with_it() -> None:
    few = ["dataset=celeba", "dataset.limit=500"]
    assert compose(*few).training.ada_target is not None
    assert compose(*few, "training.augment=[]").training.ada_target is None
    assert "training.ada_target" not in compose_command("train", [*few, "training.augment=[]"]).implied
    assert compose(*few, "training.augment=[color]").training.ada_target == compose(*few).training.ada_target
    with pytest.raises(UsageError, match="which needs"):
        compose(*few, "training.augment=[]", "training.ada_target=0.5")
    sweep = compose_sweep([*few, "training.augment=[],[color]"])
    targets = [combination.data["training"]["ada_target"] for combination in sweep.combinations]
    assert targets == [None, compose(*few).training.ada_target]


@pytest.mark.parametrize("loss", WITHOUT_BOUNDARY)
@pytest.mark.parametrize("side", [32, 64, 128])
def test_few_images_are_all_augmented_where_the_loss_has_no_boundary(loss: str, side: int) -> None:
    typed = ["dataset=celeba", "dataset.limit=500", f"image_size={side}", f"loss={loss}"]
    found = compose(*typed)
    assert found.recipe_used == f"colour_{side}_{loss}_few"
    assert (found.training.ada_target, found.training.augment_probability) == (None, 1)
    assert found.training.augment == ("color", "translation", "cutout")
    assert compose(*typed, f"recipe=colour_{side}_few").training == found.training


def test_the_number_of_images_is_the_most_if_broken_ones_are_left_out(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    next(folder.rglob("*.png")).write_bytes(b"")
    command = ["dataset=folder", f"dataset.path={folder}", *TINY, f"output={tmp_path}", "dataset.on_bad=skip"]
    assert run_command("train", command) == 0
    told = capsys.readouterr().out
    assert "recipe: colour_32_few, for up to 8 images of 3x16x16 and loss=non_saturating;" in told
    assert "data: 7 images from " in told


def test_what_a_run_records_is_not_set() -> None:
    with pytest.raises(UsageError, match="recipe_used: is recorded by a run"):
        compose_command("train", ["recipe_used=colour_64"])


def test_a_run_says_its_recipe_and_keeps_it_while_pictures_are_added(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["dataset=folder", f"dataset.path={folder}", *TINY, f"output={tmp_path}", "name=r"]
    assert run_command("train", command) == 0
    told = capsys.readouterr().out
    assert "recipe: colour_32_few, for 8 images of 3x16x16 and loss=non_saturating; recipe=none leaves it out" in told
    run = next((tmp_path / "r").iterdir())
    record = json.loads((run / "config.json").read_text())
    assert (record["config"]["recipe"], record["config"]["recipe_used"]) == (AUTO, "colour_32_few")
    assert record["recipe"] == {"name": "colour_32_few", "reason": "8 images of 3x16x16 and loss=non_saturating"}
    monkeypatch.setattr(count_samples, "count_in_folder", lambda *section: 10_000)
    assert chosen(*command) == "colour_32"
    assert run_command("train", [*command, "resume=auto"]) == 0
    assert "its 1 step is done" in capsys.readouterr().out
    assert run_command("train", [*command, "resume=auto", "optimizer.lr=0.1"]) == 2
    assert "optimizer.lr=0.1" in capsys.readouterr().err


def test_a_sweep_is_the_same_whatever_its_recipe_came_to(tmp_path: Path, many: Callable[[int | None], None]) -> None:
    command = ["dataset=folder", f"dataset.path={tmp_path}", "image_size=32,64", f"output={tmp_path}"]

    def planned(count: int) -> list[tuple[str, str]]:
        many(count)
        sweep = compose_sweep(command)
        found = [combination.data[recipes.USED_KEY] for combination in sweep.combinations]
        return list(zip(found, [job.key for job in plan(command, "").jobs], strict=True))

    few, enough = planned(10), planned(10_000)
    assert [name for name, _ in few] == ["colour_32_few", "colour_64_few"]
    assert [name for name, _ in enough] == ["colour_32", "colour_64"]
    assert [key for _, key in few] == [key for _, key in enough]


def test_a_whole_config_is_found_again_and_records_its_recipe(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pictures(here / "pictures", 8)
    typed = ["dataset=folder", f"dataset.path={folder}", *TINY, "device=cpu"]
    few = compose(*typed)
    run = api.train(few)
    record = json.loads((run / "config.json").read_text())
    assert record["recipe"] == {"name": "colour_32_few", "reason": ""}
    monkeypatch.setattr(count_samples, "count_in_folder", lambda *section: 10_000)
    many = parse_config(compose_command("train", typed).data)
    assert many.recipe_used == "colour_32"
    for config in (few, many):
        assert api.train(dataclasses.replace(config, resume="auto")) == run
    with pytest.raises(UsageError, match=r"seed=1 \(was 0\)"):
        api.train(dataclasses.replace(many, resume="auto", seed=1))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"recipe": "colour_63"}, "recipe=colour_63: expected one of .*did you mean"),
        ({"recipe_used": "x"}, "recipe_used=x: expected one of"),
        ({"recipe_used": AUTO}, "recipe_used=auto: expected one of"),
        ({"recipe": "colour_64"}, "recipe=colour_64: this Config has the values of recipe=none"),
    ],
)
def test_a_whole_config_with_a_recipe_that_it_has_not_is_refused(
    here: Path, changed: dict[str, str], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        api.train(dataclasses.replace(compose("dataset=shapes", "dataset.image_channels=1"), **changed))
    assert not (here / "outputs").exists()


def test_a_run_from_before_there_were_recipes_says_that_it_has_none(
    train: Callable[..., Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pictures(here / "pictures", 8)
    run = train("dataset=folder", f"dataset.path={folder}", *TINY, "recipe=none")
    record = json.loads((run / "config.json").read_text())
    record["command"] = record["command"].replace("recipe=none", "")
    for key in ("recipe", "recipe_used"):
        del record["config"][key]
    (run / "config.json").write_text(json.dumps(record))
    capsys.readouterr()
    line = (
        "recipe: none, as the run started before recipes existed; it keeps its settings, a new run would use colour_32"
    )
    train(f"resume={run}", "extra_steps=1")
    assert line in capsys.readouterr().out
    train(f"resume={run}", "extra_steps=1")
    assert "recipe: none" not in capsys.readouterr().out
    record["command"] += " experiment=folder_64"
    (run / "config.json").write_text(json.dumps(record))
    train(f"resume={run}", "extra_steps=1")
    assert "recipe: none" not in capsys.readouterr().out


def test_a_dry_run_says_what_the_recipe_set(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    folder = pictures(here / "pictures", 8)
    typed = ["dataset=folder", f"dataset.path={folder}", *TINY, "regularizer=gradient_penalty", "dry_run=true"]
    assert run_command("train", typed) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert rows["training.ada_target"].rstrip().endswith(" recipe")
    assert rows["training.ema_decay"].rstrip().endswith(" recipe")
    assert rows["training.n_critic"].rstrip().endswith("an option")
    assert rows["image_size"].rstrip().endswith("you")
    assert rows["recipe_used"].split() == ["recipe_used", "colour_32_few"]


def test_a_recipe_brings_what_its_file_sets(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("train", ["explain=recipe/colour_64"]) == 0
    told = {line.partition("=")[0] for line in capsys.readouterr().out.partition("also sets")[2].split()}
    written = OmegaConf.to_container(OmegaConf.load(config_folder() / "recipe" / "colour_64.yaml"))
    assert {"regularizer.r1.weight", "optimizer.lr"} <= told
    assert told <= {key for key, _ in train_config.flatten(written)} | {f"optimizer.{role}.lr" for role in ROLES}
    assert run_command("train", ["explain=celeba"]) == 0
    told = capsys.readouterr().out
    assert "recipe=colour_64" in told.split()
    assert "recipe_used" not in told


def test_hydra_shows_the_recipe_that_a_run_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("train", ["--cfg", "hydra", "dataset=celeba"]) == 0
    assert "    recipe: colour_64\n" in capsys.readouterr().out
    assert run_command("train", ["--cfg", "all", "dataset=celeba"]) == 0
    assert "\nrecipe: auto\n" in capsys.readouterr().out
    assert run_command("train", ["--cfg", "all", "dataset=celeba", "recipe=none"]) == 0
    told = capsys.readouterr().out
    assert "    recipe: none\n" in told
    assert "\nrecipe: none\n" in told
    assert "\nrecipe_used: none\n" in told
