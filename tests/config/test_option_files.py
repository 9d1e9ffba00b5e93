"""A mistake in a user's file of options is one line with the file, the key, what is wrong and the nearest name."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gan_cli.api_arguments import read_overrides
from gan_cli.config import search_path
from gan_cli.config.compose import compose_command
from gan_cli.errors import UsageError
from gan_cli.storage.yaml_files import read_option_file
from support.commands import write_text

# What follows `# @package _global_` in experiment/mine.yaml, and the message after the file's path.
EXPERIMENT = {
    # --- the list `defaults` ---
    "defaults: [override /loss: hnge]": ": loss=hnge: expected one of * (did you mean 'hinge'?)",
    "defaults: [override /los: hinge]": ": defaults: override /los: hinge: no such group, of * (did you mean 'loss'?)",
    "defaults: [override /architecture/generatr: mlp]": "*no such group*(did you mean 'architecture/generator'?)",
    "defaults: [/loss: hinge]": ": defaults: /loss: hinge: a choice is written override /loss: hinge",
    "defaults: [loss: hinge]": ": defaults: loss: hinge: a choice is written override /loss: hinge",
    "defaults: [override loss: hinge]": ": defaults: override loss: hinge: a choice is written override /loss: hinge",
    "defaults: [overide /loss: hinge]": ": defaults: overide /loss: hinge: expected a name, or one choice, as *",
    "defaults: [override /loss@other: hinge]": ": defaults: override /loss@other: hinge: no such group*",
    "defaults: [cure/mode_colapse_r1]": ": defaults: *: no such file of experiment (did you mean 'cure/mode_col*",
    "defaults: [/experiment/nope]": ": defaults: /experiment/nope: no such file of experiment",
    "defaults: [optional nope]": ": defaults: optional nope: no such file of experiment",
    "defaults: [mine]": ": defaults: takes itself over",
    "defaults: [_self_, _self_]": ": defaults: _self_ is given twice",
    "defaults: [override /loss: hinge, override /loss: minimax]": ": defaults: override /loss is given twice",
    "defaults: [{override /loss: hinge, override /device: cpu}]": ": defaults: *: expected a name, or one choice, as *",
    "defaults: {override /loss: hinge}": ": defaults=*: must be a list, of lines such as - override /loss: hinge",
    "defaults: hinge": ": defaults=hinge: must be a list, of *",
    "defaults:": ": defaults=null: must be a list, of *",
    "defaults: [3]": ": defaults: 3: expected a name, or one choice, as *",
    "defaults: [null]": ": defaults: null: expected a name, or *",
    "defaults: [[hinge]]": ": defaults: [hinge]: expected a name, or *",
    "defaults: [override /loss: {a: 1}]": ": loss={'a': 1}: expected one of *",
    "defaults: [override /loss: [hinge, minimax]]": ": loss=[hinge,minimax]: takes one option, of *",
    "defaults: [override /regularizer: [r1, lekam]]": ": regularizer=lekam: * (did you mean 'lecam'?)",
    "defaults: [override /loss: null]": ": loss=null: expected one of *",
    "defaults: [override /loss: 3]": ": loss=3: expected one of *",
    "defaults: [override /loss: '???']": ": loss=???: expected one of *",
    "defaults: ['override /loss': '${nope}']": ": defaults: *: no such group as nope, of *",
    "defaults: [override /recipe: colur_32]": ": recipe=colur_32: * (did you mean 'colour_32'?)",
    # --- keys ---
    "stepz: 3": ": unknown key stepz (did you mean 'steps'?); see --help",
    "epochs: 3": ": unknown key epochs: here it is steps=*",
    "trainng: {pack: 1}": ": unknown key trainng (did you mean 'training'?); see --help",
    "training: {n_critc: 3}": ": unknown key training.n_critc (did you mean 'training.n_critic'?); see --help",
    "training.pack: 2": ": unknown key training.pack: in a file, its last part stands below its section",
    "override /loss: hinge": ": unknown key override /loss*",
    "architecture: {generator: {base_chanels: 8}}": "* (did you mean 'architecture.generator.base_channels'?)*",
    "dataset: {path: cats}": ": unknown key dataset.path: expected one of *",
    "1: 2": ": unknown key 1*",
    "null: 2": ": unknown key None*",
    "training: {1: 2}": ": unknown key training.1*",
    # --- values ---
    "seed: abc": ": seed=abc: expected a whole number *",
    "seed: [1, 2]": ": seed=[1,2]: expected a whole number *",
    "seed: {a: 1}": ": seed={'a': 1}: expected a whole number *",
    "optimizer: {lr: fast}": ": optimizer.lr=fast: expected a finite number *",
    "training: {unroll_steps: 3}": ": training.unroll_steps=3: unrolls D's loss only, *",
    "name: !!set {a}": ": name={'a'}: expected a text, a number, true, false or null",
    "name: !!binary aGVsbG8=": ": name=b'hello': expected a text, *",
    "training: 3": ": training=3: expected a section of keys",
    "training: [3]": ": training=[3]: expected a section of keys",
    "training:": ": training=null: expected a section of keys",
    "loss: hinge": ": loss=hinge: expected a section of keys; *, as override /loss: hinge",
    "optimizer: [adam]": ": optimizer=[adam]: expected a section of keys",
    "architecture: {generator: mlp}": ": *; an option is chosen in defaults, as override /architecture/generator: mlp",
    "loss: {name: hnge}": ": loss=hnge: expected one of * (did you mean 'hinge'?)",
    # --- references to other keys ---
    "seed: ${sed}": ": seed=${sed}: no key sed (did you mean 'seed'?)",
    "name: a${nope}b": ": name=a${nope}b: no key nope",
    "seed: ${dataset.path}": ": seed=${dataset.path}: no key dataset.path*",
    "seed: ${training}": ": seed={*: expected a whole number *",
    "seed: ${seed}": ": seed=${seed}: refers to itself",
    "seed: ${steps}\nsteps: ${seed}": ": s*=${s*}: refers to itself, or to no value",
    "seed: ${": ": seed=${: cannot be read; the value of another key is written ${seed}",
    "name: ${a b}": ": name=${a b}: cannot be read; *",
    "name: ${oc.env:HOME}": ": name=${oc.env:HOME}: only keys can be interpolated, as ${seed}",
    # --- YAML ---
    "seed: 1\nseed: 2": ", line 3: is no YAML (the key seed stands there twice)",
    "training:\n  pack: 1\n  pack: 1": ", line 4: is no YAML (the key pack stands there twice)",
    "training:\n\tpack: 1": ", line 3: is no YAML (has a tab; indent by spaces)",
    "seed: [1": ", line *: is no YAML (*)",
    "seed: a: b": ", line 2: is no YAML (mapping values are not allowed *)",
    "training:\n    pack: 1\n  n_critic: 1": ", line 4: is no YAML (*)",
    "seed: *a": ", line 2: is no YAML (found undefined alias*)",
    "seed: 1\n---\nseed: 2": ", line 3: is no YAML (* another document)",
    "name: !foo bar": ", line 2: is no YAML (no tag '!foo')",
    "seed: 1\0": ": is no YAML (*not allowed*)",
    "seed: " + "9" * 5000: ": has a number of thousands of digits, *",
    "training: &a\n  pack: *a": ": more than 10,000 values, or lists in lists deeper than 20",
    "training: " + "[" * 400 + "]" * 400: ": more than 10,000 values, or *",
    "hello": ": expected keys and values, as steps: 1000",
}  # fmt: skip
# The whole of another file, and the message after its path.
FILES = {
    "loss/mine.yaml": {
        "margin: 1": ": unknown key loss.margin*",
        "defaults: [hing, _self_]": ": defaults: hing: no such file of loss (did you mean 'hinge'?)",
        "defaults: [override /experiment: ring]": ": *: is chosen after loss, so that a file of loss cannot choose it",
        "defaults: [hinge, override /recipe: none]": ": *: needs '# @package _global_' as the first line of the file",
        "defaults: [hinge, override /optimizer: adam]": ": *: needs '# @package _global_' as the first line *",
        "# mine\n# @package _global_\ndefaults: [override /optimizer: adam]": ": *: needs '# @package _global_' as *",
        "# @package _global_ # mine\nname: hinge": ": # @package _global_ # mine: of @ lines, *",
        "# @author me and you\nname: hinge": ": # @author me and you: of @ lines, *",
    },
    "optimizer/mine.yaml": {
        "defaults: [adam, _self_]\nlr: fast": ": optimizer.lr=fast: expected a finite number *",
        "defaults: [adam, _self_]\ngenerator: sgd": ": *, as override /optimizer/generator: sgd",
    },
    "regularizer/mine.yaml": {"r1: {wieght: 3}": ": * (did you mean 'regularizer.r1.weight'?); see --help"},
    "device/mine.yaml": {"": ": expected keys and values, *", "- a": ": expected keys and values, *"},
}
CASES = [("experiment/mine.yaml", f"# @package _global_\n{text}\n", words) for text, words in EXPERIMENT.items()]
CASES += [(name, text, words) for name, texts in FILES.items() for text, words in texts.items()]


@pytest.fixture(autouse=True)
def no_file_was_read() -> None:
    search_path.forget_used_files()


def matches(text: str, pattern: str) -> bool:
    """Whether `pattern`, in which * stands for any text, is the whole text."""
    first, *parts = pattern.split("*")
    if not text.startswith(first) or (parts and not text.endswith(parts[-1])):
        return False
    return all(part in text for part in parts) if parts else text == first


@pytest.mark.parametrize(("name", "text", "words"), CASES, ids=[repr(text)[-45:-1] for _, text, _ in CASES])
def test_a_mistake_is_one_line_with_the_file(here: Path, name: str, text: str, words: str) -> None:
    file = write_text(here / "configs" / name, text)
    with pytest.raises(UsageError) as error:
        read_overrides([f"{name.partition('/')[0]}=mine"])
    message = str(error.value)
    assert message.startswith(str(file))
    assert matches(message.removeprefix(str(file)), words), message
    assert not any(word in message for word in ("full_key", "Hydra", "ConfigTypeError", "DictConfig", "Could not"))


def test_files_that_a_file_takes_over_or_chooses_are_checked(here: Path) -> None:
    write_text(here / "configs/experiment/mine.yaml", "# @package _global_\ndefaults: [base]\n")
    base = write_text(here / "configs/experiment/base.yaml", "# @package _global_\ndefaults: [override /loss: soft]\n")
    soft = write_text(here / "configs/loss/soft.yaml", "nam: hinge\n")
    with pytest.raises(UsageError, match=rf"^{soft}: unknown key loss.nam"):
        read_overrides(["experiment=mine"])
    base.write_text("# @package _global_\ndefaults: [mine]\n")
    with pytest.raises(UsageError, match=rf"mine.yaml: defaults: takes itself over, by {base}$"):
        read_overrides(["experiment=mine"])


def test_no_file_is_blamed_for_what_the_command_line_sets(here: Path) -> None:
    write_text(here / "configs/experiment/mine.yaml", "# @package _global_\nseed: 3\ntraining: {pack: 2}\n")
    for key in ("seed=abc", "training.pack=abc"):
        with pytest.raises(UsageError, match=rf"^{key}: expected"):
            read_overrides(["experiment=mine", key])


def test_what_hydra_allows_is_taken(here: Path) -> None:
    """A base file with a package, a choice that depends on another one, a relative key, a list in a group of lists."""
    write_text(here / "configs/loss/wasserstein_mine.yaml", "defaults: [/loss/wasserstein@_here_, _self_]\n")
    text = (
        "defaults: [ring, override /regularizer: [r1, lecam], _self_]\noptimizer: {lr: 1e-4, eps: '${.lr}'}\nseed: 7\n"
    )
    write_text(here / "configs/experiment/mine.yaml", f"# @package _global_\n{text}")
    config = compose_command("train", ["experiment=mine"]).data
    assert (config["seed"], config["optimizer"]["eps"], [*config["regularizer"]]) == (7, 1e-4, ["r1", "lecam"])


def test_a_file_is_read_as_hydra_reads_it(tmp_path: Path) -> None:
    file = write_text(tmp_path / "a.yaml", "\n# @package _global_\n# one\na: 1e-4\nb: 2020-01-01\nc: on\nd: .5\n")
    assert read_option_file(file) == ("_global_", {"a": 1e-4, "b": "2020-01-01", "c": True, "d": 0.5})


def test_a_file_of_many_keys_is_read_in_a_moment(tmp_path: Path) -> None:
    path = tmp_path / "many.yaml"
    path.write_text("".join(f"key{number}: 1\n" for number in range(30_000)))
    before = time.process_time()
    assert len(read_option_file(path)[1]) == 30_000
    assert time.process_time() - before < 5


def test_the_package_of_a_user_is_found_after_a_long_comment(here: Path) -> None:
    path = here / "configs" / "experiment" / "p.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("\n" * 502 + "# @package _global_\nseed: 3\n")
    assert compose_command("train", ["experiment=p"]).data["seed"] == 3


def test_a_group_that_is_a_link_to_a_large_folder_is_not_walked(
    here: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = tmp_path_factory.mktemp("large")
    for number in range(30):
        (large / str(number) / "deep").mkdir(parents=True)
        (large / str(number) / "deep" / "x.yaml").write_text("seed: 1\n")
    (large / "gone").symlink_to(large)  # never followed
    (here / "configs").mkdir()
    (here / "configs" / "experiment").symlink_to(large)
    assert sum(option.endswith("/deep/x") for option in search_path.options_of_groups()["experiment"]) == 30
    monkeypatch.setattr(search_path, "MOST_ENTRIES", 20)
    assert not any(option.endswith("/deep/x") for option in search_path.options_of_groups()["experiment"])
