"""What a person reads says one thing by one word, in plain terms: docs, explanations, options, messages, reports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from gan_cli.cli.explain import explain
from gan_cli.cli.keys import Key, list_keys
from gan_cli.config.commands import SCHEMAS
from gan_cli.config.compose import groups
from support.modules import FILES, PACKAGE, syntax_tree
from support.paths import ROOT

# Words that mislead or that a reader of English as a second language must guess, and what to write instead.
PLAIN = {
    "pictures?": "image",
    "wins?|won|winner": "is too strong (of D); overrides (of a value)",
    "wander(s|ed|ing)?|drifts? about|jumps? about": "varies, changes abruptly",
    "creeps?( up)?|crept": "rises slowly",
    "sits?|sat": "stays",
    "swings?|swung|circling|(go|goes) round in circles": "oscillates, oscillation",
    "come to rest|comes to (no )?rest": "converges",
    "by heart": "memorizes",
    "outruns?": "learns faster than",
    "far ahead": "too strong (of D)",
    "cures?|cured|heals?": "remedy",
    "fools?|fooled|tricks?|deceives?": "G makes fakes that D classifies as real",
    "anew": "again",
    "mends?|mended": "correct (a mistake), repair (a file)",
    "critic wins|dead end|battle|arms race|cat and mouse|forger|counterfeiters?": "the two networks, by their names",
    "wholly": "fully",
    "whence|thence|hence|whilst|hereby|thereby|thereof": "a word of today",
}  # fmt: skip
WORDS = "|".join(PLAIN).replace(" ", r"\s+")
FORBIDDEN = re.compile(rf"(?<![\w/~`=.-])({WORDS})(?![\w/`=-]|\.\w)", re.I)
# Text that is not prose: names of keys, files and commands, and words of other tools that people type.
NO_PROSE = re.compile(r"```.*?```|`[^`\n]*`|\]\([^)]*\)|[~\w.-]*/[\w./*-]+|\"told\"|gan-cli pictures", re.S)
ALLOWED = {"imagefolder image_folder images pictures custom": "what people of other tools type"}


def code_texts(path: Path) -> Iterator[str]:
    """Yields the texts with a space in a module: messages, descriptions and docstrings."""
    for node in ast.walk(syntax_tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
            yield node.value


@cache
def texts() -> list[tuple[str, str]]:
    """Returns each text with the name of its file. Of YAML files, these are the comments."""
    docs = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("learn/*.md")]
    whole = [*docs, *PACKAGE.rglob("*.toml"), *PACKAGE.rglob("*.jinja")]
    found = [(path, path.read_text()) for path in whole]
    found += [(path, "\n".join(re.findall(r"#(.*)", path.read_text()))) for path in (ROOT / "configs").rglob("*.yaml")]
    found += [(path, text) for path in FILES for text in code_texts(path)]
    return [(str(path.relative_to(ROOT)), text) for path, text in found if text not in ALLOWED]


PLAIN = ("true", "false", "null")


def all_keys() -> list[Key]:
    return [key for command in SCHEMAS for keys in list_keys(command).values() for key in keys]


def forbidden_words(text: str) -> list[str]:
    return [match[0].lower() for match in FORBIDDEN.finditer(NO_PROSE.sub(" ", text))]


def test_texts_use_plain_words() -> None:
    assert {(name, word) for name, text in texts() for word in forbidden_words(text)} == set()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("D wins: see samples/", ["wins"]),
        ("loss creeps up, and a Picture", ["creeps up", "picture"]),
        ("two networks need not come\nto rest", ["come\nto rest"]),
        ("experiment=cure/mode_collapse_r1, `cures`, ~/pictures, [a](cures.md), window, sitting", []),
    ],
)
def test_a_forbidden_word_is_found_in_prose_only(text: str, words: list[str]) -> None:
    assert forbidden_words(text) == words


def test_the_check_reads_every_kind_of_text() -> None:
    assert {Path(name).suffix for name, _ in texts()} == {".md", ".toml", ".jinja", ".yaml", ".py"}
    everything = {text for _, text in texts()}
    described = {key.description for key in all_keys() if " " in key.description}
    assert len(described) > 100
    assert described - everything == set()


def test_names_are_listed_alphabetically() -> None:
    words = {
        key.key: [value for value in key.values if value.isidentifier() and value not in PLAIN] for key in all_keys()
    }
    lists = {key: names for key, names in words.items() if len(names) > 1}
    assert len(lists) > 10
    assert {key: names for key, names in lists.items() if names != sorted(names)} == {}


def test_each_option_is_summed_up_by_a_sentence() -> None:
    lines = [line for group in groups() for line in explain([f"explain={group}"]).splitlines()]
    options = [line for line in lines if line.startswith("  ")]
    assert len(options) == sum(map(len, groups().values()))
    assert [line for line in options if not line.endswith(".")] == []
