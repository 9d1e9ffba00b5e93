"""Runs the console commands: reads the arguments and returns an exit code. Imports no torch until a command runs."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import io
import os
import pkgutil
import re
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from gan_cli import __version__
from gan_cli.distributed.process_environment import read_environment, reports_losses, stop_with_parent
from gan_cli.errors import (
    GanCliError,
    LostProcessError,
    StorageError,
    UsageError,
    describe_reason,
    is_out_of_memory,
    one_line,
)
from gan_cli.isolated_process import isolate_children, isolate_main
from gan_cli.stop_signals import STOP_CODES, Interrupted, StopSignals, exit_on_signal
from gan_cli.streams import require_output, tolerant_streams

LARGE = {  # what makes a command need much memory
    "train": "batch_size, image_size or network",
    "sample": "batch_size or n",
    "eval": "n, n_real or batch_size",
    "project": "batch_size",
    "direction": "batch_size",
}
CONFIG_FLAGS = ("--cfg", "-c")
# The others change what these print.
HYDRA_FLAGS = (*CONFIG_FLAGS, "--info", "-i", "--shell-completion", "-sc", "--hydra-help")
COMMANDS = ("train", "sample", "eval", "export", "project", "direction", "demo", "report", "compare")
FLAGS_WITH_VALUE = (*CONFIG_FLAGS, "--package", "-p", "--config-dir", "-cd")


def run_command(command: str, arguments: Sequence[str], folder: Path | None = None) -> int:
    """Runs `gan-<command>` and returns its exit code. `folder` is the run's folder if a sweep chose the folder.

    A run of `gan-train` goes on if nothing can be printed, because its folder has the log. Other commands then fail.
    """
    isolate_children()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # else it searches all installed packages for plugins
    with tolerant_streams(), StopSignals() as stop:
        try:
            if command == "train":
                stop_with_parent()
            with stop.interruptible():
                return _dispatch(command, list(arguments), folder)
        except (GanCliError, KeyboardInterrupt, MemoryError, RuntimeError, OSError, ImportError) as error:
            message, code = _describe_error(command, error)
            if not isinstance(error, LostProcessError) or reports_losses():
                print(f"gan-{command}: {message}", file=sys.stderr)
            return code


def _describe_error(command: str, error: BaseException) -> tuple[str, int]:
    """Returns one line and the exit code for an error that the user can correct. Raises any other error again."""
    if isinstance(error, GanCliError):
        return one_line(error, 2000), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        number = error.args[0] if isinstance(error, Interrupted) else signal.SIGINT
        return f"stopped by {number.name}", STOP_CODES[number]
    if isinstance(error, OSError):
        return _describe_os_error(error), StorageError.exit_code
    if isinstance(error, RecursionError):
        return "a path or a value has too many levels", UsageError.exit_code
    if isinstance(error, ImportError) and is_out_of_memory(error):
        return f"out of memory before anything was computed: {one_line(error, 200)}", UsageError.exit_code
    if is_out_of_memory(error):
        advice = f": choose a smaller {LARGE[command]}" if command in LARGE else ""
        return f"out of memory{advice}", UsageError.exit_code
    raise error


def _describe_os_error(error: OSError) -> str:
    """Returns one line with the file and, if a disk is full, the bytes that are free there."""
    if error.filename is None:
        return one_line(error)
    path = Path(os.fsdecode(error.filename))
    return one_line(f"{path}: {describe_reason(error, path.parent)}", 400)


def _dispatch(command: str, arguments: list[str], folder: Path | None) -> int:
    """Prints a version, help, explanation or config, or runs a sweep, Hydra or the command. Returns the exit code."""
    if "--version" in arguments:
        print(f"gan-cli {__version__}")
        require_output()
        return 0
    _require_current_folder()
    typed = shlex.join([f"gan-{command}", *arguments])
    from gan_cli.plugins.option_sources import print_used_files, read_option_sources

    arguments = read_option_sources(_with_positional_keys(command, arguments))
    text = _text_of(command, arguments)
    if text is not None:
        print(text, end="", flush=True)
        print_used_files(command)
        require_output()
        return 0
    if _is_sweep(command, arguments):
        from gan_cli.sweeps.run_sweep import run_sweep

        gc.enable()
        if read_environment() is not None:
            raise UsageError("-m: a sweep starts its jobs itself; leave torchrun out, and give device.processes=2")
        return run_sweep([argument for argument in arguments if argument not in ("-m", "--multirun")], typed)
    shows_config = any(argument.partition("=")[0] in HYDRA_FLAGS for argument in arguments)
    if command == "train" and not shows_config:
        return _train(arguments, typed, folder)
    code = _run_hydra(command, arguments) if shows_config else _run_by_config(command, arguments)
    require_output()
    return code


def _require_current_folder() -> None:
    """Raises StorageError if the folder in which the user stands was removed. Relative paths then mean nothing."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise StorageError("the current folder was removed: change to another folder") from error


def _text_of(command: str, arguments: list[str]) -> str | None:
    """Returns the help, schema, explanation or config that the arguments request; None if they request a run.

    The config is that of `--cfg job`, as a run would use it. Hydra alone would omit the recipe.
    """
    if "--help" in arguments or "-h" in arguments:
        from gan_cli.cli.help import help_text

        return help_text(command)
    if any(argument.partition("=")[0] == "--schema" for argument in arguments):
        from gan_cli.cli.json_schema import requested_schema

        return requested_schema(command, arguments)
    if command == "train" and any(argument.startswith("explain=") for argument in arguments):
        from gan_cli.cli.explain import explain

        return explain(arguments)
    rest = None if _is_sweep(command, arguments) else _without_config_flag(arguments)
    if rest is None:
        return None
    from omegaconf import OmegaConf

    from gan_cli.config.compose import compose_command

    return OmegaConf.to_yaml(OmegaConf.create(compose_command(command, rest).data))


def _is_sweep(command: str, arguments: list[str]) -> bool:
    return command == "train" and ("-m" in arguments or "--multirun" in arguments)


def _with_positional_keys(command: str, arguments: list[str]) -> list[str]:
    """Returns the arguments, with each argument without `=` turned into the value of the command's positional key."""
    from gan_cli.config.commands import LIST_KEYS, POSITIONAL_KEY
    from gan_cli.config.overrides import quote_for_hydra, read_override

    before = dict(zip(arguments[1:], arguments, strict=False))
    words = [
        argument
        for argument in arguments
        if "=" not in argument and not argument.startswith("-") and before.get(argument) not in FLAGS_WITH_VALUE
    ]
    if command not in POSITIONAL_KEY or not words:
        return arguments
    key, rest = POSITIONAL_KEY[command], [argument for argument in arguments if argument not in words]
    if key in LIST_KEYS:
        named = ",".join(quote_for_hydra(os.path.expanduser(word)) for word in words)
        return [*rest, f"{key}=[{named}]"]
    if len(words) > 1:
        for flag in [before[word] for word in words if word in before]:
            if flag.startswith("-") and flag not in HYDRA_FLAGS:
                read_override(flag)  # says that the flag, whose value the word is meant to be, is unknown
        raise UsageError(f"{words[1]}: gan-{command} takes one run or checkpoint, and {words[0]} is given already")
    return [*rest, f"{key}={words[0]}"]


def _train(overrides: list[str], command: str, folder: Path | None) -> int:
    """Runs `gan-train` and returns its exit code. `command` is the typed command line, which the run records."""
    from gan_cli.api_arguments import read_overrides

    with exit_on_signal():
        request = dataclasses.replace(read_overrides(overrides), command=command, folder=folder)
    from gan_cli.cli.early_checks import check_training  # only now, since a wrong option needs none of these modules
    from gan_cli.distributed.process_count import settle_processes
    from gan_cli.plugins.option_sources import print_used_files
    from gan_cli.storage.locks import require_file_locks

    gc.enable()
    if not request.config.dry_run:
        require_file_locks()
    environment = read_environment()
    config = settle_processes(request.config, request.named, None if environment is None else environment.count)
    request, device = dataclasses.replace(request, config=config), config.device
    check_training(request)
    if environment is None and device.processes > 1 and not request.config.dry_run:
        from gan_cli.cli.start_processes import train_in_processes

        return train_in_processes(shlex.split(command)[1:], folder, device.processes, device.timeout)
    print_used_files("train")
    with exit_on_signal():
        from gan_cli.launch.start_run import launch
        from gan_cli.launch.train_together import train_together

    code = launch(request).code if environment is None else train_together(request, environment)
    if request.config.dry_run:
        require_output()
    return code


def _run_by_config(command: str, arguments: list[str]) -> int:
    """Runs a command other than `gan-train` with its validated config and returns its exit code."""
    from gan_cli.config.commands import RUNNERS, SCHEMAS
    from gan_cli.config.compose import compose_command
    from gan_cli.config.validation import parse
    from gan_cli.plugins.option_sources import print_used_files

    with exit_on_signal():
        parsed = parse(SCHEMAS[command], compose_command(command, arguments).data)
    from gan_cli.cli.early_checks import check_command

    check_command(command, parsed)
    gc.enable()
    print_used_files(command)
    with exit_on_signal():
        run = pkgutil.resolve_name(RUNNERS[command])
    return run(parsed)


def _without_config_flag(arguments: list[str]) -> list[str] | None:
    """Returns the arguments without the flag `--cfg job` in any spelling; None if the flag is not among them."""
    joined = [argument for argument in arguments if argument not in ("--cfg=job", "-c=job", "-cjob")]
    for flag in CONFIG_FLAGS:
        if flag in joined and joined[joined.index(flag) + 1 :][:1] == ["job"]:
            index = joined.index(flag)
            joined = joined[:index] + joined[index + 2 :]
    return joined if len(joined) < len(arguments) else None


def _with_recipe(overrides: list[str]) -> tuple[list[str], str]:
    """Returns the overrides, now with the recipe that a run would use, and the recipe that was requested ("auto")."""
    from gan_cli.config.compose import HYDRA_KEYS, compose_command
    from gan_cli.config.recipes import GROUP, USED_KEY

    own = [override for override in overrides if not override.lstrip("+").startswith(HYDRA_KEYS)]
    composed = compose_command("train", own)
    name, rest = composed.recipe.name, [each for each in overrides if not each.startswith(f"{GROUP}=")]
    return [*rest, f"{GROUP}={name}", f"{USED_KEY}={name}"], composed.data[GROUP]


@contextlib.contextmanager
def _printing_recipe(recipe: str) -> Iterator[None]:
    """While entered, changes the line `recipe: ...` of what Hydra prints, so that the line shows the value `recipe`.

    Hydra itself would print the name of the recipe that is used instead of the recipe that was requested.
    """
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        yield
    print(re.sub(r"^recipe: .*$", f"recipe: {recipe}", printed.getvalue(), flags=re.M), end="", flush=True)


def _run_hydra(command: str, arguments: list[str]) -> int:
    """Runs Hydra itself for `--info`, other forms of `--cfg`, and shell completion. Returns 0."""
    import hydra

    from gan_cli.cli.hydra_flags import read_hydra_flags
    from gan_cli.config.compose import searchpath_overrides
    from gan_cli.config.search_path import config_folder, without_notices
    from gan_cli.plugins.option_sources import print_used_files

    read = read_hydra_flags(arguments)
    flags, overrides = [argument for argument in arguments if argument not in read.overrides], read.overrides
    printing: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if read.shell_completion:
        printing = without_notices()  # which would appear in the line that the user types
    elif command == "train" and not read.hydra_help:
        overrides, recipe = _with_recipe(overrides)
        printing = _printing_recipe(recipe)
    sys.argv = [f"gan-{command}", *flags, *([] if read.hydra_help else [*searchpath_overrides(), *overrides])]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise instead of printing and exiting with 1
    try:
        with printing:
            hydra.main(config_path=str(config_folder()), config_name=command, version_base="1.3")(lambda config: None)()
    except SystemExit as error:
        return UsageError.exit_code if error.code else 0
    except Exception as error:
        raise UsageError(one_line(error)) from error
    if not read.shell_completion:
        print_used_files(command)
    return 0


def main() -> int:
    """Runs the command of `python -m gan_cli COMMAND ...` and returns its exit code."""
    isolate_main()
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        is_help = sys.argv[1:] in (["--help"], ["-h"])
        with tolerant_streams():
            usage = f"usage: python -m gan_cli {{{','.join(COMMANDS)}}} [key=value ...]"
            print(usage, file=sys.stdout if is_help else sys.stderr)
        return 0 if is_help else UsageError.exit_code
    return run_command(sys.argv[1], sys.argv[2:])
