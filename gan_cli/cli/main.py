"""The console commands: argv to an exit code. Imports no torch until a command really runs."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gan_cli import __version__
from gan_cli.errors import GanCliError, StorageError, UsageError, one_line
from gan_cli.isolated_process import isolate_children, isolate_main
from gan_cli.training.signals import interrupts_kept

OUT_OF_MEMORY = re.compile("out of memory|can't allocate memory|not enough memory", re.IGNORECASE)
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
COMPLETION = ("--shell-completion", "-sc")
FLAGS_WITH_VALUE = ("--cfg", "-c", "--package", "-p", "--config-dir", "-cd")


def train() -> int:
    """The console script `gan-train`."""
    return run_command("train", sys.argv[1:])


def sample() -> int:
    """The console script `gan-sample`."""
    return run_command("sample", sys.argv[1:])


def evaluate() -> int:
    """The console script `gan-eval`."""
    return run_command("eval", sys.argv[1:])


def export() -> int:
    """The console script `gan-export`."""
    return run_command("export", sys.argv[1:])


def report() -> int:
    """The console script `gan-report`."""
    return run_command("report", sys.argv[1:])


def compare() -> int:
    """The console script `gan-compare`."""
    return run_command("compare", sys.argv[1:])


def run_command(command: str, arguments: Sequence[str], folder: Path | None = None) -> int:
    """Runs `gan-<command>` with these arguments and returns its exit code; `folder` is where a sweep wants the run."""
    isolate_children()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a console that cannot spell a path shows it escaped
    with interrupts_kept():
        return run_guarded(command, lambda: _dispatch(command, list(arguments), folder))


def run_guarded(command: str, run: Callable[[], int]) -> int:
    """`run()`; a user's mistake is one line on stderr and its exit code, never a traceback."""
    try:
        return run()
    except GanCliError as error:
        print(f"gan-{command}: {one_line(error, 2000)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"gan-{command}: interrupted", file=sys.stderr)
        return 130
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not OUT_OF_MEMORY.search(str(error)):
            raise
        print(f"gan-{command}: out of memory: choose a smaller batch_size, image_size or network", file=sys.stderr)
        return UsageError.exit_code
    except BrokenPipeError:
        from gan_cli.runs.log import silence_stdout

        silence_stdout()
        return 0
    except OSError as error:
        print(f"gan-{command}: {one_line(error)}", file=sys.stderr)
        return StorageError.exit_code


def _dispatch(command: str, arguments: list[str], folder: Path | None) -> int:
    if "--version" in arguments:
        print(f"gan-cli {__version__}")
        return 0
    typed = shlex.join([f"gan-{command}", *arguments])
    from gan_cli.plugins.option_sources import open_sources, tell_taken

    arguments = open_sources(_with_keys(command, arguments))
    if "--help" in arguments or "-h" in arguments:
        from gan_cli.cli.help import help_text

        print(help_text(command), end="", flush=True)
        return 0
    if command == "train" and any(argument.startswith("explain=") for argument in arguments):
        from gan_cli.cli.explain import explain

        print(explain(arguments), end="", flush=True)
        tell_taken(command)
        return 0
    if command == "train" and ("-m" in arguments or "--multirun" in arguments):
        from gan_cli.sweeps.sweep import sweep

        return sweep([argument for argument in arguments if argument not in ("-m", "--multirun")], typed)
    rest = _without_config_flag(arguments)
    if rest is not None:
        return _print_config(command, rest)
    if any(argument.partition("=")[0] in HYDRA_FLAGS for argument in arguments):
        return _leave_to_hydra(command, arguments)
    return _train(arguments, typed, folder) if command == "train" else _run_other(command, arguments)


def _with_keys(command: str, arguments: list[str]) -> list[str]:
    """The arguments with words that stand alone, where a command takes such, as the value of their key."""
    from gan_cli.config.commands import MANY, POSITIONAL

    before = dict(zip(arguments[1:], arguments, strict=False))
    words = [
        argument
        for argument in arguments
        if "=" not in argument and not argument.startswith("-") and before.get(argument) not in FLAGS_WITH_VALUE
    ]
    if command not in POSITIONAL or not words:
        return arguments
    key, rest = POSITIONAL[command], [argument for argument in arguments if argument not in words]
    if key not in MANY:
        if len(words) > 1:
            raise UsageError(f"{words[1]}: gan-{command} takes one run or checkpoint, and {words[0]} is named already")
        return [*rest, f"{key}={words[0]}"]
    from gan_cli.config.overrides import quote

    named = ",".join(quote(os.path.expanduser(word)) for word in words)
    return [*rest, f"{key}=[{named}]"]


def _train(overrides: list[str], command: str, folder: Path | None) -> int:
    from gan_cli.api import read_overrides
    from gan_cli.plugins.option_sources import leaving_at_once, tell_taken
    from gan_cli.storage.locks import require_locks

    asked = read_overrides(overrides)
    if not asked.config.dry_run:
        require_locks()
    _refuse_processes()
    tell_taken("train")
    with leaving_at_once():
        from gan_cli.launch.launch import Request, launch

    return launch(Request(*asked, command=command, folder=folder)).code


def _refuse_processes() -> None:
    """UsageError in each of several processes that torchrun started, of which each would be a whole run."""
    count = os.environ.get("WORLD_SIZE", "1")
    if "TORCHELASTIC_RUN_ID" in os.environ and count not in ("", "1"):
        raise UsageError(
            f"torchrun started {one_line(count, 20)} processes: a run uses one card, start each by itself, as gan-train"
            " device=cuda device.index=0"
        )


def _run_other(command: str, arguments: list[str]) -> int:
    from gan_cli.config import schema
    from gan_cli.config.commands import RUNNERS, SCHEMAS
    from gan_cli.config.compose import compose_command
    from gan_cli.plugins.option_sources import leaving_at_once, tell_taken

    parsed = schema.parse(SCHEMAS[command], compose_command(command, arguments).data)
    tell_taken(command)
    module, _, function = RUNNERS[command].partition(":")
    with leaving_at_once():
        run = getattr(importlib.import_module(module), function)
    return run(parsed)


def _without_config_flag(arguments: list[str]) -> list[str] | None:
    """The arguments without `--cfg job` in any of its spellings; None if it is not among them."""
    joined = [argument for argument in arguments if argument not in ("--cfg=job", "-c=job", "-cjob")]
    for flag in ("--cfg", "-c"):
        if flag in joined and joined[joined.index(flag) + 1 :][:1] == ["job"]:
            at = joined.index(flag)
            joined = joined[:at] + joined[at + 2 :]
    return joined if len(joined) < len(arguments) else None


def _print_config(command: str, overrides: list[str]) -> int:
    """`--cfg job`: the config as a run would have it, which Hydra alone does not know."""
    from omegaconf import OmegaConf

    from gan_cli.config.compose import compose_command
    from gan_cli.plugins.option_sources import tell_taken

    print(OmegaConf.to_yaml(OmegaConf.create(compose_command(command, overrides).data)), end="", flush=True)
    tell_taken(command)
    return 0


def _with_recipe(overrides: list[str]) -> tuple[list[str], str]:
    """The overrides with the recipe that a run would take, which Hydra alone does not know; and what was asked for."""
    from gan_cli.config.compose import HYDRA_KEYS, compose_command
    from gan_cli.config.recipes import GROUP, USED

    own = [override for override in overrides if not override.lstrip("+").startswith(HYDRA_KEYS)]
    composed = compose_command("train", own)
    name, rest = composed.recipe.name, [each for each in overrides if not each.startswith(f"{GROUP}=")]
    return [*rest, f"{GROUP}={name}", f"{USED}={name}"], composed.data[GROUP]


@contextlib.contextmanager
def _showing(recipe: str) -> Iterator[None]:
    """Hydra prints the root key `recipe` as the file has it: to it, that is an option's name and no value."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        yield
    print(re.sub(r"^recipe: .*$", f"recipe: {recipe}", printed.getvalue(), flags=re.M), end="", flush=True)


def _leave_to_hydra(command: str, arguments: list[str]) -> int:
    """`--info`, other forms of `--cfg` and completion are Hydra's own, with our config folder and quoting."""
    import hydra

    from gan_cli.config.compose import searchpath_overrides
    from gan_cli.config.own_folder import quietly
    from gan_cli.config.search_path import config_folder
    from gan_cli.plugins.option_sources import tell_taken

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
    shown: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    completing = any(argument.partition("=")[0] in COMPLETION for argument in arguments)
    if command == "train" and not completing and "--hydra-help" not in flags:
        overrides, recipe = _with_recipe(overrides)
        shown = _showing(recipe)
    sys.argv = [f"gan-{command}", *flags, *([] if "--hydra-help" in flags else [*searchpath_overrides(), *overrides])]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raises, instead of printing and exiting with 1
    try:
        with quietly() if completing else shown:  # a shell shows it where the user is typing
            hydra.main(config_path=str(config_folder()), config_name=command, version_base="1.3")(lambda config: None)()
    except Exception as error:
        from gan_cli.errors import one_line

        raise UsageError(one_line(error)) from error
    if not completing:
        tell_taken(command)
    return 0


if __name__ == "__main__":
    isolate_main()
    sys.exit(run_command(sys.argv[1], sys.argv[2:]))
