"""The trial of a dry run: does each part of a run once in a temporary folder, by the code of training, and times it."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import torch

from gan_cli.device import synchronize
from gan_cli.errors import CheckpointError, count_noun
from gan_cli.evaluation.callbacks import LogCallback
from gan_cli.evaluation.compute import evaluate_samples
from gan_cli.evaluation.generated_samples import FIRST_EVALUATION_SEED, SampleSource, generate_evaluated
from gan_cli.evaluation.metrics.classifier import (
    Classifier,
    LabelledImages,
    describe_too_few,
    train_classifier,
)
from gan_cli.evaluation.paired_inputs import paired_inputs
from gan_cli.evaluation.real_data import MIN_SAMPLES, RealData, find_real_data
from gan_cli.evaluation.reference import build_extractor, build_reference
from gan_cli.preflight.data_audit import Row
from gan_cli.preflight.estimate import Costs, format_bytes, format_seconds
from gan_cli.state import checkpoint
from gan_cli.state.train_state import require_finite, state_tensors
from gan_cli.storage.run_folder import CHECKPOINTS, LAST
from gan_cli.training.alternation import Alternation
from gan_cli.training.periodic_evaluation import (
    check_config_metrics,
    evaluated_generator,
    expected_seconds,
)
from gan_cli.training.run import Run
from gan_cli.training.sample_grids import PROGRESS, grid_path, save_progress_animation, save_real_samples, save_samples
from gan_cli.training.step_metrics import metrics_to_keep, peak_memory, step_metrics
from gan_cli.training.steps import training_step
from gan_cli.training.throughput import RunTimer

MOST_SECONDS, MOST_ROUNDS = 3.0, 33  # of updates; there are at least two rounds
MOST_UPDATES = 5  # of each network in a round
WARMUP_SHARE = 0.1  # of the rounds that are not timed, besides the first
SAMPLES = 100  # of the metric
FEW_STEPS, FEW_IMAGES = 10, 1000  # of the classifier


def try_everything(run: Run) -> tuple[list[Row], Costs]:
    """Does some steps, one grid, one metric and one checkpoint round trip. Writes into `run.folder` alone.

    Returns rows that say what was done, and what each part of a run costs once. Raises DivergedError if a number is not
    finite, UsageError if a metric does not suit the data, CheckpointError if the checkpoint that is read differs from
    the state.
    """
    timer = RunTimer(run.state)
    save_real_samples(run)
    update_seconds, step_text = _try_steps(run)
    require_finite(run.state, state_tensors(run.state))
    with timer.pause("log"):
        values = step_metrics(run, timer)
    require_finite(run.state, values)
    with timer.pause("grid"):
        save_samples(run)
    with timer.pause("frame"):
        save_progress_animation(run)
    metric_text, preparation, evaluation = _try_metric(run)
    with timer.pause("checkpoint"):
        run.save_checkpoint(metrics_to_keep(run))
    peak = _describe_peak(run)  # before the checkpoint is read, because a run does not read its own
    saved = run.folder / CHECKPOINTS / LAST
    files = {"grid": grid_path(run), "frame": run.folder / PROGRESS, "checkpoint": saved}
    sizes = {name: path.stat().st_size if path.exists() else 0 for name, path in files.items()}
    sizes["log"] = len(json.dumps(values)) + 1
    seconds = {**timer.pause_seconds, "update": update_seconds, "evaluation": evaluation, "preparation": preparation}
    checkpoint_text = f"{format_bytes(sizes['checkpoint'])}, saved in {format_seconds(seconds['checkpoint'])}"
    rows = [
        Row("step", step_text),
        Row("grid", f"{format_bytes(sizes['grid'])}, written in {format_seconds(seconds['grid'])}"),
        Row("metric", metric_text),
        Row("checkpoint", f"{checkpoint_text}, {_try_reading(run, saved)}"),
        Row("peak memory", peak),
    ]
    return rows, Costs(seconds, sizes)


# --- steps -------------------------------------------------------------------------------------------------------


def _try_steps(run: Run) -> tuple[float, str]:
    """Does rounds of updates. Returns the mean seconds of an update after the warm-up, and a text.

    A mean, since lazy penalties make some updates slower than others.
    """
    state, whole = run.state, run.objective.alternation
    alternation = Alternation(min(whole.d_updates, MOST_UPDATES), min(whole.g_updates, MOST_UPDATES))
    objective = dataclasses.replace(run.objective, alternation=alternation)
    seconds: list[float] = []
    while len(seconds) < 2 or (len(seconds) <= MOST_ROUNDS and sum(seconds) < MOST_SECONDS):
        started = time.perf_counter()
        for _ in range(alternation.d_updates + alternation.g_updates):
            training_step(state, objective, run.batches)
        synchronize(state.device)
        seconds.append(time.perf_counter() - started)
    timed = seconds[1 + int(WARMUP_SHARE * (len(seconds) - 1)) :]
    update_seconds = sum(timed) / len(timed) / (alternation.d_updates + alternation.g_updates)
    step_seconds = update_seconds * (1 + whole.d_updates / whole.g_updates)
    count = count_noun(alternation.g_updates * len(timed), "step")
    slow = format_seconds(seconds[0] / alternation.g_updates)
    text = f"about {format_seconds(step_seconds)}, the mean of {count}; the first took {slow}"
    return update_seconds, text


# --- metric ------------------------------------------------------------------------------------------------------


class BriefClassifiers:
    """Trains classifiers for FEW_STEPS steps, in place of `load_assessed_classifier`, and caches nothing on the disk.

    `seconds` are those that the whole training of all of them would take.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._trained: dict[tuple[int, ...], Classifier] = {}

    def __call__(self, data: LabelledImages, log: LogCallback, otherwise: str) -> tuple[Classifier | None, str]:
        too_few = describe_too_few(data.labels)
        if too_few:
            return None, too_few
        key = (data.images.shape[1], *(attribute.size for attribute in data.attributes))
        if key not in self._trained:
            started = time.perf_counter()
            few = data._replace(images=data.images[:FEW_IMAGES], labels=data.labels[:FEW_IMAGES])
            self._trained[key] = train_classifier(few, FEW_STEPS)
            self.seconds += (time.perf_counter() - started) * few.design.steps / FEW_STEPS
        return self._trained[key], ""


def _try_metric(run: Run) -> tuple[str, float, float]:
    """Computes the config's metrics, else the Frechet distance, on few samples, and classifies some if the run does.

    Returns a text, the seconds of what evaluations need before the first of them, and those of an evaluation.
    """
    config, dataset = run.config, run.batches.dataset
    names = config.evaluation.metrics
    run.load_classifier = brief = BriefClassifiers()
    evaluation = expected_seconds(run)  # of the classification of samples alone, because the run has no reference
    real = find_real_data(config.dataset, config.image_size, dataset) if names else RealData(dataset, dataset)
    n = min(config.evaluation.n, real.max_per_side)
    few = min(n, SAMPLES)
    if few < MIN_SAMPLES and not names:
        return "none, there are too few samples", brief.seconds, evaluation
    name = config.evaluation.extractor if names else "auto" if dataset.samples.ndim == 2 else "random"
    extractor = build_extractor(name, real, run.log.info, brief, names, run.state.device)
    started = time.perf_counter()
    reference = build_reference(real, extractor, few, cached=False)
    reference.inputs = paired_inputs(config, real, few)
    check_config_metrics(config, reference)
    prepared = time.perf_counter()
    generator = evaluated_generator(run) if names else run.state.sampler
    generating = time.perf_counter()
    source, wanted = SampleSource(generator, config, dataset, FIRST_EVALUATION_SEED, few), names or ("frechet",)
    samples, repeats, *_ = generate_evaluated(reference, source, few, wanted)
    found, _ = evaluate_samples(reference, samples, wanted, resamples=0, repeats=repeats)
    done = time.perf_counter()
    names_found = ", ".join(metric.name for metric in found)
    text = f"{names_found} of {count_noun(few, 'sample')}: {format_seconds(done - prepared)}"
    if not names:
        return f"{text} (not computed in the run)", brief.seconds, evaluation
    preparation = brief.seconds + (prepared - started) * n / few
    evaluation += (generating - prepared) + (done - generating) * n / few
    return f"{text}; of {n:,} about {format_seconds(evaluation)}", preparation, evaluation


# --- checkpoint --------------------------------------------------------------------------------------------------


def _try_reading(run: Run, path: Path) -> str:
    """Reads the checkpoint that was just saved. Returns a text with the seconds and the number of tensors.

    Raises CheckpointError if its tensors or counters differ from those of the state.
    """
    started = time.perf_counter()
    loaded = checkpoint.load(path)
    seconds = time.perf_counter() - started
    state = {name: tensor.detach().cpu() for name, tensor in state_tensors(run.state).items()}
    same = loaded.tensors.keys() == state.keys() and loaded.counters == run.state.counters
    if not same or not all(torch.equal(loaded.tensors[name], tensor) for name, tensor in state.items()):
        raise CheckpointError("a checkpoint of the trial was read with other tensors or counters than were saved")
    return f"read in {format_seconds(seconds)}: all {len(state)} tensors are equal"


# --- texts -------------------------------------------------------------------------------------------------------


def _describe_peak(run: Run) -> str:
    """Returns the peak memory of the process, and that of a GPU with the size of its memory."""
    device = run.state.device
    text = f"{format_bytes(peak_memory(torch.device('cpu')) * 2**20)} of main memory"
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        text += f", {format_bytes(peak_memory(device) * 2**20)} of the {format_bytes(total)} of the GPU"
    return text
