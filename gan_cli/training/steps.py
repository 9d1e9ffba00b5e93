"""The two updates of a GAN (1406.2661, algorithm 1).

D, the discriminator, learns to give real samples high logits and fakes low ones; G, the generator, learns to generate
fakes to which D gives high logits. Each is frozen while the other learns. Networks run in the precision of the
objective; losses and penalties are always float32. All randomness is a function of (seed, purpose, update).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gan_cli.data.dataset import Batches
from gan_cli.models.freezing import inference_in_training_mode, without_statistics_updates
from gan_cli.models.layers import DiscriminatorOutput
from gan_cli.randomness import derive_seed, generator_for
from gan_cli.state.optimizers import set_learning_rate
from gan_cli.state.train_state import DiscriminatorStepOutput, GeneratorStepOutput, TrainState
from gan_cli.training.alternation import next_network
from gan_cli.training.objective import DiscriminatorPass, Objective


def training_step(state: TrainState, objective: Objective, batches: Batches) -> GeneratorStepOutput | None:
    """Makes the next update, D's or G's, for code without a run; returns G's output, None after an update of D."""
    if next_network(state.counters, objective.alternation) == "discriminator":
        discriminator_step(state, objective, batches)
        return None
    return generator_step(state, objective, batches)


def discriminator_step(state: TrainState, objective: Objective, batches: Batches) -> DiscriminatorStepOutput:
    """Updates D by a batch of real samples and as many fakes; no weight of G changes."""
    update = state.counters.d_updates
    _seed_layers(state, objective, "discriminator", update)
    latents = draw_latents(objective, "discriminator", update).to(state.device)
    random = generator_for(objective.seed, "penalty", update)
    penalties = objective.due_penalties(update)
    state.discriminator_optimizer.zero_grad(set_to_none=True)
    parts = Microbatches(objective.accumulate)
    for real, condition, latent in parts.split(*batches.draw(update), latents):
        fake = _fakes_for_discriminator(state, objective, latent, condition)
        forward = _discriminate_both(state, objective, real, fake, condition, random)
        loss = objective.discriminator_loss(forward.on_real.logits, forward.on_fake.logits)
        values = {penalty.name: penalty.compute(forward) for penalty in penalties}
        total = loss + sum(penalty.weight * values[penalty.name] for penalty in penalties)
        parts.backward(total, loss, forward.on_real.logits, forward.on_fake.logits, values)
    learning_rate = _optimizer_step(state, objective, "discriminator")
    objective.constrain_weights(state.discriminator)
    loss, real_logits, fake_logits, values = parts.joined()
    output = DiscriminatorStepOutput(loss, real_logits, fake_logits, values, learning_rate)
    objective.update_penalty_state(state, real_logits, fake_logits)
    objective.adapt_augmentation(state, real_logits)
    state.penalties |= output.penalties
    state.discriminator_output = output
    state.counters.d_updates += 1
    return output


def generator_step(state: TrainState, objective: Objective, batches: Batches) -> GeneratorStepOutput:
    """Updates G through D, and then G's average; nothing of D changes."""
    random = generator_for(objective.seed, "present", state.counters.step)
    state.generator_optimizer.zero_grad(set_to_none=True)
    parts = Microbatches(objective.accumulate)
    for fake, condition, real in _fakes_for_generator(state, objective, batches, parts):
        on_fake, real_logits = _discriminate_fakes(state, objective, fake, real, condition, random)
        logits = objective.select_top(on_fake.logits, real_logits, state.counters.d_updates)
        loss = objective.generator_loss(*logits)
        total = loss + objective.classification_loss(on_fake, condition)
        parts.backward(total, loss)
    state.fakes = None
    learning_rate = _optimizer_step(state, objective, "generator")
    state.counters.step += 1
    objective.update_average(state)
    (loss,) = parts.joined()
    return GeneratorStepOutput(loss, learning_rate)


# --- fakes -------------------------------------------------------------------------------------------------------


def draw_latents(objective: Objective, purpose: str, count: int) -> Tensor:
    """Returns `[batch_size, latent_dim]` on the CPU, a function of seed, purpose and count."""
    return objective.latent.draw(generator_for(objective.seed, f"latent/{purpose}", count), objective.batch_size)


def generate_fakes(state: TrainState, objective: Objective, latents: Tensor, condition: Tensor | None) -> Tensor:
    """Returns G's samples from latents, float32."""
    with objective.autocast():
        return state.running("generator")(latents, condition).float()


def _fakes_for_discriminator(
    state: TrainState, objective: Objective, latents: Tensor, condition: Tensor | None
) -> Tensor:
    """Returns fakes without gradient. If G will reuse them, `state.fakes` has them with their graph."""
    if objective.keeps_fakes(state.counters):
        state.fakes = generate_fakes(state, objective, latents, condition)
        return state.fakes.detach()
    state.fakes = None
    with inference_in_training_mode(state.generator):
        return generate_fakes(state, objective, latents, condition)


def _fakes_for_generator(
    state: TrainState, objective: Objective, batches: Batches, parts: Microbatches
) -> Iterator[tuple[Tensor, Tensor | None, Tensor | None]]:
    """Yields for each part of a batch: fakes, their condition, and real samples if G's loss needs them.

    The fakes are those of D's last update if they are reused, else new ones. Real samples are those of D's last update,
    and then new fakes have their condition; otherwise conditions are drawn.
    """
    step, last = state.counters.step, state.counters.d_updates - 1
    real = batches.draw(last).samples if objective.needs_real else None
    if objective.reuses_fakes(state.counters):
        fakes = state.fakes if state.fakes is not None else _fakes_of_last_update(state, objective, batches)
        _seed_layers(state, objective, "generator", step)
        yield fakes, batches.conditions(last), real
        return
    _seed_layers(state, objective, "generator", step)
    all_latents = draw_latents(objective, "generator", step).to(state.device)
    conditions = batches.conditions(last) if objective.needs_real else batches.sample_conditions(step)
    for latents, condition, real_part in parts.split(all_latents, conditions, real):
        yield generate_fakes(state, objective, latents, condition), condition, real_part


def _fakes_of_last_update(state: TrainState, objective: Objective, batches: Batches) -> Tensor:
    """Generates again the fakes of D's last update, which another process made; G's statistics include them already."""
    last = state.counters.d_updates - 1
    _seed_layers(state, objective, "discriminator", last)
    latents = draw_latents(objective, "discriminator", last).to(state.device)
    with without_statistics_updates(state.generator):
        return generate_fakes(state, objective, latents, batches.conditions(last))


# --- D's outputs -------------------------------------------------------------------------------------------------


def discriminator_input(state: TrainState, objective: Objective, samples: Tensor, random: torch.Generator) -> Tensor:
    """Returns what D receives of samples at this point of the run: augmented, noisy and packed as chosen."""
    probability = 1.0 if state.augment_probability is None else state.augment_probability
    progress = state.counters.progress
    return objective.discriminator_input(samples, random, probability=probability, progress=progress)


def _discriminate_both(
    state: TrainState,
    objective: Objective,
    real: Tensor,
    fake: Tensor,
    condition: Tensor | None,
    random: torch.Generator,
) -> DiscriminatorPass:
    """Runs D on real and as many fake samples, in one pass if D works on each sample by itself.

    Otherwise in two, so that batch normalization never mixes real and fake.
    """
    real, fake = (discriminator_input(state, objective, samples, random) for samples in (real, fake))
    condition = objective.discriminator_input.pack_condition(condition)
    discriminator = state.running("discriminator")
    can_concatenate = getattr(discriminator, "can_concatenate_real_and_fake", None)  # a plugin's network may lack it
    with objective.autocast():
        if can_concatenate is None or not can_concatenate(len(real)):
            on_real, on_fake = (objective.discriminate(discriminator, samples, condition) for samples in (real, fake))
        else:
            both = None if condition is None else torch.cat([condition, condition])
            output = objective.discriminate(discriminator, torch.cat([real, fake]), both)
            classes = (None, None) if output.class_logits is None else output.class_logits.chunk(2)
            on_real, on_fake = map(DiscriminatorOutput, output.logits.chunk(2), classes)
    return DiscriminatorPass(state.discriminator, real, fake, condition, on_real, on_fake, random, state.penalty_state)


def _discriminate_fakes(
    state: TrainState,
    objective: Objective,
    fake: Tensor,
    real: Tensor | None,
    condition: Tensor | None,
    random: torch.Generator,
) -> tuple[DiscriminatorOutput, Tensor | None]:
    """Returns D's output for fakes, differentiable in them, and its logits of real samples if there are any."""
    with objective.autocast():
        fake = discriminator_input(state, objective, fake, random)
        real = None if real is None else discriminator_input(state, objective, real, random)
        condition = objective.discriminator_input.pack_condition(condition)
        with objective.opponent(state, real, fake, condition) as discriminator:
            on_fake = objective.discriminate(discriminator, fake, condition)
            if real is None:
                return on_fake, None
            return on_fake, objective.discriminate(discriminator, real, condition).logits


# --- updates -----------------------------------------------------------------------------------------------------


class Microbatches:
    """Processes a batch in `count` equal parts to save memory; gradients add up to that of the mean over the batch."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._outputs: list[tuple[Any, ...]] = []

    def split(self, *tensors: Tensor | None) -> Iterator[tuple[Any, ...]]:
        """Yields what belongs together of tensors `[N, ...]`, part by part; None of None."""
        chunks = [[None] * self.count if tensor is None else tensor.chunk(self.count) for tensor in tensors]
        return zip(*chunks, strict=True)

    def backward(self, total: Tensor, *outputs: Any) -> None:
        """Adds a part's gradient, and keeps its outputs: scalars, logits `[n]`, or dicts of scalars."""
        (total / self.count).backward()
        self._outputs.append(_detached(outputs))

    def joined(self) -> tuple[Any, ...]:
        """Returns the outputs of the whole batch: the mean of scalars, all logits `[N]`."""
        return _joined(self._outputs)


def _detached(output: Any) -> Any:
    if isinstance(output, tuple):
        return tuple(_detached(item) for item in output)
    if isinstance(output, dict):
        return {name: value.detach() for name, value in output.items()}
    return output.detach()


def _joined(outputs: Sequence[Any]) -> Any:
    first = outputs[0]
    if isinstance(first, tuple):
        return tuple(_joined(values) for values in zip(*outputs, strict=True))
    if isinstance(first, dict):
        return {name: _joined([output[name] for output in outputs]) for name in first}
    return torch.stack(list(outputs)).mean() if first.ndim == 0 else torch.cat(list(outputs))


def _seed_layers(state: TrainState, objective: Objective, purpose: str, count: int) -> None:
    """Seeds what layers draw themselves, as dropout does, by seed, purpose and count."""
    seed = derive_seed(objective.seed, f"network/{purpose}", count)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed looks for every kind of device, in 0.2 ms
    if state.device.type in ("cuda", "mps"):
        getattr(torch, state.device.type).manual_seed(seed)


def _optimizer_step(state: TrainState, objective: Objective, role: str) -> float:
    """Updates a network by the gradient it holds; returns the learning rate."""
    network: nn.Module = getattr(state, role)
    learning_rate = objective.learning_rate(role, state.counters)
    optimizer = getattr(state, f"{role}_optimizer")
    set_learning_rate(optimizer, learning_rate)
    objective.clip_gradients(network)
    optimizer.step()
    return learning_rate
