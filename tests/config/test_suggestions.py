"""First mistakes get a line that says what to type, and every way that a hint names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from gan_cli.cli.keys import list_keys
from gan_cli.cli.main import run_command
from gan_cli.config import suggestions
from gan_cli.config.compose import groups
from gan_cli.config.options.fields import walk
from gan_cli.config.options.loop import metrics_of_other_tools
from gan_cli.config.options.objectives import CLASHING
from gan_cli.config.train_config import Config
from gan_cli.errors import UsageError, closest_match, count_noun
from support.commands import error_line
from support.configs import compose
from support.modules import FILES, syntax_tree


@pytest.mark.parametrize(
    ("command", "typed", "words"),
    [
        ("train", ["dataset=./many"], "write dataset=folder dataset.path=./many"),
        ("train", ["dataset=pictures.zip"], "write dataset=folder dataset.path=pictures.zip"),
        ("train", ["dataset=many"], "write dataset=folder dataset.path=many"),
        ("train", ["dataset.path=many"], "dataset.path: dataset=mnist has "),
        ("train", ["dataset.path=many"], "choose dataset=folder or dataset=webdataset"),
        (
            "train",
            ["task=inpainting", "task.source=edges"],
            "task.source: task=inpainting has mask, not this key; choose task=translation\n",
        ),
        ("train", ["task.mask=[box]"], "task.mask: task=generation has no keys; choose task=inpainting\n"),
        (
            "train",
            ["task=inpainting", "auxiliary.l2.weight=5"],
            "auxiliary.l2.weight: auxiliary=l2 is not chosen; add auxiliary=[l1,l2], or auxiliary=l2 alone\n",
        ),
        ("train", ["regularizer=none", "regularizer.r1.weight=1"], "add regularizer=r1\n"),
        (
            "train",
            ["regularizer=[r1,consistency]", "regularizer.lecam.weight=1"],
            "add regularizer=[r1,consistency,lecam], or",
        ),
        ("train", ["regularizer=gradient_penalty", "regularizer.weight_clip.limit=1"], "add regularizer=weight_clip\n"),
        (
            "train",
            ["task=inpainting", "task.mask=[center]"],
            "expected one or more of box, brush, centre, half (did you mean 'centre'?)\n",
        ),
        (
            "train",
            ["dataset=https://x.org/a"],
            "download what is there, and give its path as dataset=folder dataset.path=",
        ),
        (
            "train",
            ["dataset=folder", "dataset.path=https://x.org/a.zip"],
            "dataset.path=https://x.org/a.zip: URLs",
        ),
        ("train", ["init_from=hf://a/b"], "init_from=hf://a/b: URLs are not read or written"),
        ("sample", ["s3://x/y.safetensors"], "give its path as ckpt=..."),
        ("eval", ["real=http://x", "fake=y"], "give its path as real=..."),
        ("train", ["./many"], "for images write dataset=folder dataset.path=./many"),
        ("train", ["b02"], "continue that run with resume=b02"),
        ("train", ["x" * 300], "expected key=value; see --help"),
        ("train", ["outputs/b02"], "resume=outputs/b02, start from its networks with init_from=outputs/b02"),
        ("train", ["epochs=10"], "unknown key epochs: here it is steps=..."),
        ("train", ["num-epochs=10"], "here it is steps=..."),
        ("train", ["resolution=64"], "here it is image_size=..."),
        ("train", ["epoks=10"], "unknown key epoks: epochs is steps=..."),
        ("train", ["learning_rate=0.1"], "here it is optimizer.lr=..."),
        ("train", ["optimizer.learning_rate=0.1"], "here it is optimizer.lr=..."),
        ("train", ["g_lr=0.1"], "here it is optimizer.generator.lr=..."),
        ("train", ["++foo.bar=3"], "unknown key foo.bar; see --help"),
        ("train", ["++trainng.n_critic=3"], "did you mean 'training.n_critic'"),
        ("train", ["++seed=3"], "only set; write seed=..."),
        ("train", ["dataset=pets"], "did you mean 'oxford_pets'"),
        ("train", ["dataset=MNIST"], "did you mean 'mnist'"),
        ("train", ["device=tpu"], "expected one of auto, cpu, cuda, mps\n"),
        (
            "train",
            ["architecture=vgg"],
            "expected one of dcgan, edsr, fastgan, gated_unet, mlp, pggan, pix2pix, projected, r3gan, resnet,"
            " srresnet, stylegan2, subpixel\n",
        ),
        ("train", ["explain=wgan"], "neither an option nor a key; here it is loss=wasserstein; "),
        ("train", ["explain=epochs"], "here it is steps=..."),
        ("train", ["explain=foo"], "neither an option nor a key; gan-train --help lists both"),
        ("train", ["explain="], "expected an option or a key, as explain=hinge"),
        (
            "train",
            ["evaluation.metrics=[precision_recall,fid]"],
            "here it is evaluation.metrics=[frechet] evaluation.extractor=inception\n",
        ),
        ("eval", ["r", "metrics=FID"], "metrics=FID: here it is metrics=[frechet] extractor=inception\n"),
        ("eval", ["r", "metrics=[modes,memorisation]"], "did you mean 'memorization'"),
        ("eval", ["r", "metrics=frechet,kernel"], "frechet,kernel: a list is written metrics=[frechet,kernel]\n"),
        ("eval", ["r", "n=10,20"], "n=10,20: expected one value\n"),
        ("train", ["regularizer=r1,lecam"], "needs -m; a list is written regularizer=[r1,lecam]\n"),
        ("train", ["loss=hinge,minimax"], "several values are a sweep, which needs -m\n"),
        ("train", ["batch_size=1234567.5"], "batch_size=1234567.5: expected"),
        ("train", ["batch_size=123456789.0"], "batch_size=123456789.0: expected"),
        ("train", ["budget=20min"], "1.5h, or null (did you mean '20m'?)"),
        ("train", ["budget=1.5 Hours"], "(did you mean '1.5h'?)"),
        ("train", ["budget=3days"], "1.5h, or null\n"),
        ("train", ["name=.."], "begins with neither . nor -, of up to 100 letters without = or slashes, or null"),
        ("train", ["batch_size=1e12"], "batch_size=1e12: expected"),
        ("train", ["regularizer=[r1,r2"], "cannot be read as key=value: [ is never closed by ]\n"),
        ("train", ["name=a", "logger=it's"], ": ' is never closed by '\n"),
        ("train", ["logger=a=b"], """: = has a meaning of its own, quote the value, as "logger='a=b'"\n"""),
        ("train", ["--cfg", "jobb"], "--cfg jobb: expected one of job, hydra, all (did you mean 'job'?)\n"),
        ("train", ["--cfg"], "--cfg: expected one of job, hydra, all\n"),
        ("sample", ["r", "--n", "5"], "unknown flag --n: keys are written key=value, as n=..."),
        ("eval", ["--n", "5", "r"], "unknown flag --n: keys are written key=value, as n=..."),
        ("train", ["lr=0.1"], "did you mean 'optimizer.lr'"),
        ("train", ["dataset.kind=dog"], "unknown key dataset.kind: dataset has balance, classes, download,"),
        ("train", ["dataset.blance=true"], "did you mean 'dataset.balance'"),
        ("train", ["dataset.channels=1"], "here it is dataset.image_channels=..."),
        ("train", ["loss.foo=1"], "unknown key loss.foo: loss has weight; see --help"),
        ("train", ["regularizer.gamma=1"], "here it is regularizer.r1.weight=..."),
        ("train", ["regularizer.sigma=1"], "regularizer has r1.every, r1.weight; see --help"),
        ("train", ["trainng.n_critic=2"], "did you mean 'training.n_critic'"),
        ("train", ["evaluation.every=5"], "did you mean 'training.evaluate_every'"),
        ("train", ["training.steps=5"], "did you mean 'steps'"),
        ("train", ["training.lr=1"], "did you mean 'optimizer.lr'"),
        ("train", ["device=gpu"], "write device=cuda"),
        ("train", ["device=cuda:1"], "write device=cuda device.index=1"),
        ("sample", ["device=cuda:0"], "write device=cuda device.index=0"),
        ("train", ["device.index=1"], "choose device=cuda"),
        ("train", ["regularizer.lecam.weight=1"], "add regularizer=[r1,lecam], or regularizer=lecam alone"),
        ("train", ["architecture.generator.attention=8"], "choose architecture/generator=resnet"),
        ("train", ["loss=wgan-gp"], "write loss=wasserstein regularizer=gradient_penalty"),
        ("sample", ["count=5"], "here it is n=..."),
        ("eval", ["fid=true"], "here it is extractor=inception metrics=[frechet,kernel]"),
        ("export", ["model=x"], "here it is ckpt=RUN"),
    ],
)
def test_a_mistake_says_what_to_type(
    here: Path, capsys: pytest.CaptureFixture[str], command: str, typed: list[str], words: str
) -> None:
    Path("many").mkdir()
    (Path("outputs") / "b02" / "2026-01-01_000000" / "checkpoints").mkdir(parents=True)
    (Path("outputs") / "b02" / "2026-01-01_000000" / "config.json").write_text("{}")
    assert run_command(command, typed) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def ways(table: dict[str, str]) -> list[str]:
    return [way for text in table.values() for way in re.findall(r"([a-z0-9_./]+)=", text)]


@pytest.mark.parametrize("command", suggestions.KEYS_OF_OTHER_TOOLS)
def test_every_hint_names_keys_that_exist_for_words_that_do_not(command: str) -> None:
    known = list_keys(command).keys() | groups(command).keys()
    assert {way for way in ways(suggestions.KEYS_OF_OTHER_TOOLS[command]) if way not in known} == set()
    words = [word for text in suggestions.KEYS_OF_OTHER_TOOLS[command] for word in text.split()]
    assert len(set(words)) == len(words)
    assert not {*words} & known


def test_every_hint_for_an_option_names_one() -> None:
    options = groups()
    for group, table in suggestions.OPTIONS_OF_OTHER_TOOLS.items():
        for way in table.values():
            for key, value in (part.split("=") for part in way.split()):
                assert value in options[key], way
        assert not {word for text in table for word in text.split()} & {*options[group]}


@pytest.mark.parametrize("command", ["train", "eval"])
def test_every_metric_of_another_tool_has_one_here(command: str) -> None:
    known, section = list_keys(command), "evaluation." if command == "train" else ""
    for word, way in metrics_of_other_tools(section).items():
        accepted = {form.key: form.values for part in way.split()[3:] for form in known[part.partition("=")[0]]}
        for key, _, value in (part.partition("=") for part in way.split()[3:]):
            assert value.strip("[]") in " ".join(accepted[key]).replace(",", "").split(), way
            assert word != value.strip("[]")


@pytest.mark.parametrize(
    ("word", "known", "found"),
    [
        ("dgo", ["ant", "dog"], "dog"),
        ("wasser", ["hinge", "wasserstein"], "wasserstein"),
        ("stein", ["wasserstein"], None),
        ("size", ["image_size_of", "batch_size_of"], None),
        ("unet", ["resnet"], None),
        ("", ["a", ""], ""),
    ],
)
def test_a_word_is_suggested_only_if_it_is_near(word: str, known: list[str], found: str | None) -> None:
    assert closest_match(word, known) == found


def test_the_options_that_have_a_key() -> None:
    assert suggestions.options_with_key(Config, "dataset.path") == [
        "dataset=folder",
        "dataset=webdataset",
        "dataset=huggingface",
        "dataset=emoji",
        "dataset=emoji_pairs",
    ]
    assert (
        suggestions.options_with_key(Config, "steps") == suggestions.options_with_key(Config, "dataset.nothing") == []
    )
    assert suggestions.describe_choices(["a=1", "a=2"]) == "choose a=1 or a=2"


def test_one_is_no_plural() -> None:
    assert [count_noun(n, "job") for n in (0, 1, 2, 1000)] == ["0 jobs", "1 job", "2 jobs", "1,000 jobs"]
    assert count_noun(1, "class", "classes") == "1 class"
    assert count_noun(3, "class", "classes") == "3 classes"


NOUNS = ["jobs", "seeds", "walks", "samples", "images", "steps", "runs", "evaluations", "epochs", "combinations"]
SEVERAL = {  # their numbers are limits or counts that are never 1
    "mnist_family", "checkpoint_evaluation", "memorization", "resume", "start_run", "log",
    "combinations", "plan",
}  # fmt: skip


def test_numbers_are_written_by_count_noun() -> None:
    """No f-string writes `{number} jobs` itself, which would say 1 jobs; a constant is no number that can be 1."""
    trees = {path.name: syntax_tree(path) for path in FILES if path.stem not in SEVERAL}
    for name, node in [(name, node) for name, tree in trees.items() for node in ast.walk(tree)]:
        for value, text in zip(node.values, node.values[1:], strict=False) if isinstance(node, ast.JoinedStr) else ():
            if isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant):
                word = re.match(r" ([a-z]+)", str(text.value))
                constant = ast.unparse(value.value).isupper()
                assert constant or word is None or word[1] not in NOUNS, f"{name}:{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize(
    ("overrides", "advice"),
    [
        (
            ["architecture.generator.levels=4"],
            "architecture/generator=gated_unet (task=translation, inpainting)",
        ),
        (["task=inpainting", "architecture.generator.blocks=4"], "=edsr (task=translation, super_resolution)"),
        (["task=inpainting", "architecture.generator.attention=8"], "architecture/generator=resnet (task=generation)"),
        (
            ["task=translation", "architecture.generator.levels=2", "architecture=edsr"],
            "unet or architecture/generator=g",
        ),
        (["task=translation", "architecture=unet"], "write architecture=pix2pix"),
        (["task=super_resolution", "architecture=dcgan"], "architecture.generator=dcgan takes no image, use edsr"),
        (["task=super_resolution", "architecture=gated_unet"], "gated_unet does not enlarge, use edsr"),
        (["task=inpainting", "architecture=edsr"], "edsr takes no mask, use unet or gated_unet"),
    ],
)
def test_advice_on_networks_fits_the_task(overrides: list[str], advice: str) -> None:
    with pytest.raises(UsageError) as error:
        compose("dataset=shapes", "dataset.image_channels=3", *overrides)
    assert advice in str(error.value)


@pytest.mark.parametrize(("together", "reason"), CLASHING)
def test_a_suggestion_never_adds_what_would_be_refused_beside_it(
    here: Path, capsys: pytest.CaptureFixture[str], together: tuple[str, str], reason: str
) -> None:
    for chosen, other in (together, together[::-1]):
        key = next(dotted for dotted, option, _ in walk(Config) if option == f"regularizer={other}")
        assert f"add regularizer={other}\n" in error_line(capsys, "train", f"regularizer={chosen}", f"{key}=1")
    refused = error_line(capsys, "train", f"regularizer=[{','.join(together)}]")
    assert f"regularizer=[{','.join(together)}]: {reason}, choose one" in refused
