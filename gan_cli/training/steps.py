"""The two updates of a GAN (arXiv:1406.2661, algorithm 1, Goodfellow et al. 2014): one of D and one of G.

D, the discriminator, learns to give real samples high logits and fakes low ones. G, the generator, learns to generate
fakes to which D gives high logits. An update of D gets fakes without gradient; an update of G goes through a D whose
weights collect no gradient: the frozen D, or copies that were updated a few times (unrolling).

The choices of a config are in the `objective` (`objective.py`). It uses losses (`objectives/losses.py`), penalties
(`objectives/regularizers.py`), the order of updates (`alternation.py`), schedules (`state/schedules.py`) and the
average of G's weights (`state/ema.py`). D's input is prepared in `discriminator_input.py`.

Networks run under autocast if `precision` asks for it; losses and penalties, and the passes of penalties through D, are
always float32. With fp16 the sum of a network's losses is scaled for its backward pass, and its gradients are unscaled
before they are clipped (`state/half_precision.py`). All randomness depends only on (seed, purpose, count), where count
is the number of earlier updates of that network. So `batches.draw(update)` returns the same batch each time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from gan_cli.config.options.optimizers import optimizer_settings
from gan_cli.data.dataset import Batches
from gan_cli.device import to_device
from gan_cli.distributed.batch_share import in_sections, own, sharing, whole
from gan_cli.distributed.collectives import average_gradients, merged_outputs
from gan_cli.models.freezing import frozen, without_statistics_updates
from gan_cli.models.layers import DiscriminatorOutput
from gan_cli.objectives.regularizers import PenaltyInputs, mean_of_patches
from gan_cli.randomness import derive_seed, generator_for
from gan_cli.state.growth import complete_moments, faded, grow
from gan_cli.state.half_precision import LossScaler, kept_logits
from gan_cli.state.optimizers import add_missing_state
from gan_cli.state.train_state import DiscriminatorStepOutput, GeneratorStepOutput, TrainState
from gan_cli.tasks.condition import Condition
from gan_cli.training.alternation import is_first_of_generator, is_last_of_discriminator, next_network
from gan_cli.training.discriminator_input import adapt_augmentation, discriminator_inputs
from gan_cli.training.objective import DiscriminatorPass, Objective


def training_step(state: TrainState, objective: Objective, batches: Batches) -> GeneratorStepOutput | None:
    """Makes the next update, of D or of G. Returns G's output, or None after an update of D."""
    with sharing(objective.share), in_sections(objective.config.training.accumulate):
        if next_network(state.counters, objective.alternation) == "discriminator":
            discriminator_step(state, objective, batches)
            return None
        return generator_step(state, objective, batches)


def discriminator_step(state: TrainState, objective: Objective, batches: Batches) -> DiscriminatorStepOutput:
    """Updates D with a batch of real samples and as many fakes. G's weights do not change, its batch statistics may."""
    update = state.counters.d_updates
    _seed_layers(state, objective, "discriminator", update)
    all_latents = to_device(draw_latents(objective, "discriminator", update), state.device)
    all_real, all_conditions = batches.draw(update)
    all_real = faded(state, all_real)
    rng = generator_for(objective.seed, "penalty", update)  # for augmentation and noise too
    penalties = objective.due_penalties(update)  # among them D's classification loss, if there is one
    state.discriminator_optimizer.zero_grad(set_to_none=True)
    microbatches = Microbatches(objective.config.training.accumulate, state.scalers.get("discriminator"))
    for real, condition, latents in microbatches.split(all_real, all_conditions, all_latents):
        fake = _fakes_for_discriminator(state, objective, latents, condition)
        forward = _discriminate_both(state, objective, real, fake, condition, rng)
        real_logits, fake_logits = forward.on_real.logits, forward.on_fake.logits
        loss = objective.discriminator_loss(real_logits, fake_logits)
        values = {f"penalty/{each.name}": each.compute(forward) for each in penalties}  # unweighted; may run D again
        weights = [objective.penalty_weight(each, state.counters) for each in penalties]
        total = loss + sum(weight * value for weight, value in zip(weights, values.values(), strict=True))
        microbatches.backward(total, {"loss": loss, "real": real_logits, "fake": fake_logits, **values})
    learning_rate = _optimizer_step(state, objective, "discriminator")
    objective.constrain_weights(state.discriminator)
    merged = microbatches.merged()
    real_logits, fake_logits = mean_of_patches(merged["real"]), mean_of_patches(merged["fake"])
    values = {each.name: merged[f"penalty/{each.name}"] for each in penalties}
    output = DiscriminatorStepOutput(merged["loss"], real_logits, fake_logits, values, learning_rate)
    real_logits, fake_logits = (kept_logits(objective.config.precision, each) for each in (real_logits, fake_logits))
    objective.update_penalty_state(state, real_logits, fake_logits)
    target, boundary = objective.config.training.ada_target, objective.loss.boundary
    adapt_augmentation(state, real_logits, target, objective.batch_size, boundary)
    state.last_penalties |= output.penalties  # a penalty that was not due keeps its last value, for the log
    state.discriminator_output = output
    state.counters.d_updates += 1
    return output


def generator_step(state: TrainState, objective: Objective, batches: Batches) -> GeneratorStepOutput:
    """Updates G, and then the exponential moving average (EMA) of its weights. No weight or buffer of D changes."""
    rng = generator_for(objective.seed, "present", state.counters.step)  # for augmentation and noise
    state.generator_optimizer.zero_grad(set_to_none=True)
    microbatches = Microbatches(objective.config.training.accumulate, state.scalers.get("generator"))
    epochs = state.counters.images_seen(objective.batch_size) // len(batches.dataset)
    for fake, condition, real in _fakes_for_generator(state, objective, batches, microbatches):
        compared = real if objective.needs_real_logits else None
        on_fake, real_logits = _discriminate_fakes(state, objective, fake, compared, condition, rng)
        fake_logits, real_logits = objective.select_top(on_fake.logits, real_logits, epochs)
        loss = objective.generator_loss(fake_logits, real_logits)
        values, auxiliary = objective.auxiliary_losses(state, fake, real, condition, rng)
        total = objective.adversarial_weight * loss + objective.classification_loss(on_fake, condition) + auxiliary
        microbatches.backward(total, {"loss": loss, **values})
    state.fakes = None
    learning_rate = _optimizer_step(state, objective, "generator")
    state.counters.step += 1  # a step is one update of G
    grow(state)
    objective.update_ema(state)
    merged = microbatches.merged()
    losses = state.keep_auxiliary({name: merged[name] for name in values})
    state.generator_output = GeneratorStepOutput(merged["loss"], learning_rate, losses)
    return state.generator_output


# --- fakes -------------------------------------------------------------------------------------------------------


def draw_latents(objective: Objective, purpose: str, count: int) -> Tensor:
    """Returns latents `[N, latent_dim]` on the CPU, this process's share of those of `batch_size` samples.

    They depend only on seed, purpose and count.
    """
    latents = torch.empty(objective.batch_size, objective.latent.dim)
    return own(objective.latent.fill(latents, generator_for(objective.seed, f"latent/{purpose}", count)))


def generate_fakes(state: TrainState, objective: Objective, latents: Tensor, condition: Condition | None) -> Tensor:
    """Returns G's samples from latents, float32."""
    with objective.autocast(state.device):
        return state.compiled_or_plain("generator")(latents, condition).float()


def _fakes_for_discriminator(
    state: TrainState, objective: Objective, latents: Tensor, condition: Condition | None
) -> Tensor:
    """Returns fakes without gradient. If G reuses them, `state.fakes` keeps them with their autograd graph."""
    if objective.reuse_fakes and is_last_of_discriminator(state.counters, objective.alternation):
        state.fakes = generate_fakes(state, objective, latents, condition)
        return state.fakes.detach()
    state.fakes = None
    with torch.no_grad(), frozen(state.generator):
        return generate_fakes(state, objective, latents, condition)


def _fakes_for_generator(
    state: TrainState, objective: Objective, batches: Batches, microbatches: Microbatches
) -> Iterator[tuple[Tensor, Condition | None, Tensor | None]]:
    """Yields (fakes, conditions, real samples) for each microbatch.

    Fakes: those of D's last update if G reuses them, otherwise new ones. Real samples: None unless G's losses need
    them; then the batch of D's last update. Conditions: those of that batch if fakes are reused or real samples are
    needed, otherwise random ones.
    """
    step, last_d_update = state.counters.step, state.counters.d_updates - 1
    batch = batches.draw(last_d_update) if objective.needs_real else None
    all_real = None if batch is None else faded(state, batch.samples)
    if objective.reuse_fakes and is_first_of_generator(state.counters, objective.alternation):  # in one microbatch
        fakes = state.fakes if state.fakes is not None else _fakes_of_last_update(state, objective, batches)
        _seed_layers(state, objective, "generator", step)  # last, so that D draws the same if fakes were recreated
        yield fakes, batches.condition(last_d_update) if batch is None else batch.condition, all_real
        return
    _seed_layers(state, objective, "generator", step)  # first, since G draws here too
    all_latents = to_device(draw_latents(objective, "generator", step), state.device)
    all_conditions = batches.sample_condition(step) if batch is None else batch.condition
    for latents, condition, real in microbatches.split(all_latents, all_conditions, all_real):
        yield generate_fakes(state, objective, latents, condition), condition, real


def _fakes_of_last_update(state: TrainState, objective: Objective, batches: Batches) -> Tensor:
    """Recreates the fakes of D's last update after a resume, without updating batch-norm statistics a second time."""
    last_d_update = state.counters.d_updates - 1
    _seed_layers(state, objective, "discriminator", last_d_update)
    latents = to_device(draw_latents(objective, "discriminator", last_d_update), state.device)
    with without_statistics_updates(state.generator):
        return generate_fakes(state, objective, latents, batches.condition(last_d_update))


# --- D's outputs -------------------------------------------------------------------------------------------------


def _discriminate_both(
    state: TrainState,
    objective: Objective,
    real: Tensor,
    fake: Tensor,
    condition: Condition | None,
    rng: torch.Generator,
) -> DiscriminatorPass:
    """Runs D on real samples and as many fakes.

    One pass over both is used only if D's output for a sample does not depend on the other samples, or only on groups
    that do not mix real and fake. Otherwise two passes, so that batch normalization does not mix them.
    """
    (real, fake), condition = discriminator_inputs((real, fake), condition, state, objective.config, rng)
    discriminator = state.compiled_or_plain("discriminator")
    # whether groups of samples in D mix real and fake depends on the size of the batch; a plugin's network may not say
    can_concatenate = getattr(discriminator, "can_concatenate_real_and_fake", None)
    with objective.autocast(state.device), _keeping_maps(state, objective) as kept:
        if can_concatenate is None or not can_concatenate(whole(len(real))):
            on_real = objective.discriminate(discriminator, real, condition)
            on_fake = objective.discriminate(discriminator, fake, condition)
        else:
            both_conditions = None if condition is None else condition.twice()
            with in_sections(2):
                output = objective.discriminate(discriminator, torch.cat([real, fake]), both_conditions)
            classes = (None, None) if output.class_logits is None else output.class_logits.chunk(2)
            on_real, on_fake = map(DiscriminatorOutput, output.logits.chunk(2), classes)
    # penalties run the plain network, see `TrainState.compiled_or_plain`
    inputs = PenaltyInputs(state.discriminator, real, fake, condition, rng, on_real.logits, on_fake.logits)
    if kept:  # of the first pass, whose first samples are the real ones
        inputs = inputs._replace(real_maps=[maps[: len(real)] for maps in kept[0]])
    return DiscriminatorPass(inputs, on_real, on_fake, state.penalty_state)


def _keeping_maps(state: TrainState, objective: Objective) -> contextlib.AbstractContextManager[list[Any] | None]:
    """Keeps D's feature maps for `regularizer=reconstruction`, unless D's pass has another precision than penalties."""
    keep = getattr(state.discriminator, "keeping_maps", None)
    plain = objective.config.precision not in ("bf16", "fp16") and not state.compiled
    if keep is None or not plain or "reconstruction" not in objective.config.regularizer:
        return contextlib.nullcontext()
    return keep()


def _discriminate_fakes(
    state: TrainState,
    objective: Objective,
    fake: Tensor,
    real: Tensor | None,
    condition: Condition | None,
    rng: torch.Generator,
) -> tuple[DiscriminatorOutput, Tensor | None]:
    """Returns D's output for the fakes, with gradient to them, and D's logits for real samples (None without them)."""
    with objective.autocast(state.device, unrolled=objective.config.training.unroll_steps > 0):
        (fake, real), condition = discriminator_inputs((fake, real), condition, state, objective.config, rng)
        with objective.discriminator_for_generator(state, real, fake, condition) as discriminator:
            on_fake = objective.discriminate(discriminator, fake, condition)
            if real is None:
                return on_fake, None
            return on_fake, objective.discriminate(discriminator, real, condition).logits


# --- updates -----------------------------------------------------------------------------------------------------


class Microbatches:
    """Splits a batch into `count` equal parts to save memory. The gradient is that of the mean loss over the batch,

    for losses that are means over independent samples.
    """

    def __init__(self, count: int, scaler: LossScaler | None = None) -> None:
        self.count, self.scaler = count, scaler
        self._outputs: list[dict[str, Tensor]] = []

    def split(self, *tensors: Tensor | Condition | None) -> Iterator[tuple[Any, ...]]:
        """Splits each tensor or condition into `count` chunks, and yields them together. A None stays None."""
        chunks = [[None] * self.count if tensor is None else tensor.chunk(self.count) for tensor in tensors]
        for parts in zip(*chunks, strict=True):
            with in_sections(1):
                yield parts

    def backward(self, total: Tensor, outputs: dict[str, Tensor]) -> None:
        """Backpropagates the loss of one microbatch and stores its detached outputs, scalars or logits `[n]`."""
        mean = total / self.count
        (mean if self.scaler is None else self.scaler.scale(mean)).backward()
        self._outputs.append({name: value.detach() for name, value in outputs.items()})

    def merged(self) -> dict[str, Tensor]:
        """Returns the outputs of the batch, of all processes: the means of scalars, and all logits `[N, ...]`."""
        by_name = {name: [outputs[name] for outputs in self._outputs] for name in self._outputs[0]}
        return merged_outputs(
            {
                name: torch.stack(parts).mean() if parts[0].ndim == 0 else torch.cat(parts)
                for name, parts in by_name.items()
            }
        )


def _seed_layers(state: TrainState, objective: Objective, purpose: str, count: int) -> None:
    """Seeds torch's global random generators, which layers such as dropout use, from seed, purpose and count."""
    seed = derive_seed(objective.seed, f"network/{purpose}", count)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed looks for every kind of device, in 0.2 ms
    if state.device.type in ("cuda", "mps"):
        getattr(torch, state.device.type).manual_seed(seed)


def _optimizer_step(state: TrainState, objective: Objective, role: str) -> float:
    """Updates a network (`generator` or `discriminator`) with its accumulated gradient. Returns the learning rate."""
    network: nn.Module = getattr(state, role)
    optimizer, scaler = getattr(state, f"{role}_optimizer"), state.scalers.get(role)
    learning_rate = objective.set_rates(optimizer, role, state.counters)
    average_gradients(network)
    if scaler is not None:
        scaler.unscale(optimizer)
    objective.clip_gradients(network)
    if scaler is None:
        optimizer.step()
    else:
        scaler.step(optimizer)
        add_missing_state(optimizer, network, **optimizer_settings(objective.config.optimizer, role))
    complete_moments(network, optimizer)
    return learning_rate
