"""`explain=`: a text for every option, whose numbers, overrides and refusals are those of the code."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable

import pytest
import torch

from gan_cli.cli.explain import PARTS, explain_option, load_explanations, words_of
from gan_cli.cli.keys import list_keys
from gan_cli.cli.main import run_command
from gan_cli.config.compose import compose_command, groups
from gan_cli.config.options.fields import walk
from gan_cli.config.options.objectives import GRADIENT_PENALTIES
from gan_cli.config.options.optimizers import OPTIMIZER_OPTIONS
from gan_cli.config.train_config import Config
from gan_cli.errors import UsageError
from gan_cli.objectives.losses import LOSSES
from gan_cli.objectives.regularizers import PENALTIES
from gan_cli.training.objective import CLASSIFICATION
from support.configs import compose

REQUIRED = {
    "dataset": ("what", "paper"),
    "architecture": ("what", "formula", "paper", "healthy", "failures"),
    "loss": ("what", "formula", "paper", "healthy", "failures"),
    "regularizer": ("what", "formula", "paper", "healthy", "failures"),
    "optimizer": ("what", "formula", "paper"),
    "conditioning": ("what", "formula", "paper", "healthy", "failures"),
    "device": ("what",),
    "recipe": ("what",),
    "task": ("what", "formula", "paper", "healthy", "failures"),
    "auxiliary": ("what", "formula", "paper", "healthy", "failures"),
}
KEYS = list_keys("train")
TEXTS = load_explanations()
OPTIONS = [(group, option) for group, options in groups().items() for option in options]


def required(group: str, option: str) -> set[str]:
    fields = set(REQUIRED[group.split("/")[0]])
    if option == "none" or (group == "optimizer" and option not in OPTIMIZER_OPTIONS):
        fields.discard("formula")
    if (group, option) == ("conditioning", "none"):
        fields.discard("paper")
    return fields


# --- the texts ---------------------------------------------------------------------------------------------------


def test_every_option_has_a_text_and_no_text_is_without_an_option() -> None:
    assert TEXTS.keys() == {f"{group}/{option}" for group, option in OPTIONS if group != "experiment"}


def test_a_text_has_what_its_group_needs_and_nothing_unknown() -> None:
    for name, text in TEXTS.items():
        group, _, option = name.rpartition("/")
        assert required(group, option) <= text.keys() <= PARTS.keys(), name
        for field, told in text.items():
            assert told.strip(), (name, field)
            assert told.isascii(), (name, field)


def test_papers_have_numbers_of_the_right_form() -> None:
    for name, text in TEXTS.items():
        told = "\n".join(text.values())
        cited = [word.rstrip(".,:;)") for word in re.findall(r"arXiv (\S+)", told)]
        for number in [*cited, *re.findall(r"\b\d{4}\.\d{3,}\b", told)]:
            assert re.fullmatch(r"\d{4}\.\d{4,5}", number), (name, number)
            assert 1 <= int(number[2:4]) <= 12, (name, number)
        if name.split("/")[0] in ("loss", "regularizer", "task", "auxiliary"):
            assert re.search(r"arXiv \d{4}\.\d{4,5}\b", text["paper"]), name


def overrides_in(name: str) -> list[tuple[str, str]]:
    """Every `key=value` in a text."""
    told = "\n".join(text for field, text in TEXTS[name].items() if field != "formula")
    found = re.findall(r"(?<![\w./])([a-z][\w./]*)=(\[[^\]]*\]|[\w.,/]*)", told)
    return [(key, value.rstrip(".,")) for key, value in found]


def test_texts_name_only_keys_and_options_there_are() -> None:
    known = groups()
    for key, value in itertools.chain.from_iterable(map(overrides_in, TEXTS)):
        if key == "explain":
            assert value in {option for options in known.values() for option in options}
        elif key in known:
            assert {word for word in value.strip("[]").split(",") if word} <= set(known[key]), f"{key}={value}"
        else:
            assert any(dotted == key or dotted.endswith(f".{key}") for dotted in KEYS), f"{key}={value}"


def test_penalties_in_a_text_are_penalties_there_are() -> None:
    told = "\n".join(itertools.chain.from_iterable(text.values() for text in TEXTS.values()))
    assert set(re.findall(r"penalty/(\w+)", told)) <= PENALTIES.keys() | {CLASSIFICATION}
    metrics = re.findall(r"\b(?:loss|logits|accuracy|grad_norm)/(\w+)", told)
    assert set(metrics) <= {"discriminator", "generator", "real", "fake", "class"}


def test_the_search_for_overrides_finds_them() -> None:
    assert ("regularizer.r1.weight", "0.1,1,10,100") in overrides_in("regularizer/r1")
    assert ("regularizer", "[r1,r2]") in overrides_in("regularizer/r1_r2")
    assert ("loss", "non_saturating") in overrides_in("loss/bce")


# --- the numbers -------------------------------------------------------------------------------------------------

# Where D cannot tell: its logit, what each network's loss is then, and how the text writes that.
EQUILIBRIA = [
    ("non_saturating", 0.0, 2 * math.log(2), math.log(2), ("2 log 2 = 1.386", "log 2 = 0.693")),
    ("minimax", 0.0, 2 * math.log(2), -math.log(2), ("2 log 2 = 1.386", "-log 2 = -0.693")),
    ("least_squares", 0.5, 0.25, 0.125, ("= 0.25", "= 0.125")),
    ("relativistic", 0.0, math.log(2), math.log(2), ("log 2 = 0.693",)),
    ("relativistic", -7.0, math.log(2), math.log(2), ()),
    ("wasserstein", 3.0, 0.0, -3.0, ("is 0",)),
    ("hinge", 0.0, 2.0, 0.0, ("loss/discriminator = 2.",)),
    ("hinge", -0.75, 2.0, 0.75, ()),
]


@pytest.mark.parametrize(("name", "logit", "d_loss", "g_loss", "words"), EQUILIBRIA)
def test_losses_where_d_cannot_tell_are_those_told(
    name: str, logit: float, d_loss: float, g_loss: float, words: tuple[str, ...]
) -> None:
    loss, logits = LOSSES[name], torch.full((4,), logit)
    paired = {"real_logits": logits} if loss.paired else {}
    assert loss.discriminator(real_logits=logits, fake_logits=logits).item() == pytest.approx(d_loss, abs=1e-6)
    assert loss.generator(fake_logits=logits, **paired).item() == pytest.approx(g_loss, abs=1e-6)
    for word in words:
        assert word in TEXTS[f"loss/{name}"]["healthy"]
    for value in re.findall(r"-?\d\.\d{3}\b", " ".join(words)):
        assert float(value) == pytest.approx(d_loss, abs=5e-4) or float(value) == pytest.approx(g_loss, abs=5e-4)


def test_every_loss_is_among_the_equilibria() -> None:
    assert {row[0] for row in EQUILIBRIA} == LOSSES.keys()


@pytest.mark.parametrize(
    ("name", "least"), [("non_saturating", 0.0), ("minimax", 0.0), ("hinge", 0.5), ("least_squares", 0.25)]
)
def test_no_other_constant_answer_is_better_where_d_cannot_tell(name: str, least: float) -> None:
    """The value told is the least that D reaches without telling real from fake."""
    answers = torch.linspace(-3, 3, 121)
    losses = torch.stack([LOSSES[name].discriminator(real_logits=each, fake_logits=each) for each in answers])
    told = next(row for row in EQUILIBRIA if row[0] == name)
    assert losses.min().item() == pytest.approx(told[2], abs=1e-5)
    at = LOSSES[name].discriminator(real_logits=torch.tensor(told[1]), fake_logits=torch.tensor(told[1]))
    assert at.item() == pytest.approx(losses.min().item(), abs=1e-5)


def test_where_d_has_won_losses_are_as_the_failures_tell() -> None:
    real, fake = torch.full((4,), 20.0), torch.full((4,), -20.0)
    assert LOSSES["non_saturating"].discriminator(real_logits=real, fake_logits=fake).item() < 1e-6
    assert LOSSES["non_saturating"].generator(fake_logits=fake).item() == pytest.approx(20)
    assert -1e-6 < LOSSES["minimax"].generator(fake_logits=fake).item() <= 0
    assert LOSSES["hinge"].discriminator(real_logits=real, fake_logits=fake).item() == 0
    ones, zeros = torch.ones(4), torch.zeros(4)
    assert LOSSES["least_squares"].discriminator(real_logits=ones, fake_logits=zeros).item() == 0
    assert LOSSES["least_squares"].generator(fake_logits=zeros).item() == 0.5


# --- what is refused ---------------------------------------------------------------------------------------------


def refusal(*overrides: str) -> str | None:
    try:
        compose(*overrides)
    except UsageError as error:
        return str(error)
    return None


@pytest.mark.parametrize("penalty", [*GRADIENT_PENALTIES, "r1_r2"])
def test_what_a_penalty_s_text_calls_refused_is_refused(penalty: str) -> None:
    told = TEXTS[f"regularizer/{penalty}"]["clashes"]
    kind = "architecture.discriminator.normalization"
    assert refusal(f"regularizer={penalty}", f"{kind}=batch")
    assert f"{kind}=none, layer, instance (not for mlp) or spectral" in told
    for fine in ("none", "layer", "instance", "spectral"):
        assert refusal(f"regularizer={penalty}", f"{kind}={fine}") is None
    assert refusal(f"regularizer={penalty}", "architecture=mlp", f"{kind}=instance")
    lazy = re.findall(r"regularizer\.\w+\.every", told)
    assert len(lazy) == len(penalty.split("_") if penalty == "r1_r2" else [penalty])
    for key in lazy:
        points = [f"regularizer={penalty}", "dataset=ring", "architecture=mlp"]
        assert refusal(*points, f"{key}=2")
        assert refusal(*points, f"{key}=1") is None


def test_what_the_other_texts_call_refused_is_refused() -> None:
    assert "gradient_penalty beside it is refused" in TEXTS["regularizer/weight_clip"]["clashes"]
    assert "weight_clip beside it is refused" in TEXTS["regularizer/gradient_penalty"]["clashes"]
    for order in itertools.permutations(["gradient_penalty", "weight_clip"]):
        assert refusal(f"regularizer=[{','.join(order)}]")
    assert "normalization=spectral is refused" in TEXTS["regularizer/weight_clip"]["clashes"]
    assert refusal("regularizer=weight_clip", "architecture.discriminator.normalization=spectral")
    for fine in ("none", "batch", "layer", "instance"):
        assert refusal("regularizer=weight_clip", f"architecture.discriminator.normalization={fine}") is None
    for data in ("ring", "grid", "swiss_roll"):
        assert (
            "dcgan, resnet, r3gan, fastgan, pggan, stylegan2 and srresnet are refused"
            in TEXTS[f"dataset/{data}"]["clashes"]
        )
        assert refusal(f"dataset={data}", "architecture=dcgan")
        assert refusal(f"dataset={data}", "architecture=resnet")
        assert refusal(f"dataset={data}", "architecture=mlp") is None
        assert refusal(f"dataset={data}", "architecture=mlp", "image_size=28")
    assert refusal("dataset=folder")
    assert refusal("dataset=folder", "dataset.path=x", "dataset.image_channels=2")


def test_wasserstein_without_a_bound_is_only_warned_of() -> None:
    assert "warned of" in TEXTS["loss/wasserstein"]["clashes"]
    assert "warned of" in TEXTS["regularizer/none"]["clashes"]
    assert refusal("loss=wasserstein", "regularizer=none") is None


# --- the command -------------------------------------------------------------------------------------------------

Explain = Callable[..., str]


@pytest.fixture
def explained(capsys: pytest.CaptureFixture[str]) -> Explain:
    """What `gan-train explain=...` prints; the exit code must be as expected."""

    def run(*arguments: str, code: int = 0) -> str:
        assert run_command("train", list(arguments)) == code
        said = capsys.readouterr()
        assert (said.out == "") == (code != 0)
        assert (said.err == "") == (code == 0)
        return said.out or said.err

    return run


@pytest.mark.parametrize("group", groups())
def test_an_option_of_every_group_is_explained(group: str) -> None:
    option = groups()[group][-1]
    told = explain_option(group, option)
    assert told.startswith(f"{group}={option}\n\n")
    for part in TEXTS.get(f"{group}/{option}", {}):
        assert PARTS[part] in told.splitlines() or part == "what"
    if group == "experiment":
        assert "Expect" in told


def test_a_loss_tells_formula_paper_and_what_comes_along(explained: Explain) -> None:
    told = explained("explain=wasserstein")
    for part in ("formula", "paper", "healthy curves", "known failures", "does not go with", "also sets"):
        assert told.splitlines().count(part) == 1
    assert "  D minimizes  E D(G(z)) - E D(x)" in told
    assert "1701.07875" in told
    assert "regularizer.zero_centered.weight=1.0" in told.partition("also sets")[2]


def test_a_penalty_tells_its_settings(explained: Explain) -> None:
    told = explained("explain=gradient_penalty")
    weight = compose("regularizer=gradient_penalty").regularizer["gradient_penalty"].weight
    assert f"  regularizer.gradient_penalty.weight={weight}\n" in told.partition("settings")[2]


@pytest.mark.parametrize("name", ["hinge", "loss=hinge", "loss/hinge"])
def test_an_option_is_found_with_its_group_too(explained: Explain, name: str) -> None:
    assert explained(f"explain={name}").startswith("loss=hinge\n")


@pytest.mark.parametrize(
    ("name", "headings"),
    [
        ("mlp", ["architecture=mlp", "architecture/discriminator=mlp", "architecture/generator=mlp"]),
        ("ring", ["dataset=ring", "experiment=ring"]),
        ("adam", ["optimizer=adam", "optimizer/generator=adam", "optimizer/discriminator=adam"]),
    ],
)
def test_an_option_of_several_groups_is_told_for_each(explained: Explain, name: str, headings: list[str]) -> None:
    lines = explained(f"explain={name}").splitlines()
    assert [line for line in lines if line.endswith(f"={name}") and line in headings] == [
        heading for group, option in OPTIONS if (heading := f"{group}={option}") in headings
    ]
    assert set(headings) <= set(lines)


@pytest.mark.parametrize("name", ["n_critic", "training.n_critic"])
def test_a_key_tells_its_meaning_and_default(explained: Explain, name: str) -> None:
    told = explained(f"explain={name}")
    assert told.splitlines()[0] == "training.n_critic"
    assert KEYS["training.n_critic"][0].description in told
    assert f"default: {compose_command('train', []).data['training']['n_critic']}" in told


def test_a_key_of_one_option_only_says_so(explained: Explain) -> None:
    told = explained("explain=regularizer.weight_clip.limit")
    assert told.endswith("\ndefault: 0.01\nonly with regularizer=weight_clip\n")


def test_a_key_with_a_meaning_for_each_option_tells_all(explained: Explain) -> None:
    told = explained("explain=dataset.target")
    for words in (
        "37 breeds",
        "values: breed or species\ndefault: breed\nonly with dataset=oxford_pets\n",
        "70 families",
    ):
        assert told.count(words) == 1


def test_a_group_lists_its_options(explained: Explain) -> None:
    told = explained("explain=loss")
    assert all(option in told for option in groups()["loss"])


SECTIONS = {dotted.rpartition(".")[0] for dotted in KEYS} - {""}


@pytest.mark.parametrize("section", sorted(SECTIONS | {section.partition(".")[0] for section in SECTIONS}))
def test_every_section_is_explained(explained: Explain, section: str) -> None:
    told = explained(f"explain={section}")
    if section.replace(".", "/") in groups():
        assert told.startswith(f"{section.replace('.', '/')}, one of\n")
        return
    inside = [key for key in KEYS if key.startswith(f"{section}.")]
    assert [line[2:] for line in told.splitlines() if line[2:] in KEYS and line.startswith("  ")] == inside
    assert told.startswith(f"{section}, the keys\n")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("ada", "training.augment"),
        ("psnr", "evaluation.metrics"),
        ("classifier", "evaluation.extractor"),
        ("late_linear", "training.lr_schedule"),
        ("ema", "training.ema_decay"),
        ("optimizer.lr=0.1", "optimizer.lr"),
        ("training.augment=[ada]", "training.augment"),
    ],
)
def test_a_value_or_a_word_leads_to_its_key(explained: Explain, name: str, key: str) -> None:
    told = explained(f"explain={name}")
    assert key in told.splitlines()
    assert KEYS[key][0].description in " ".join(told.split())


def test_a_value_of_several_keys_names_all(explained: Explain) -> None:
    assert explained("explain=cosine").startswith("cosine, a value of training.lr_schedule, schedule.lr.shape, ")


def test_every_value_of_every_key_is_explained(explained: Explain) -> None:
    words = {word for _, _, field in walk(Config) for word in words_of(field.annotation)}
    assert {"ada", "frechet", "bf16", "stddev", "orthogonal"} <= words
    for word in words:
        assert word in explained(f"explain={word}")


def test_keys_of_other_commands_are_explained(explained: Explain) -> None:
    assert explained("explain=truncation").startswith("gan-sample: truncation\n\ndraw latents within")
    assert explained("explain=overwrite").startswith(
        "gan-sample, gan-eval, gan-export, gan-direction, gan-report, gan-"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["explain=experiment=nope"], ["no option of experiment, expected one of anime", "more"]),
        (["explain=conditioning=tagz"], ["no option of conditioning", "did you mean 'tags'"]),
        (["explain=architecture/generator=dgan"], ["no option of architecture/generator", "did you mean 'dcgan'"]),
        (["explain=agument"], ["did you mean 'augment'"]),
        (["explain=nope"], ["neither an option nor a key; gan-train --help lists both"]),  # not 'none'
        (["explain=shedule"], ["did you mean 'schedule'"]),
        (["explain=froze.nothing"], ["neither an option nor a key"]),
        (["explain=wassertein"], ["explain=wassertein", "did you mean 'wasserstein'"]),
        (["explain=training.n_critik"], ["did you mean 'training.n_critic'"]),
        (["explain=nosuchthing12345"], ["explain=nosuchthing12345", "neither an option nor a key"]),
        (["explain=hinge", "steps=5"], ["steps=5", "stands alone"]),
        (["loss=hinge", "explain=hinge"], ["loss=hinge", "stands alone"]),
    ],
)
def test_a_wrong_question_is_one_line(explained: Explain, arguments: list[str], words: list[str]) -> None:
    said = explained(*arguments, code=2)
    assert said.count("\n") == 1
    for word in words:
        assert word in said


def test_texts_fit_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    told = explain_option("loss", "wasserstein").partition("also sets")[0]
    assert max(map(len, told.splitlines())) <= 60
