"""The figures of a step, from what its two halves left: the only place where training waits for the device."""

from __future__ import annotations

import sys

import torch
from torch import nn

from gan_cli.build import latent_of
from gan_cli.data import known_modes
from gan_cli.generation import generate
from gan_cli.labels import evenly
from gan_cli.metrics.modes import count_modes
from gan_cli.pace import Pace
from gan_cli.run import Run
from gan_cli.steps import DiscriminatorOutcome, GeneratorOutcome
from gan_cli.turns import turn_lengths, whose_turn
from gan_cli.vitals import separation, vital_signs

MODE_SEEDS = range(10_000, 12_500)  # as many samples as the published counts are of, apart from the pictures'


def discriminator_metrics(run: Run, judged: DiscriminatorOutcome) -> dict[str, float]:
    """What D's last update saw. Accuracies are shares of logits on the right side of zero."""
    tensors = {
        "loss/discriminator": judged.loss,
        "logits/real": judged.real_logits.mean(),
        "logits/fake": judged.fake_logits.mean(),
        "logits/auc": separation(judged.real_logits, judged.fake_logits),
        "accuracy/real": (judged.real_logits > 0).float().mean(),
        "accuracy/fake": (judged.fake_logits < 0).float().mean(),
        "grad_norm/discriminator": gradient_norm(run.state.discriminator),
    }
    return _numbers(tensors) | _penalties(run) | {"learning_rate/discriminator": judged.learning_rate}


def metrics_to_keep(run: Run) -> dict[str, float]:
    """What later lines of metrics need of D's past updates, for a checkpoint to keep.

    Of a turn that is over, the last value of each penalty, for a lazy one may be some updates old; while G is still at
    its updates of a turn, all that D saw last.
    """
    turn = turn_lengths(run.config, run.batches)
    whose = whose_turn(run.state.counters, *turn, run.config.training.critic_warmup)
    if whose == "generator" and run.state.counters.step % turn[1]:
        judged = run.state.judged
        return run.discriminator_metrics if judged is None else discriminator_metrics(run, judged)
    return _penalties(run)


def _penalties(run: Run) -> dict[str, float]:
    """The last value of each penalty, unweighted."""
    return {f"penalty/{name}": value.item() for name, value in run.state.penalties.items()}


def step_metrics(run: Run, made: GeneratorOutcome, pace: Pace) -> dict[str, float]:
    """The line of `metrics.jsonl` for the step that G's update `made` ended."""
    config, state = run.config, run.state
    tensors = {"loss/generator": made.loss, "grad_norm/generator": gradient_norm(state.generator)}
    return {
        "step": state.counters.step,
        "images_seen": state.counters.images_seen(config.batch_size),
        **run.discriminator_metrics,
        **_numbers(tensors),
        **vital_signs(state, config, run.batches),
        **mode_metrics(run),
        "learning_rate/generator": made.learning_rate,
        "images_per_second": round(pace.images_per_second(config.batch_size), 1),
        "memory/peak_mb": peak_memory(state.device),
        "seconds": round(state.seconds, 3),
    }


def mode_metrics(run: Run) -> dict[str, float]:
    """How many modes the present generator covers, of data whose modes are known; nothing for others."""
    modes = known_modes(run.config.dataset)
    if modes is None or len(modes.centres) == 0:
        return {}
    conditions = evenly(run.config.classes, MODE_SEEDS)
    made = generate(run.state.sampler, latent_of(run.config), MODE_SEEDS, len(MODE_SEEDS), conditions=conditions)
    samples = torch.cat(list(made))
    counted = count_modes(samples, modes.centres, modes.std)
    return {
        "modes/covered": counted.covered,
        "modes/possible": counted.possible,
        "modes/share": counted.share,
        "modes/reverse_kl": round(counted.reverse_kl, 6),
    }


def gradient_norm(network: nn.Module) -> torch.Tensor:
    """Of the gradients that the network's last update left behind."""
    return nn.utils.get_total_norm([value.grad for value in network.parameters() if value.grad is not None])


def peak_memory(device: torch.device) -> float:
    """MiB: allocated on the GPU at most, else resident at most."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    import resource  # which Windows lacks, where nothing is trained

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB; bytes on macOS
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _numbers(tensors: dict[str, torch.Tensor]) -> dict[str, float]:
    values = torch.stack([tensor.detach() for tensor in tensors.values()]).tolist()
    return dict(zip(tensors, values, strict=True))
