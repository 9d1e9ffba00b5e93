"""README and docs are true: every command runs, every link leads somewhere, every option is named, pages are short."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from gan_cli import __version__
from gan_cli.cli.main import run_command
from gan_cli.config.compose import compose_command, groups
from gan_cli.config.overrides import quote_literals
from gan_cli.sweeps.combinations import compose_sweep
from support.paths import ROOT

README, INDEX = ROOT / "README.md", ROOT / "docs" / "index.md"
# The pages of docs/ in the order of the index, which is that in which their commands build on each other.
PAGES = [README, *(INDEX.parent / name for name in re.findall(r"\]\(([\w/-]+\.md)\)", INDEX.read_text()))]
TEXTS = {path: path.read_text() for path in [*PAGES, INDEX, *ROOT.glob("C*.md")]}
ALL = "\n".join(TEXTS.values())
LINES = [
    line
    for text in TEXTS.values()
    for block in re.findall(r"```sh\n(.*?)```", text, re.S)
    for line in block.splitlines()
]
COMMANDS = [shlex.split(line) for line in dict.fromkeys(LINES)]  # one that several pages show runs once
LONGEST_README, LONGEST_PAGE = 200, 250
LINK = re.compile(r"\]\(([^)\s]+)\)")
# What makes a command of minutes one of seconds: it is the command that is tested, not its result.
SHORT = ["steps=2", "batch_size=8", "threads=1"]
SMALL = ["architecture.generator.base_channels=4", "architecture.discriminator.base_channels=4"]
FEWER = {"eval": ["n=200", "resamples=5"]}  # by command, what else makes it short
ELSEWHERE = [["export", "ckpt=outputs/digits", "format=onnx"]]  # takes long: run in tests/export, composed here


def shortened(arguments: list[str], digits: Path) -> list[str]:
    """The same command for two steps, on data that need no network."""
    if any(argument.startswith("resume=demo") for argument in arguments):
        return ["extra_steps=2" if argument.startswith("extra_steps=") else argument for argument in arguments]
    kept = [argument for argument in arguments if not argument.startswith(("budget=", "steps="))]
    kept = ["seed=1" if argument == "seed=1,2,3" else argument for argument in kept]  # each job is a process
    if {"dataset.path=~/pictures", "dataset.path=~/split"} & {*arguments}:
        sized = any(argument.startswith("image_size=") for argument in kept)
        return [*kept, *SHORT, *SMALL, *([] if sized else ["image_size=16"])]
    if any(argument.startswith("explain=") for argument in arguments):
        return kept
    if "dataset=fashion_mnist" in arguments:
        return [*kept, *SHORT, *SMALL, f"dataset.root={digits}"]
    points = any(
        argument.startswith(("experiment=ring", "experiment=failure", "experiment=cure")) for argument in arguments
    )
    needs_digits = not points and not {"dataset.download=false", "dataset=shapes"} & {*arguments}
    kept += ["evaluation.metrics=[]"] if "-m" in arguments and not points else []  # a classifier takes long
    kept += ["dataset.size=500"] if "experiment=stacked_mnist" in arguments else []
    return [*kept, *SHORT, *([] if points else SMALL), *(["dataset.download=false"] if needs_digits else [])]


@pytest.mark.timeout(900)
def test_the_commands_of_all_pages_run_in_order(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from support.images import write_class_folders
    from support.published.digits import write_digits

    digits = here.parent / "digits"
    write_digits(digits, compress=True)
    write_class_folders(Path.home() / "pictures", cat=9, dog=9)
    (Path.home() / "split").mkdir()
    for path in (Path.home() / "pictures").rglob("*.png"):
        (Path.home() / "split" / f"{path.parent.name}-{path.name}").symlink_to(path)
    tried = 0
    for name, *arguments in COMMANDS:
        if name in ("make", "pip"):
            continue
        command = name.removeprefix("gan-")
        given = [*(shortened(arguments, digits) if command == "train" else arguments), *FEWER.get(command, [])]
        if [command, *arguments] in ELSEWHERE:
            compose_command(command, given)
            continue
        assert run_command(command, given) == 0, (given, capsys.readouterr().err)
        tried += 1
    assert tried >= 50


def test_indented_commands_compose() -> None:
    """Commands that need an extra or other data are not run."""
    lines = re.findall(r"^    (?:torchrun .* --no-python )?(gan-train .*)$", ALL, re.M)
    assert len(lines) >= 2
    for line in lines:
        arguments = shlex.split(line)[1:]
        if "-m" in arguments:
            compose_sweep([argument for argument in arguments if argument != "-m"])
        else:
            compose_command("train", list(map(quote_literals, arguments)))


def test_make_targets_in_the_text_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"(?:^|`|    )make ([a-z-]+)", ALL, re.M))
    assert {"install", "demo", "test", "lint"} <= named
    assert [target for target in sorted(named) if not re.search(rf"^{target}:", makefile, re.M)] == []


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", path.read_text(), flags=re.S), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_links_and_images_exist_and_images_are_small(path: Path) -> None:
    for link in LINK.findall(re.sub(r"```.*?```", "", TEXTS[path], flags=re.S)):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link
        assert target.suffix == ".md" or target.stat().st_size < 150_000, link


def test_each_page_and_each_image_is_shown() -> None:
    docs = INDEX.parent
    assert {*docs.glob("*.md"), *docs.glob("learn/*.md"), *docs.glob("tasks/*.md")} == {*PAGES[1:], INDEX}
    shown = {Path(link).name for link in LINK.findall(ALL)}
    assert [path.name for path in (docs / "images").iterdir() if path.name not in shown] == []
    further = list(docs.glob("learn/[2-9]*"))  # the first of these pages leads to the next
    linked = set(LINK.findall(TEXTS[README]))
    assert [path.name for path in PAGES[1:] if path not in further and str(path.relative_to(ROOT)) not in linked] == []


def test_the_readme_and_each_page_are_short() -> None:
    assert TEXTS[README].count("\n") <= LONGEST_README
    long = [path.name for path, text in TEXTS.items() if text.count("\n") > LONGEST_PAGE]
    assert set(long) <= {"CHANGELOG.md"}  # grows with each version


def test_every_option_is_named() -> None:
    for group, options in groups().items():
        assert [f"{group}={option}" for option in options if f"`{option}`" not in ALL] == []


def test_every_extra_is_named() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert [extra for extra in extras if f"`{extra}`" not in TEXTS[README]] == []


def test_every_dependency_is_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: packages for name, packages in project["optional-dependencies"].items() if name != "dev"}
    needed = [re.match(r"[\w-]+", line) for lines in (project["dependencies"], *extras.values()) for line in lines]
    table = TEXTS[INDEX.parent / "libraries.md"].partition("## Dependencies")[2]
    assert [name[0] for name in needed if name and name[0] not in table] == []


def test_every_exit_code_is_named() -> None:
    for code in (0, 1, 2, 3, 4, 5):
        assert re.search(rf"^\| {code} \|", TEXTS[INDEX.parent / "run-folder.md"], re.M)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_files_of_the_repository_that_the_text_names_exist(path: Path) -> None:
    folders = "gan_cli|tests|benchmarks|examples|docs"
    if path.name in ("design.md", "decisions.md", "libraries.md"):  # these name files of the package without its name
        folders += "|" + "|".join(folder.name for folder in (ROOT / "gan_cli").iterdir() if folder.is_dir())
    named = re.findall(rf"(?<![\w./-])((?:{folders})/[\w./-]*\w)", TEXTS[path])
    named = [name for name in named if not name.startswith(("docs/_build", "docs/reference"))]  # made by `make docs`
    assert [name for name in named if not ((ROOT / name).exists() or (ROOT / "gan_cli" / name).exists())] == []


def test_the_changelog_has_the_version() -> None:
    assert re.search(
        rf"^## \[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.M
    )


def test_the_project_speaks_of_itself_alone() -> None:
    paths = [
        *ROOT.glob("*.md"),
        *ROOT.glob("*.toml"),
        *(ROOT / "docs").glob("**/*.md"),
        *(ROOT / "docs").glob("**/*.py"),
        *(ROOT / "configs").rglob("*.yaml"),
    ]
    paths += [ROOT / "Makefile", ROOT / ".pre-commit-config.yaml", *(ROOT / ".github").rglob("*.*")]
    for path in paths:
        assert not re.search(r"/(work|root|home|tmp)/", path.read_text()), path
