"""The README is true: every command in it runs, every file it shows is there, every option is named."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT

from gan_cli.cli.main import run_command
from gan_cli.config.compose import groups

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.S)
COMMANDS = [shlex.split(line) for block in BLOCKS for line in block.splitlines()]
# What makes a command of minutes one of seconds: it is the command that is tested, not its result.
SHORT = ["steps=2", "batch_size=8", "threads=1"]
FEWER = {"eval": ["n=200", "resamples=5"]}  # by command, what else makes it short


def shortened(arguments: list[str], digits: Path) -> list[str]:
    """The same command for two steps, on data that need no network."""
    if any(argument.startswith("resume=demo") for argument in arguments):
        return ["extra_steps=2" if argument.startswith("extra_steps=") else argument for argument in arguments]
    kept = [argument for argument in arguments if not argument.startswith(("budget=", "steps="))]
    if "dataset.path=~/pictures" in arguments:
        return [*kept, *SHORT]
    if any(argument.startswith("explain=") for argument in arguments):
        return kept
    if "dataset=fashion_mnist" in arguments:
        return [*kept, *SHORT, f"dataset.root={digits}"]
    points = any(
        argument.startswith(("experiment=ring", "experiment=failure", "experiment=cure")) for argument in arguments
    )
    needs_digits = not points and "dataset.download=false" not in arguments
    kept += ["evaluation.metrics=[]"] if "-m" in arguments and not points else []  # a classifier takes long
    return [*kept, *SHORT, *(["dataset.download=false"] if needs_digits else [])]


@pytest.mark.timeout(900)
def test_the_readme_s_commands_run_in_order(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from test_data import write_digits
    from test_folder import write_pets

    digits = here.parent / "digits"
    write_digits(digits, compress=True)
    write_pets(Path.home() / "pictures", cat=9, dog=9)
    tried = 0
    for name, *arguments in COMMANDS:
        if name == "make":
            assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.M)
            continue
        command = name.removeprefix("gan-")
        given = [*(shortened(arguments, digits) if command == "train" else arguments), *FEWER.get(command, [])]
        assert run_command(command, given) == 0, (given, capsys.readouterr().err)
        tried += 1
    assert tried >= 14


def test_the_readme_s_indented_commands_are_among_the_tested() -> None:
    """The three lines at the top say what the tour then runs."""
    for line in re.findall(r"^    (gan-\w+ .*)$", README, re.M):
        name, *arguments = shlex.split(line)
        if name == "gan-train":
            from gan_cli.config.compose import compose_command
            from gan_cli.sweeps.combinations import compose_sweep

            compose = compose_sweep if "-m" in arguments else compose_command
            compose("train", [argument for argument in arguments if argument != "-m"])


def test_every_file_the_readme_shows_is_there_and_small() -> None:
    shown = re.findall(r"\]\(([^)#]+)\)", README)
    local = [target for target in shown if not target.startswith("http")]
    assert len(local) >= 5
    for target in local:
        assert (ROOT / target).is_file(), target
        assert (ROOT / target).stat().st_size < 150_000, target


def test_the_readme_names_every_option() -> None:
    for group, options in groups().items():
        for option in options:
            assert f"`{option}`" in README, f"{group}={option}"


def test_the_readme_names_every_exit_code() -> None:
    for code in (0, 1, 2, 3, 4, 5):
        assert re.search(rf"^\| {code} \|", README, re.M)


def test_the_project_speaks_of_itself_alone() -> None:
    for path in [*ROOT.glob("*.md"), *ROOT.glob("*.toml"), *(ROOT / "configs").rglob("*.yaml"), ROOT / "Makefile"]:
        assert not re.search(r"/(work|root|home|tmp)/", path.read_text()), path
