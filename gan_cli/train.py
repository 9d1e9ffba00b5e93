"""The one training loop: whose turn it is, one update, and what is due after a step."""

from __future__ import annotations

import dataclasses
import re
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from gan_cli import checkpoint, pictures
from gan_cli.checkpoint import Provenance
from gan_cli.config import Config
from gan_cli.data import known_modes
from gan_cli.data.dataset import Dataset, draw_batch, to_unit
from gan_cli.errors import DivergedError, StorageError
from gan_cli.generation import generate
from gan_cli.pace import Pace
from gan_cli.runfolder import CHECKPOINTS, SAMPLES
from gan_cli.runlog import RunLog
from gan_cli.state import Counters, TrainState, state_tensors
from gan_cli.steps import DiscriminatorOutcome, GeneratorOutcome, discriminator_step, generator_step
from gan_cli.stop import StopSignals

SHOWN_IMAGES, SHOWN_POINTS = 64, 1000


@dataclass
class Run:
    """One run in progress: what it works on and where it leaves things.

    `discriminator_metrics` are those of D's half of the current step, kept when a run stops between the halves.
    """

    config: Config
    state: TrainState
    dataset: Dataset
    folder: Path
    log: RunLog
    provenance: Provenance
    discriminator_metrics: dict[str, float] = field(default_factory=dict)


def train(run: Run) -> signal.Signals | None:
    """Trains until the last step or a signal, which is returned; everything it makes is in `run.folder`.

    DivergedError if the state stops being finite; StorageError if the last checkpoint cannot be written.
    """
    config, state, counters = run.config, run.state, run.state.counters
    fresh = counters.d_updates == 0
    if fresh:
        _save_real_samples(run)
    pace = Pace(state)
    judged: DiscriminatorOutcome | None = None
    made: GeneratorOutcome | None = None
    step_done = fresh  # a resumed run did what was due after its step before it stopped
    saved: Counters | None = None
    with StopSignals() as stop:
        while True:
            finished = counters.total_steps is not None and counters.step >= counters.total_steps
            if step_done:
                if made is not None and _due(counters.step, config.training.log_every, finished):
                    _log_metrics(run, pace, judged, made)
                if _due(counters.step, config.training.sample_every, finished):
                    _save_samples(run)
                if _due(counters.step, config.training.checkpoint_every, finished):
                    saved = _save_periodic(run)
            if finished or stop.received is not None:
                break
            if turn(counters, config.training.n_critic) == "discriminator":
                batch = draw_batch(run.dataset, config.seed, config.batch_size, counters.d_updates, state.device)
                judged, step_done = discriminator_step(state, config, batch), False
            else:
                made, step_done = generator_step(state, config), True
                run.log.advance(counters.step, counters.total_steps)
            pace.tick()
            if step_done and counters.total_steps is None:
                _fix_budget(run, pace)
        if judged is not None and not step_done:
            run.discriminator_metrics = _discriminator_metrics(run, judged)
        if saved != counters:
            _save_checkpoint(run)
    _save_film(run)
    return stop.received


def turn(counters: Counters, n_critic: int) -> str:
    """Whose update is next: D's until it has made `n_critic` for the coming one of G."""
    return "discriminator" if counters.d_updates < (counters.step + 1) * n_critic else "generator"


def _due(step: int, every: int, finished: bool) -> bool:
    return finished or (every > 0 and step % every == 0) or step == 0


def _fix_budget(run: Run, pace: Pace) -> None:
    assert run.config.budget is not None  # total_steps is None for a budget only
    steps = pace.steps_in(run.config.budget)
    if steps is not None:
        run.state.counters.total_steps = steps
        run.log.say(f"budget={run.config.budget}: {steps:,} steps, from the pace of its first 5 %")


# --- what is due after a step ------------------------------------------------------------------------------------


def _log_metrics(run: Run, pace: Pace, judged: DiscriminatorOutcome | None, made: GeneratorOutcome) -> None:
    """The only place where training waits for its figures."""
    config, state = run.config, run.state
    if judged is not None:
        run.discriminator_metrics = _discriminator_metrics(run, judged)
    rates = {
        f"learning_rate/{role}": getattr(state, f"{role}_optimizer").param_groups[0]["lr"]
        for role in ("generator", "discriminator")
    }
    values = {
        "step": state.counters.step,
        "images_seen": state.counters.d_updates * config.batch_size,
        **run.discriminator_metrics,
        "loss/generator": made.loss.item(),
        "grad_norm/generator": _gradient_norm(state.generator),
        **rates,
        "images_per_second": round(pace.images_per_second(config.batch_size), 1),
        "memory/peak_mb": _peak_memory(state.device),
        "seconds": round(state.seconds, 3),
    }
    run.log.metrics(values, state.counters.total_steps)


def _discriminator_metrics(run: Run, judged: DiscriminatorOutcome) -> dict[str, float]:
    tensors = {
        "loss/discriminator": judged.loss,
        "logits/real": judged.real_logits.mean(),
        "logits/fake": judged.fake_logits.mean(),
        "accuracy/real": (judged.real_logits > 0).float().mean(),
        "accuracy/fake": (judged.fake_logits < 0).float().mean(),
        **{f"penalty/{name}": value.detach() for name, value in judged.penalties.items()},
    }
    values = torch.stack(list(tensors.values())).tolist()
    return dict(zip(tensors, values, strict=True)) | {
        "grad_norm/discriminator": _gradient_norm(run.state.discriminator)
    }


def _gradient_norm(network: nn.Module) -> float:
    """Of the gradients that the network's last update left behind."""
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    return nn.utils.get_total_norm(gradients).item()


def _peak_memory(device: torch.device) -> float:
    """MiB: allocated on the GPU at most, else resident at most."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB; bytes on macOS
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _save_samples(run: Run) -> None:
    modes = known_modes(run.config.dataset)
    count = SHOWN_IMAGES if modes is None else SHOWN_POINTS
    latent_dim = run.config.architecture.generator.latent_dim
    samples = torch.cat(list(generate(run.state.sampler, range(count), latent_dim, SHOWN_IMAGES)))
    _require_finite(run, {"a sample": samples})
    path = run.folder / SAMPLES / f"step_{run.state.counters.step:08d}.png"
    _tolerate(run, lambda: pictures.save_picture(pictures.draw_samples(samples, modes), path))


def _save_real_samples(run: Run) -> None:
    modes = known_modes(run.config.dataset)
    samples = to_unit(run.dataset.samples[: SHOWN_IMAGES if modes is None else SHOWN_POINTS])
    path = run.folder / SAMPLES / "real.png"
    _tolerate(run, lambda: pictures.save_picture(pictures.draw_samples(samples, modes), path))


def _save_film(run: Run) -> None:
    frames = sorted(path for path in (run.folder / SAMPLES).glob("step_*.png") if re.fullmatch(r"step_\d+", path.stem))
    _tolerate(run, lambda: pictures.save_film(frames, run.folder / "progress.webp"))


def _save_periodic(run: Run) -> Counters | None:
    """A checkpoint on the way: if it cannot be written the run warns and goes on. What was saved, if it was."""
    try:
        _save_checkpoint(run)
    except StorageError as error:
        run.log.say(f"warning: {error}; going on, the next checkpoint may succeed")
        return None
    return dataclasses.replace(run.state.counters)


def _save_checkpoint(run: Run) -> None:
    _require_finite(run, state_tensors(run.state))
    seconds, budget_start = run.state.seconds, run.state.budget_start
    provenance = dataclasses.replace(run.provenance, seconds=seconds, budget_start=budget_start)
    counters = run.state.counters
    between_halves = counters.d_updates > counters.step * run.config.training.n_critic
    metrics = run.discriminator_metrics if between_halves else {}
    checkpoint.save(run.state, run.config, run.folder / CHECKPOINTS, provenance, metrics)


def _require_finite(run: Run, tensors: dict[str, torch.Tensor]) -> None:
    """Numbers that are not finite never reach a file."""
    bad = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if bad:
        raise DivergedError(
            f"diverged: {bad[0]} is not finite at step {run.state.counters.step:,}; the last good checkpoint is in"
            f" {run.folder / CHECKPOINTS}. Try a lower optimizer.lr, or regularizer=r1"
        )


def _tolerate(run: Run, write: Callable[[], None]) -> None:
    """A picture that cannot be written is told, and does not end a run."""
    try:
        write()
    except OSError as error:
        run.log.say(f"warning: a picture could not be written ({error})")
