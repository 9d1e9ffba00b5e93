"""Trains a prepared run: logs the setup, trains, and logs how the run ended."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from gan_cli.config import train_config
from gan_cli.config.options.image_sizes import padded_size
from gan_cli.config.options.loop import unused_augmentations
from gan_cli.config.options.networks.architectures import CONVOLUTIONAL
from gan_cli.config.options.networks.pretrained import describe_other_objective
from gan_cli.config.options.objectives import GRADIENT_PENALTIES, spectral_setting
from gan_cli.config.options.tasks import example_options
from gan_cli.config.options.untrusted_files import words_to_name
from gan_cli.config.train_config import Config
from gan_cli.data.balance import class_balance_note
from gan_cli.data.dataset import Dataset
from gan_cli.data.streamed_images import stop_decoding
from gan_cli.device import describe_device
from gan_cli.errors import (
    CollapsedError,
    DivergedError,
    GanCliError,
    StorageError,
    count_noun,
    first_few,
    format_number,
    one_line,
)
from gan_cli.evaluation.metrics.duplicates import MAX_BYTES_AT_START, describe_duplicates
from gan_cli.image_labels.shown_classes import describe_shown
from gan_cli.launch.autotune import describe_precision
from gan_cli.launch.finish import finish
from gan_cli.launch.out_of_memory import naming_batch_that_works
from gan_cli.models.build_networks import count_parameters
from gan_cli.models.layers import MinibatchDeviations, largest_divisor
from gan_cli.runs.log import RunLog
from gan_cli.state.train_state import TrainState
from gan_cli.stop_signals import STOP_CODES
from gan_cli.training.loop import train
from gan_cli.training.periodic_evaluation import describe_comparison
from gan_cli.training.run import Run
from gan_cli.training.sample_grids import grid_path

SMALL_GROUP = 4  # samples; the standard deviation of fewer samples is hardly useful
STATUS_OF_ERROR = {DivergedError: "diverged", CollapsedError: "collapsed"}


class RunResult(NamedTuple):
    """The run's folder, None if nothing was written, and the exit code: 0, or that of the signal that stopped it."""

    folder: Path | None
    code: int


def log_setup(config: Config, dataset: Dataset, state: TrainState, log: RunLog, threads_note: str = "") -> None:
    """Logs a description of the data, the networks and the device, with warnings, before the first step."""
    log.info(f"data: {dataset.source}" if dataset.complete else f"WARNING: {dataset.source}")
    for note in data_notes(config, dataset):
        log.info(note)
    if hasattr(config.dataset, "path"):  # the user's own images
        for line in describe_duplicates(dataset.samples, most=MAX_BYTES_AT_START):
            log.info(f"data: {line}")
    if config.classes:
        log.info(f"classes: {first_few(config.classes, 20)}")
        if note := describe_shown(config.classes):
            log.info(f"rows of sample grids: {note}; gan-sample label=NAME shows others")
    elif dataset.labels is not None and len(dataset.classes) > 1:
        log.info(f"classes: {len(dataset.classes):,}, not used; {_way_to_use_classes(config)}")
    generator, discriminator = config.architecture.generator, config.architecture.discriminator
    shape = "x".join(map(str, config.sample_shape))
    log.info(
        f"networks: generator {generator.name} {count_parameters(state.generator):,} parameters,"
        f" discriminator {discriminator.name} {count_parameters(state.discriminator):,};"
        f" samples {shape if 'x' in shape else f'of {shape} coordinates'}{_padding_note(config)}"
    )
    log.info(
        f"device: {describe_device(state.device)}, {config.precision}, {count_noun(torch.get_num_threads(), 'thread')}"
        + (f" ({threads_note})" if threads_note else "")
    )
    if line := describe_precision(config, state.device):
        log.info(line)
    log_processes(config, state, log)
    _log_warnings(config, log)


def log_processes(config: Config, state: TrainState, log: RunLog) -> None:
    """Logs how several processes divide the work."""
    count, kind = config.device.processes, config.device.batch_norm
    if count == 1:
        return
    layers = [*state.generator.modules(), *state.discriminator.modules()]
    statistics = "of the whole batch" if kind == "synchronized" else "of each process's part"
    norm = (
        f"; batch normalization by statistics {statistics}"
        if any(isinstance(each, _BatchNorm) for each in layers)
        else ""
    )
    shared = f"each batch of {config.batch_size} is divided equally among them, and so are the samples of evaluations"
    log.info(f"processes: {count}, {shared}{norm}")


def _way_to_use_classes(config: Config) -> str:
    generator = config.architecture.generator
    if "labels" in getattr(generator, "condition_parts", ("labels",)):
        return "conditioning=projection learns to generate each"
    return f"architecture.generator={generator.name} takes no labels"


def data_notes(config: Config, dataset: Dataset) -> list[str]:
    """Returns lines about the data set: its own notes, then one about classes of unequal size."""
    unequal = class_balance_note(dataset.labels, dataset.classes, config.dataset.balance, bool(config.classes))
    return [*dataset.notes, *filter(None, [unequal])]


def _padding_note(config: Config) -> str:
    """Returns text that names the larger size at which convolutional networks work, if they crop their output."""
    sides, named = config.sample_shape[1:], {config.architecture.generator.name, config.architecture.discriminator.name}
    if not sides or not named & {*CONVOLUTIONAL} or padded_size(*sides) == sides:
        return ""
    height, width = padded_size(*sides)
    return f", inside the networks {height}x{width}: the border is cut"


def _log_warnings(config: Config, log: RunLog) -> None:
    """Logs warnings about settings that are valid but rarely intended."""
    batch = config.batch_size // (config.training.accumulate * config.training.pack)
    group = largest_divisor(batch, MinibatchDeviations.group)
    if getattr(config.architecture.discriminator, "minibatch", "none") == "deviations" and group < SMALL_GROUP:
        log.info(
            f"warning: a batch of {batch} is split into groups of {group}, too few for D to compare"
            f" (minibatch=deviations); use a multiple of {MinibatchDeviations.group}"
        )
    channels = config.sample_shape[0]
    if len(config.sample_shape) > 1 and (unused := unused_augmentations(config.training.augment, channels)):
        names = " and ".join(unused)
        log.info(f"training.augment: {names} change nothing on images of {count_noun(channels, 'channel')}")
    if advice := describe_other_objective(config):
        log.info(advice)
    spectral = spectral_setting(config.architecture.discriminator)
    bounded = spectral or config.regularizer.keys() & {*GRADIENT_PENALTIES, "weight_clip"}
    if config.loss.name == "wasserstein" and not bounded:
        chosen = f"[{','.join(config.regularizer)}]" if config.regularizer else "none"
        log.info(f"warning: loss=wasserstein regularizer={chosen} leaves D's slope unbounded and usually diverges")


def run_training(run: Run, resume_command: str) -> RunResult:
    """Trains until the end or a signal, records how the run ended, even by an error, and writes the report.

    `resume_command` is the command that resumes the run, which a run that is stopped logs.
    """
    for line in describe_comparison(run.reference, run.config.evaluation.metrics):
        run.log.info(line, console=False)  # already printed when the reference was built
    run.log.attach(run.config, run.state.counters.step)
    try:
        with naming_batch_that_works(run.config, run.batches.dataset, run.state, resume_command):
            received = train(run)
    except GanCliError as error:
        run.log.info(str(error), console=False)
        run.log.stop_progress()
        _finish_after(error, run)
        raise
    finally:
        run.log.stop_progress()
        stop_decoding(run.batches.dataset.samples)
    counters = run.state.counters
    if counters.step == counters.total_steps and run.due is None:
        received = None  # the signal came after the last step
    if received is not None:
        finish(run, "stopped")
        run.log.info(
            f"stopped by {received.name} at step {counters.step:,}{_unfinished_work(run)}; to resume: {resume_command}"
        )
        return RunResult(run.folder, STOP_CODES[received])
    run.log.info(f"done: {count_noun(counters.step, 'step')} in {run.state.seconds:.0f} s{_final_metrics(run)}")
    run.log.info(f"samples: {grid_path(run)}")
    finish(run, "done")
    _log_next_commands(run)
    return RunResult(run.folder, 0)


def _finish_after(error: GanCliError, run: Run) -> None:
    """Records the error by which a run ended. If the record cannot be written, only warns: the error is the reason."""
    try:
        finish(run, STATUS_OF_ERROR.get(type(error), "failed"))
    except (OSError, StorageError) as unwritten:
        run.log.info(f"warning: how the run ended was not recorded ({one_line(unwritten, 200)})")


def _log_next_commands(run: Run) -> None:
    """Logs the best step of a finished run, and the commands that generate samples with it and evaluate it."""
    if run.best is not None:
        (step, value), metric = run.best, run.config.selection_metric
        run.log.info(f"best: step {step:,}, {metric} {format_number(value)}; commands on the run's folder use it")
    words, classes = words_to_name(train_config.to_dict(run.config)), run.config.classes
    ckpt = shlex.join([f"ckpt={run.folder}", *(words[key] for key in words if key == "plugins")])
    data = [words[key].removeprefix("dataset.path=") for key in words if key == "dataset.path"]
    drawn = "n=64 seed=0" if run.inputs is None else example_options(run.config.task.name)
    options = shlex.quote(f"label={classes[0]}") if classes and run.inputs is None else drawn
    run.log.info(f"more samples: gan-sample {ckpt} {options}")
    run.log.info(" ".join([f"evaluate: gan-eval {ckpt}", *(shlex.quote(f"data={each}") for each in data)]))


def _unfinished_work(run: Run) -> str:
    """Returns text that names the work that a signal interrupted at the last step; a resumed run does it first."""
    if run.due is None:
        return ""
    work = [name for name, wanted in (("evaluation", run.due.evaluate), ("grid", run.due.sample)) if wanted]
    return f", its {' and '.join(work)} left for the resumed run" if work else ""


def _final_metrics(run: Run) -> str:
    """Returns text with the mode coverage and the class accuracy of the last evaluation, where they were measured."""
    metrics, text = run.last_evaluation, ""
    if "modes/covered" in metrics:
        text += f"; {metrics['modes/covered']:.0f} of {metrics['modes/possible']:.0f} modes"
        if "modes/share" in metrics:
            text += f", {metrics['modes/share']:.1%} of samples within 3 standard deviations"
        text += f", reverse KL {metrics['modes/reverse_kl']:.3f}"
    if "accuracy/class" in metrics:
        text += f"; {metrics['accuracy/class']:.1%} of samples are classified as the requested class"
    return text
