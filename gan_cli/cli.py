"""The console commands: argv to an exit code. Imports no torch until a command really runs."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gan_cli import __version__
from gan_cli.errors import GanCliError, UsageError

HYDRA_FLAGS = (
    "--cfg",
    "-c",
    "--info",
    "-i",
    "--hydra-help",
    "--shell-completion",
    "-sc",
    "--package",
    "-p",
    "--resolve",
)
FLAGS_WITH_VALUE = ("--cfg", "-c", "--package", "-p")


def train() -> int:
    """The console script `gan-train`."""
    return run_command("train", sys.argv[1:])


def sample() -> int:
    """The console script `gan-sample`."""
    return run_command("sample", sys.argv[1:])


def run_command(command: str, arguments: Sequence[str]) -> int:
    """Runs `gan-<command>` with these arguments and returns its exit code."""
    return run_guarded(command, lambda: _dispatch(command, list(arguments)))


def run_guarded(command: str, run: Callable[[], int]) -> int:
    """`run()`; a user's mistake is one line on stderr and its exit code, never a traceback."""
    try:
        return run()
    except GanCliError as error:
        print(f"gan-{command}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        from gan_cli.runlog import silence_stdout

        silence_stdout()
        return 0


def _dispatch(command: str, arguments: list[str]) -> int:
    if "--version" in arguments:
        print(f"gan-cli {__version__}")
        return 0
    if "--help" in arguments or "-h" in arguments:
        from gan_cli.help import help_text

        print(help_text(command), end="", flush=True)
        return 0
    from gan_cli.compose import quote_literals

    arguments = [quote_literals(argument) for argument in arguments]
    if command == "train" and ("-m" in arguments or "--multirun" in arguments):
        from gan_cli.sweep import sweep

        return sweep([argument for argument in arguments if argument not in ("-m", "--multirun")])
    if arguments[-2:] == ["--cfg", "job"] or arguments[:2] == ["--cfg", "job"]:
        return _print_config(command, [argument for argument in arguments if argument not in ("--cfg", "job")])
    if any(argument.partition("=")[0] in HYDRA_FLAGS for argument in arguments):
        return _leave_to_hydra(command, arguments)
    return COMMANDS[command](arguments)


def _train(arguments: list[str]) -> int:
    return train_command(arguments, shlex.join(["gan-train", *arguments]))


def train_command(overrides: list[str], command: str, folder: str | None = None) -> int:
    """Composes, validates and trains; `folder` is where a sweep wants the run."""
    from gan_cli import config
    from gan_cli.compose import compose_command

    composed = compose_command("train", overrides)
    parsed = config.parse(composed.data)
    with leaving_at_once():
        from gan_cli.launch import Request, launch

    return launch(Request(parsed, composed.named, composed.brought, command, Path(folder) if folder else None))


def _sample(arguments: list[str]) -> int:
    from gan_cli import schema
    from gan_cli.compose import compose_command
    from gan_cli.config import SampleConfig

    parsed = schema.parse(SampleConfig, compose_command("sample", arguments).data)
    with leaving_at_once():
        from gan_cli.sample import sample as run_sample

    return run_sample(parsed)


def _print_config(command: str, overrides: list[str]) -> int:
    """`--cfg job`: the config as a run would have it, which Hydra alone does not know."""
    from omegaconf import OmegaConf

    from gan_cli.compose import compose_command

    print(OmegaConf.to_yaml(OmegaConf.create(compose_command(command, overrides).data)), end="", flush=True)
    return 0


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """A Ctrl-C during the import of torch ends the process: there, an exception may be turned into another."""
    before = signal.signal(signal.SIGINT, lambda number, frame: os._exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


COMMANDS: dict[str, Callable[[list[str]], int]] = {"train": _train, "sample": _sample}


def _leave_to_hydra(command: str, arguments: list[str]) -> int:
    """`--info`, other forms of `--cfg` and completion are Hydra's own, with our config folder and quoting."""
    import hydra

    from gan_cli.compose import config_folder

    flags: list[str] = []
    overrides: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        flags.append(argument)
        if argument in FLAGS_WITH_VALUE or argument in ("--info", "-i", "-sc"):
            flags += [value for value in [next(rest, None)] if value is not None]
    sys.argv = [f"gan-{command}", *flags, *([] if "--hydra-help" in flags else overrides)]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raises, instead of printing and exiting with 1
    try:
        hydra.main(config_path=str(config_folder()), config_name=command, version_base="1.3")(lambda config: None)()
    except Exception as error:
        from gan_cli.errors import one_line

        raise UsageError(one_line(error)) from error
    return 0


if __name__ == "__main__":
    sys.exit(run_command(sys.argv[1], sys.argv[2:]))
