"""From a prepared run to its end: say what it is, train, and record how it ended."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gan_cli.config.image_sizes import padded
from gan_cli.config.options import CONVOLUTIONAL, GRADIENT_PENALTIES
from gan_cli.config.train_config import Config
from gan_cli.data.balance import note_on_counts
from gan_cli.data.dataset import Dataset
from gan_cli.device import describe_device
from gan_cli.errors import CollapsedError, DivergedError, GanCliError, counted, one_line
from gan_cli.evaluation.metrics.doubles import AT_A_START, describe_doubles
from gan_cli.models.build_networks import count_parameters
from gan_cli.models.layers import MinibatchDeviations, largest_group
from gan_cli.reports.report import write_run_report
from gan_cli.runs.comparability import MEASURED_ON
from gan_cli.runs.due import forget_due
from gan_cli.runs.log import RunLog
from gan_cli.runs.trackers import trackers_of
from gan_cli.state.train_state import Counters, TrainState
from gan_cli.storage.locks import signals
from gan_cli.storage.run_folder import read_record, write_record
from gan_cli.training.loop import train
from gan_cli.training.periodic_evaluation import describe_comparison, measured_on
from gan_cli.training.run import Run

FEW = 4  # samples, whose deviations tell little
ENDED = {DivergedError: "diverged", CollapsedError: "collapsed"}
STOPPED = dict(zip(signals("SIGINT", "SIGTERM", "SIGUSR1"), (130, 143, 138), strict=False))


class Ended(NamedTuple):
    """A run's folder, None if nothing was written, and the exit code: 0, or that of the signal that stopped it."""

    folder: Path | None
    code: int


def introduce(config: Config, dataset: Dataset, state: TrainState, log: RunLog, timed: str = "") -> None:
    """Says what will be trained on what, before the first step."""
    log.say(f"data: {dataset.source}" if dataset.complete else f"WARNING: {dataset.source}")
    for note in dataset.notes:
        log.say(note)
    unequal = note_on_counts(dataset.labels, dataset.classes, config.dataset.balance, bool(config.classes))
    if unequal is not None:
        log.say(unequal)
    if hasattr(config.dataset, "path"):  # a person's own
        for line in describe_doubles(dataset.samples, most=AT_A_START):
            log.say(f"data: {line}")
    if config.classes:
        log.say(f"classes: {', '.join(config.classes[:20])}{' ...' if len(config.classes) > 20 else ''}")
    elif dataset.labels is not None and len(dataset.classes) > 1:
        log.say(f"classes: {len(dataset.classes):,}, not used; conditioning=projection learns to make each")
    generator, discriminator = config.architecture.generator, config.architecture.discriminator
    log.say(
        f"networks: generator {generator.name} {count_parameters(state.generator):,} parameters,"
        f" discriminator {discriminator.name} {count_parameters(state.discriminator):,};"
        f" samples {'x'.join(map(str, config.sample_shape))}{_inside(config)}"
    )
    threads = torch.get_num_threads()
    log.say(
        f"device: {describe_device(state.device)}, {config.precision}, {threads} thread{'' if threads == 1 else 's'}"
        + (f" ({timed})" if timed else "")
    )
    _warn(config, log)


def _inside(config: Config) -> str:
    """Says of images with sides that cannot be halved at which the networks work; nothing of others."""
    sides, named = config.sample_shape[1:], {config.architecture.generator.name, config.architecture.discriminator.name}
    if not sides or not named & {*CONVOLUTIONAL} or padded(*sides) == sides:
        return ""
    height, width = padded(*sides)
    return f", made and judged at {height}x{width}: the border is cut"


def _warn(config: Config, log: RunLog) -> None:
    """Of what is allowed and seldom meant."""
    judged = config.batch_size // (config.training.accumulate * config.training.pack)
    group = largest_group(judged, MinibatchDeviations.group)
    if getattr(config.architecture.discriminator, "minibatch", "none") == "deviations" and group < FEW:
        log.say(
            f"warning: batches of {judged} fall into groups of {group}, too few for D to compare"
            f" (minibatch=deviations); use a multiple of {MinibatchDeviations.group}"
        )
    spectral = getattr(config.architecture.discriminator, "normalization", "none") == "spectral"
    bounded = spectral or config.regularizer.keys() & {*GRADIENT_PENALTIES, "weight_clip"}
    if config.loss.name == "wasserstein" and not bounded:
        chosen = f"[{','.join(config.regularizer)}]" if config.regularizer else "none"
        log.say(f"warning: loss=wasserstein regularizer={chosen} leaves D's slope unbounded and usually diverges")


def conduct(run: Run) -> Ended:
    """Trains, and records how it ended, also when it ended badly."""
    for line in _comparison(run):
        run.log.say(line, console=False)  # it was said when the real samples were looked at
    run.log.follow(trackers_of(run.config, run.folder, run.state.counters.step))
    try:
        received = train(run)
    except GanCliError as error:
        run.log.say(str(error), console=False)
        _record_end(run, ENDED.get(type(error), "failed"))
        run.log.finish()
        _report(run)
        forget_due(run.folder)
        raise
    finally:
        run.log.finish()
    counters = run.state.counters
    if counters.step == counters.total_steps and run.due is None:
        received = None  # it came when all was done
    _record_end(run, "done" if received is None else "stopped")
    if received is not None:
        _report(run)
        run.log.say(
            f"stopped by {received.name} at step {counters.step:,}{_left_out(run)}; go on by: gan-train"
            f" {_typed('resume', run)}"
        )
        return Ended(run.folder, STOPPED[received])
    run.log.say(f"done: {counted(counters.step, 'step')} in {run.state.seconds:.0f} s{_judgement(run)}")
    run.log.say(f"samples: {run.folder / 'samples' / f'step_{counters.step:08d}.png'}")
    _report(run)
    forget_due(run.folder)
    classes = run.config.classes
    more = shlex.quote(f"label={classes[0]}") if classes else "n=64 seed=0"
    if run.best is not None:
        (step, value), metric = run.best, run.config.selection_metric
        run.log.say(f"best: step {step:,}, {metric} {value:.4g}, which the run's folder now stands for")
    run.log.say(f"more: gan-sample {_typed('ckpt', run)} {more}")
    run.log.say(f"judge: gan-eval {_typed('ckpt', run)}")
    return Ended(run.folder, 0)


def _left_out(run: Run) -> str:
    """What a signal broke off after the step, and the resumed run does first."""
    if run.due is None:
        return ""
    work = [name for name, wanted in (("evaluation", run.due.evaluate), ("grid", run.due.sample)) if wanted]
    return f", its {' and '.join(work)} left for the resumed run" if work else ""


def _judgement(run: Run) -> str:
    """What was covered in the end, of data whose modes are known, and how often a class was what was asked for."""
    seen, text = run.last_evaluation, ""
    if "modes/covered" in seen:
        text += f"; {seen['modes/covered']:.0f} of {seen['modes/possible']:.0f} modes"
        if "modes/share" in seen:
            text += f", {seen['modes/share']:.1%} of samples within 3 standard deviations"
        text += f", reverse KL {seen['modes/reverse_kl']:.3f}"
    if "accuracy/class" in seen:
        text += f"; {seen['accuracy/class']:.1%} of samples are judged to be of the class asked for"
    return text


def _typed(key: str, run: Run) -> str:
    """`key=<the run's folder>`, quoted for a shell where it must be."""
    return shlex.quote(f"{key}={run.folder}")


def _report(run: Run) -> None:
    """Whatever goes wrong with it is told: a page is no reason for a run to fail."""
    try:
        run.log.say(f"report: {write_run_report(run.folder)}")
    except Exception as error:
        run.log.say(f"warning: the report was not written ({one_line(error, 200)})")


def _comparison(run: Run) -> list[str]:
    """What samples are compared with as the run goes, in lines."""
    return [] if run.reference is None else describe_comparison(run.reference, run.config.evaluation.metrics)


def _record_end(run: Run, status: str) -> None:
    findings = [dataclasses.asdict(found) for found in run.health.findings]
    more: dict[str, Any] = {"findings": findings, MEASURED_ON: measured_on(run), "compared_with": _comparison(run)}
    record_end(run.folder, status, run.state.counters, run.state.seconds, **more)


def close_record(folder: Path, counters: Counters, seconds: float) -> None:
    """Says of a run that was killed or stopped when all its steps were done that they are."""
    ended = read_record(folder).get("ended")
    if not isinstance(ended, dict) or ended.get("status") == "stopped":
        record_end(folder, "done", counters, seconds)


def record_end(folder: Path, status: str, counters: Counters, seconds: float, **more: Any) -> None:
    """Writes into the run's record that it ended so."""
    steps = {"step": counters.step, "total_steps": counters.total_steps}
    record = read_record(folder) | {"ended": {"status": status, **steps, "seconds": round(seconds, 3)}, **more}
    write_record(folder, record)
