"""The commands as a person starts them: exit codes, one line on stderr, nothing written, signals, pipes, speed."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gan_cli import __version__
from gan_cli.cli import main
from gan_cli.cli.keys import list_keys
from gan_cli.cli.main import run_command
from gan_cli.config.compose import groups
from gan_cli.state import checkpoint
from gan_cli.state.checkpoint import LAST
from support.commands import run_process
from support.configs import TINY_IMAGES
from support.preloaded_python import preloaded_python

FOLDERS = ["a b", "epoch=3", "[run]", "it's", 'say "x"', "ünï 日本", "run(1)", "{a}", "${x}", "a,b", "~tilde", "a#b"]


def test_help_shows_examples_then_groups_then_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("train", ["--help"]) == 0
    text = capsys.readouterr().out
    assert text.index("Examples") < text.index("Groups") < text.index("Keys") < text.index("Flags")
    for group, options in groups().items():
        assert re.search(rf"^  {group} +{', '.join(options)}$", text, re.M), group
    for name, (first, *others) in list_keys("train").items():
        lines = [rf"  {re.escape(name)} +{re.escape(first.line)}", *(f" +{re.escape(key.line)}" for key in others)]
        assert re.search("\n".join(["", *lines, ""]), text), name
    assert run_command("sample", ["-h"]) == 0
    assert "loss" not in capsys.readouterr().out.split("Groups")[1]


def test_help_names_a_group_only_for_a_command_that_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    for command, words in (
        ("train", "(--schema=dataset)"),
        ("eval", "(--schema=device)"),
        ("compare", "the config and"),
    ):
        assert run_command(command, ["--help"]) == 0
        assert words in " ".join(capsys.readouterr().out.split())


def test_the_usage_of_the_module_is_printed_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "isolate_main", lambda: None)
    for arguments, code in ((["--help"], 0), (["-h"], 0), ([], 2), (["trian"], 2)):
        monkeypatch.setattr(sys, "argv", ["gan_cli", *arguments])
        assert main.main() == code
        printed = capsys.readouterr()
        assert (printed.err if code else printed.out).startswith("usage: python -m gan_cli {train,")
        assert "" in (printed.out, printed.err)


@pytest.mark.parametrize("command", ["train", "sample"])
def test_version_is_ours(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(command, ["--version"]) == 0
    assert capsys.readouterr().out == f"gan-cli {__version__}\n"


def test_help_and_mistakes_answer_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from gan_cli.cli.main import run_command;"
        " print([run_command('train', [argument]) for argument in ('--help', 'loss=hnge', 'batch_size=0')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.endswith("\n[0, 2, 2]\n"), done.stderr
    assert "Traceback" not in done.stderr


MISTAKES = {
    "an unknown option": (["loss=hnge"], 2),
    "an unknown key": (["los=hinge"], 2),
    "a new key": (["+x=1"], 2),
    "a wrong type": (["steps=many"], 2),
    "a batch larger than the data": ([*TINY_IMAGES, "batch_size=300"], 2),
    "data that are not there": (["dataset=fashion_mnist", "dataset.download=false", "dataset.root=nowhere"], 2),
    "no bundled digits wanted": (
        ["dataset.download=false", "dataset.root=nowhere", "dataset.fallback=error"],
        2,
    ),
    "a device that is not there": ([*TINY_IMAGES, "device=cuda", "device.index=1000"], 2),
    "batch norm with a gradient penalty": ([*TINY_IMAGES, "architecture.discriminator.normalization=batch"], 2),
    "a run that is not there": (["resume=nowhere"], 2),
    "steps to add to nothing": (["extra_steps=5"], 2),
    "two ends": ([*TINY_IMAGES, "steps=5", "budget=5s"], 2),
    "a sweep without -m": (["loss=hinge,minimax"], 2),
    "a flag of another tool": (["--steps", "5"], 2),
    "a word": (["mnist"], 2),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_written(
    here: Path, capsys: pytest.CaptureFixture[str], mistake: str
) -> None:
    arguments, code = MISTAKES[mistake]
    assert run_command("train", arguments) == code
    out, error = capsys.readouterr()
    assert error.startswith("gan-train: ")
    assert error.count("\n") == 1
    assert out == ""
    assert list(here.iterdir()) == []


def test_a_mistake_ends_a_process_by_its_code(tmp_path: Path) -> None:
    done = run_process("train", "loss=hnge", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_cannot_be_leaves_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from torchvision.datasets import FashionMNIST

    assert FashionMNIST.mirrors[0].startswith("http")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
        assert run_command("train", ["dataset=fashion_mnist"]) == 2
    said = capsys.readouterr()
    assert "downloading" in said.out
    assert said.err.count("\n") == 1
    assert "put train-images-idx3-ubyte.gz" in said.err
    assert [path for path in here.parent.rglob("*") if path != here] == []


def test_too_large_a_network_is_refused_before_it_is_built(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    huge = ["architecture=mlp", "architecture.discriminator.width=8192", "architecture.discriminator.depth=32"]
    assert run_command("train", [*TINY_IMAGES[:3], *huge]) == 2
    error = capsys.readouterr().err
    assert "architecture.discriminator: 2," in error
    assert error.count("\n") == 1
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(("command", "key"), [("train", "resume"), ("sample", "ckpt"), ("train", "dataset.root")])
@pytest.mark.parametrize("value", ["x" * 300, "~nosuchuser/x", "a\nb\x1b[31mred", "\udcff"])
def test_no_path_gives_more_than_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], command: str, key: str, value: str
) -> None:
    quiet = ["dataset.download=false", "dataset.fallback=error"] if command == "train" else []
    assert run_command(command, [f"{key}={value}", *quiet]) in (2, 3, 5)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "\x1b" not in error


def test_running_out_of_memory_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gan_cli.launch import start_run

    def too_much(*arguments: object) -> None:
        import torch

        torch.empty(1 << 50)

    monkeypatch.setattr(start_run, "build_dataset", too_much)
    assert run_command("train", list(TINY_IMAGES)) == 2
    assert "out of memory: choose a smaller batch_size" in capsys.readouterr().err


def test_torch_that_does_not_fit_into_memory_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gan_cli.launch import start_run

    def fail(*arguments: object) -> None:
        raise ImportError("libtorch_cpu.so: failed to map segment from shared object")

    monkeypatch.setattr(start_run, "build_dataset", fail)
    assert run_command("train", list(TINY_IMAGES)) == 2
    assert "out of memory before anything was computed: libtorch_cpu.so" in capsys.readouterr().err


def test_a_console_that_cannot_spell_a_path(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii", write_through=True))
    assert run_command("train", [*TINY_IMAGES, "steps=1", "output=ü"]) == 0
    assert list((here / "ü").glob("*/*/config.json"))
    assert b"\\xfc" in written.getvalue()


def test_a_full_console_ends_no_run(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [preloaded_python(), "-m", "gan_cli.cli", "train", *TINY_IMAGES, "steps=2"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_a_folder_that_cannot_be_written_is_an_output_error(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "file").write_text("in the way")
    assert run_command("train", [*TINY_IMAGES, "output=file"]) == 5
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "file" in error


def test_any_folder_works_from_training_to_sampling(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each in another that has such a name too."""
    name = "/".join(FOLDERS)
    out = here / name
    assert run_command("train", [*TINY_IMAGES, "steps=1", f"output=./{name}"]) == 0
    run = next(out.glob("*/*"))
    assert run_command("train", [f"resume={run}", "extra_steps=1"]) == 0
    assert run_command("sample", [f"ckpt={run}", "n=4", f"out=./{name}/made"]) == 0
    assert list((out / "made").glob("*.png"))
    for folder in (here, *list(out.parents)[len(FOLDERS) - 2 :: -1]):
        assert len(list(folder.iterdir())) == 1


def test_a_data_root_with_odd_letters(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from support.published.digits import write_digits

    write_digits(here / "my [data], it's = ~/MNIST" / "raw", compress=True)
    tiny = [override for override in TINY_IMAGES if not override.startswith(("dataset", "image_size"))]
    root = "dataset.root=./my [data], it's = ~"
    assert run_command("train", [*tiny, root, "dataset.fallback=error", "dataset.download=false", "steps=1"]) == 0
    run = next((here / "outputs").glob("*/*"))
    assert json.loads((run / "config.json").read_text())["data"]["samples"] == 30


def start(cwd: Path, *arguments: str, python: str | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [python or preloaded_python(), "-m", "gan_cli.cli", "train", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path: Path, number: signal.Signals, code: int) -> None:
    child = start(tmp_path, *TINY_IMAGES, "steps=1e6")
    while (
        not list(tmp_path.glob("outputs/*/*/metrics.jsonl"))
        or not next(tmp_path.glob("outputs/*/*/metrics.jsonl")).read_text()
    ):
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert child.returncode == code
    assert err == ""
    assert "to resume: gan-train resume=" in out
    run = next(tmp_path.glob("outputs/*/*"))
    assert checkpoint.load(run / "checkpoints" / LAST).counters.step > 0


def processor_seconds(number: int) -> float:
    """What a process has computed so far, however busy the machine is."""
    fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="no /proc")
@pytest.mark.parametrize("seconds", [1.0, 2.0])
def test_a_signal_while_starting_is_quiet(tmp_path: Path, seconds: float) -> None:
    """Within the import of torch, the drawing of data or the first steps."""
    child = start(tmp_path, *TINY_IMAGES, "steps=1e6", python=sys.executable)
    try:
        while processor_seconds(child.pid) < seconds:
            assert child.poll() is None
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    finally:
        child.kill()  # if it did not heed the signal
    assert child.returncode == 130
    assert "Traceback" not in err


def test_a_closed_pipe_does_not_end_a_run(tmp_path: Path) -> None:
    with start(tmp_path, *TINY_IMAGES, "steps=30") as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert "Traceback" not in child.stderr.read()
        assert child.wait(60) == 0
    run = next(tmp_path.glob("outputs/*/*"))
    assert checkpoint.load(run / "checkpoints" / LAST).counters.step == 30


def test_the_composed_config_can_be_printed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("train", ["loss=wasserstein", "output=a [b]", "--cfg", "job"]) == 0
    printed = capsys.readouterr().out
    assert "zero_centered" in printed
    assert "a [b]" in printed
    assert list(here.iterdir()) == []


def test_the_printed_config_is_what_a_run_would_have(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in (["--cfg", "job"], ["--cfg=job"], ["-c", "job"]):
        assert run_command("train", ["experiment=gan2014_mnist", *flag, "architecture=dcgan"]) == 0
        printed = capsys.readouterr().out
        assert "base_channels" in printed
        assert "width" not in printed


@pytest.mark.parametrize("flags", [["--info", "config"], ["--cfg", "hydra"], ["--hydra-help"]])
def test_hydra_s_own_flags_work_with_overrides_before_them(tmp_path: Path, flags: list[str]) -> None:
    done = run_process("train", "loss=hinge", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "hydra" in done.stdout.lower()
    assert list(tmp_path.iterdir()) == []


def test_home_is_expanded(tmp_path: Path) -> None:
    done = run_process("train", *TINY_IMAGES, "steps=1", "output=~/runs", cwd=tmp_path, HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "home" / "runs").glob("*/*/config.json"))
    assert os.listdir(tmp_path) == ["home"]


def test_an_interrupt_while_options_are_read_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "_exit", sys.exit)
    before = signal.getsignal(signal.SIGINT)
    for command, reader in (
        ("train", "gan_cli.api_arguments.read_overrides"),
        ("sample", "gan_cli.config.compose.compose_command"),
    ):
        monkeypatch.setattr(reader, lambda *given: signal.raise_signal(signal.SIGINT))
        with pytest.raises(SystemExit) as ended:
            run_command(command, [])
        assert ended.value.code == 130
        assert signal.getsignal(signal.SIGINT) is before


def test_a_full_disk_is_named_with_the_bytes_that_are_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "a.json"))

    monkeypatch.setattr(main, "_dispatch", fail)
    assert run_command("report", ["x"]) == 5
    line = capsys.readouterr().err
    assert re.fullmatch(rf"gan-report: {tmp_path}/a.json: No space left on device, [\d,]+ bytes free\n", line)
