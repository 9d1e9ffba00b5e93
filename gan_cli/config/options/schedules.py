"""Declares the keys of the section `schedule`, for values that change in the course of a run."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from gan_cli.config.options.fields import Number, fields_of, section
from gan_cli.config.options.networks.architectures import networks_grow
from gan_cli.config.options.objectives import GRADIENT_PENALTIES
from gan_cli.config.options.optimizers import optimizer_settings
from gan_cli.errors import UsageError


@section
class Schedule:
    """The keys of every schedule. A subclass adds `to`, the value at the end, None for no schedule."""

    until: Number = Field(1.0, gt=0, le=1, description="share of the run's steps at which the schedule ends")
    shape: Literal["cosine", "linear"] = Field(
        "cosine", description="how the value changes: as half a cosine wave, or in proportion to the steps"
    )


@section
class LearningRateSchedule(Schedule):
    to: Number | None = Field(
        None,
        ge=0,
        le=10,
        description="final optimizer.lr; a network's own rate, as optimizer.discriminator.lr, changes by the same"
        " factor; training.lr_schedule applies unless set",
    )


@section
class PenaltySchedule(Schedule):
    to: Number | None = Field(
        None, ge=0, description="final weight of the gradient penalties among the regularizers; constant unless set"
    )


@section
class Beta2Schedule(Schedule):
    to: Number | None = Field(
        None, ge=0, lt=1, description="final beta2 of Adam or AdamW, for both networks; constant unless set"
    )


@section
class EMASchedule(Schedule):
    to: Number | None = Field(
        None,
        gt=0,
        lt=1,
        description="final training.ema_decay; on the way its half-life in steps is interpolated; constant unless set",
    )


@section
class AugmentSchedule(Schedule):
    to: Number | None = Field(None, ge=0, le=1, description="final training.augment_probability; constant unless set")


def _constant(keys: Any, description: str) -> Any:
    return Field(default_factory=keys, description=description)


@section
class ScheduleOptions:
    """The section `schedule`. Each value changes from that of its own key, such as `optimizer.lr`."""

    lr: LearningRateSchedule = _constant(LearningRateSchedule, "the learning rates, from optimizer.lr")
    penalty: PenaltySchedule = _constant(PenaltySchedule, "the weight of gradient penalties")
    beta2: Beta2Schedule = _constant(Beta2Schedule, "beta2 of the optimizers")
    ema_decay: EMASchedule = _constant(EMASchedule, "the decay of the averaged generator")
    augment_probability: AugmentSchedule = _constant(AugmentSchedule, "how often samples are augmented")


def active_schedules(schedules: ScheduleOptions) -> list[str]:
    """Returns the names of the values that change."""
    return [name for name in fields_of(ScheduleOptions) if getattr(schedules, name).to is not None]


def check_schedules(config: Any) -> None:
    """Raises UsageError if the config lacks what a schedule changes, or if two keys contradict each other."""
    for key, reason in _conflicts(config):
        raise UsageError(f"{key}: {reason}")


def _conflicts(config: Any) -> Iterator[tuple[str, str]]:
    """Yields pairs of a key with its value, and why it cannot be used with the other keys."""
    for field in dataclasses.fields(config.schedule):
        schedule = getattr(config.schedule, field.name)
        if schedule.to is None and schedule.until != 1:
            yield f"schedule.{field.name}.until={schedule.until:g}", f"changes nothing without schedule.{field.name}.to"
        if schedule.to is None and schedule.shape != "cosine":
            yield f"schedule.{field.name}.shape={schedule.shape}", f"changes nothing without schedule.{field.name}.to"
    training, active = config.training, active_schedules(config.schedule)
    given = {name: f"schedule.{name}.to={getattr(config.schedule, name).to:g}" for name in active}
    if training.augment_probability != 1:
        given.setdefault("augment_probability", f"training.augment_probability={training.augment_probability:g}")
    if "penalty" in given and not config.regularizer.keys() & GRADIENT_PENALTIES.keys():
        yield given["penalty"], "changes the weight of a gradient penalty, set regularizer=r1 or another"
    roles = ("generator", "discriminator")
    if "beta2" in given and not any("beta2" in optimizer_settings(config.optimizer, role) for role in roles):
        yield given["beta2"], "is for Adam, set optimizer=adam or adamw"
    if "ema_decay" in given and training.ema_decay == 0:
        yield given["ema_decay"], "training.ema_decay=0 keeps no average, set it above 0"
    if "augment_probability" in given and not training.augment:
        yield given["augment_probability"], "needs training.augment=[color,translation,cutout]"
    if "augment_probability" in given and training.ada_target is not None:
        yield given["augment_probability"], "training.ada_target adapts the probability, set it to null"


def check_growth(config: Any) -> None:
    """Raises UsageError if one network alone is to grow, or if networks that grow cannot be trained like that."""
    chosen, grows = config.architecture, networks_grow(config.architecture)
    for role, other in (("generator", "discriminator"), ("discriminator", "generator")):
        if getattr(getattr(chosen, role), "grow", False) is True and not grows:
            raise UsageError(
                f"architecture.{role}.grow=true: architecture.{other}={getattr(chosen, other).name} does not grow; set"
                f" architecture.{role}.grow=false, or architecture=pggan"
            )
    if config.training.freeze_discriminator_layers and chosen.discriminator.name == "pggan":
        raise UsageError(
            f"training.freeze_discriminator_layers={config.training.freeze_discriminator_layers}: counts layers from"
            " the image on, which architecture.discriminator=pggan has one of for each resolution; leave it out"
        )
    if grows and config.compile:
        raise UsageError(
            "compile=true: networks that grow would be compiled again for each level; leave it out, or set"
            " architecture.generator.grow=false"
        )
