"""Measures the metrics of a step from the outputs of its updates. Reading them waits for the device."""

from __future__ import annotations

import sys

import torch
from torch import nn

from gan_cli.evaluation.metrics.mode_coverage import count_modes
from gan_cli.state.train_state import GeneratorStepOutput
from gan_cli.training.alternation import is_first_of_generator, next_network
from gan_cli.training.health_metrics import auc, health_metrics
from gan_cli.training.run import Run
from gan_cli.training.throughput import RunTimer

MODE_SEEDS = range(10_000, 12_500)  # as many samples as in published counts; other seeds than those of the images


def discriminator_metrics(run: Run) -> dict[str, float]:
    """Returns the metrics of D's last update. If this process has made none, returns those in the checkpoint.

    Accuracies are shares of samples that D classifies correctly: real with a logit above 0, fake with one below 0.
    """
    output = run.state.discriminator_output
    if output is None:
        return run.saved_metrics
    tensors = {
        "loss/discriminator": output.loss,
        "logits/real": output.real_logits.mean(),
        "logits/fake": output.fake_logits.mean(),
        "logits/auc": auc(output.real_logits, output.fake_logits),
        "accuracy/real": (output.real_logits > 0).float().mean(),
        "accuracy/fake": (output.fake_logits < 0).float().mean(),
        "grad_norm/discriminator": gradient_norm(run.state.discriminator),
    }
    return _numbers(tensors) | _penalties(run) | {"learning_rate/discriminator": output.learning_rate}


def metrics_to_keep(run: Run) -> dict[str, float]:
    """Returns the metrics of D's past updates that a checkpoint after a step must keep, for later log entries.

    After a complete round these are the last values of the penalties, since a lazy penalty may be some updates old.
    Between two updates of G in the same round, these are all metrics of D's last update.
    """
    counters, alternation = run.state.counters, run.objective.alternation
    within_round = next_network(counters, alternation) == "generator" and not is_first_of_generator(
        counters, alternation
    )
    return discriminator_metrics(run) if within_round else _penalties(run)


def _penalties(run: Run) -> dict[str, float]:
    """Returns the last value of each penalty, unweighted."""
    return {f"penalty/{name}": value.item() for name, value in run.state.last_penalties.items()}


def step_metrics(run: Run, output: GeneratorStepOutput, timer: RunTimer) -> dict[str, float]:
    """Returns the metrics of the step that was just done, by their keys in `metrics.jsonl`. `output` is G's."""
    state, batch_size = run.state, run.batches.batch_size
    tensors = {"loss/generator": output.loss, "grad_norm/generator": gradient_norm(state.generator)}
    return {
        "step": state.counters.step,
        "images_seen": state.counters.images_seen(batch_size),
        **discriminator_metrics(run),
        **_numbers(tensors),
        **health_metrics(state, run.objective, run.batches),
        **mode_metrics(run),
        "learning_rate/generator": output.learning_rate,
        "images_per_second": round(timer.images_per_second(batch_size), 1),
        "memory/peak_mb": peak_memory(state.device),
        "seconds": round(state.seconds, 3),
    }


def mode_metrics(run: Run) -> dict[str, float]:
    """Returns how many modes the generator covers at this step. Empty if the modes of the data are not known."""
    modes = run.modes
    if modes is None or len(modes.centres) == 0:
        return {}
    counted = count_modes(run.generate(MODE_SEEDS, len(MODE_SEEDS)), modes.centres, modes.std)
    return {
        "modes/covered": counted.covered,
        "modes/possible": counted.possible,
        "modes/share": counted.share,
        "modes/reverse_kl": round(counted.reverse_kl, 6),
    }


def gradient_norm(network: nn.Module) -> torch.Tensor:
    """Returns the norm of the network's gradient in its last update."""
    return nn.utils.get_total_norm([value.grad for value in network.parameters() if value.grad is not None])


def peak_memory(device: torch.device) -> float:
    """Returns the peak memory in MiB: allocated on the GPU, or resident on other devices."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    import resource  # not on Windows, where nothing is trained

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB; bytes on macOS
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _numbers(tensors: dict[str, torch.Tensor]) -> dict[str, float]:
    values = torch.stack([tensor.detach() for tensor in tensors.values()]).tolist()
    return dict(zip(tensors, values, strict=True))
