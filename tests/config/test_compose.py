"""Paths and texts reach us as they were typed, whatever Hydra's grammar makes of them."""

import pytest

from gan_cli.config.compose import compose_command
from gan_cli.config.overrides import quote_for_hydra, quote_literals, read_override, unquote_literals
from gan_cli.errors import UsageError

HOSTILE = [
    "a b", "epoch=3.ckpt", "a,b", "it's", 'say "x"', "[run]", "run(1)", "{a}", "a#b", "1e3", "true", "ünï/日本", "tr\\",
    "b\\\\", "c\\'d", "${x}", "\\${x}", "\\\\${x}", "$HOME", "a\nb", "-lead", "x:y", "a%b", "'q'", '"q"', "\\", " sp ",
    "a\tb", "?", "${oc.env:HOME}", "a~b", "x" * 200, "é" * 50, "*", "a|b", "a;b", "a&b", "!", "@pkg", "+plus", "007",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("key", ["ckpt", "out"])
def test_any_path_arrives_as_it_was_typed(key: str, text: str) -> None:
    assert compose_command("sample", [quote_literals(f"{key}={text}")]).data[key] == text


@pytest.mark.parametrize("text", HOSTILE)
def test_a_data_root_too(text: str) -> None:
    argument = quote_literals(f"dataset.root={text}")
    assert compose_command("train", [argument]).data["dataset"]["root"] == text


def test_home_is_expanded_and_null_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert compose_command("sample", [quote_literals("out=~/cats")]).data["out"] == "/somewhere/cats"
    assert compose_command("sample", [quote_literals("out=null")]).data["out"] is None
    assert compose_command("sample", [quote_literals("ckpt=null")]).data["ckpt"] == "null"


@pytest.mark.parametrize("text", HOSTILE)
def test_an_override_of_hydra_s_reads_as_it_was_typed(text: str) -> None:
    assert unquote_literals(quote_literals(f"output={text}")) == f"output={text}"
    assert unquote_literals("loss=hinge") == "loss=hinge"


def test_a_home_that_nobody_has_is_left_as_it_is() -> None:
    assert compose_command("sample", [quote_literals("out=~nosuchuser/x")]).data["out"] == "~nosuchuser/x"


def test_other_keys_are_left_to_hydra() -> None:
    assert quote_literals("steps=1e4") == "steps=1e4"
    assert quote_literals("loss=hinge") == "loss=hinge"


def test_a_value_that_needs_quoting_is_refused_not_altered() -> None:
    with pytest.raises(UsageError, match="cannot be read as key=value"):
        compose_command("train", ["loss=a b)"])


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("['50%','a,b']", ["50%", "a,b"]),
        ("[plain,'a,b']", ["plain", "a,b"]),
        ('["it\'s", b]', ["it's", "b"]),
        ("[it's,a[1]]", ["it's", "a[1]"]),
        ("[yes,1,null]", ["yes", "1", "null"]),
        ("'a,b'", "a,b"),
        ("cat", "cat"),
        ("[]", []),
    ],
)
def test_names_of_classes_may_hold_commas_quotes_and_words_of_yaml(typed: str, names: object) -> None:
    assert read_override(quote_literals(f"dataset.classes={typed}")).value() == names


@pytest.mark.parametrize("name", ["a\\b", "a\\\\b", "it's", "x\\'", "${seed}", "\\${a}", "end\\", "a,b", "[x]"])
def test_a_name_that_is_quoted_already_stays_itself(name: str) -> None:
    assert (
        read_override(quote_literals(f"dataset.classes=[{quote_for_hydra(name)}]")).value()
        == read_override(f"x=[{quote_for_hydra(name)}]").value()
    )


def test_a_list_of_lists_is_a_sweep() -> None:
    assert read_override(quote_literals("dataset.classes=[a],[b]")).is_sweep_override()
