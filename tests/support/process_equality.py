"""Trains the configs of CASES by several processes and by one, and compares gradients, states and outputs.

`distributed/test_equality.py` runs `python process_equality.py RANK COUNT STORE BITS [CASE ...]` for each process.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gan_cli.data.load_dataset import build_batches, build_dataset, with_classes, with_sources
from gan_cli.distributed.batch_norm import share_statistics
from gan_cli.distributed.batch_share import Share
from gan_cli.models import build_networks, imagenet
from gan_cli.models.imagenet import load_efficientnet
from gan_cli.objectives.auxiliary import PERCEPTUAL
from gan_cli.state.train_state import TrainState, build_state, state_tensors
from gan_cli.training import steps
from gan_cli.training.objective import Objective, build_objective
from support.configs import compose
from support.pretrained import random_published_weights

UPDATES = 4
# In float32 these amplify rounding: another convolution kernel in one process changes their gradients by over 1e-5.
# ReLU6 of a frozen network turns it into steps; FastGAN divides weights by their norms and maps by their deviations.
DOUBLE_ONLY = ("architecture=projected", "auxiliary=perceptual", "architecture=fastgan", "reconstruction")
SINGLE = ("scale", "rotation", "ada", "ada_target")  # transforms that compute positions in float32 in any case
BASE = (
    "dataset=shapes", "dataset.size=64", "image_size=8", "batch_size=16", "steps=20", "optimizer=sgd",
    "regularizer=none", "architecture.generator.base_channels=2", "architecture.discriminator.base_channels=2",
    "architecture.generator.latent_dim=8", "training.ema_decay=0.9",
)  # fmt: skip
TRANSLATION = ("task=translation", "task.source=edges", "image_size=16")
CASES: dict[str, tuple[str, ...]] = {
    **{f"loss={name}": (f"loss={name}", "regularizer=none")
       for name in ("non_saturating", "minimax", "wasserstein", "hinge", "least_squares", "relativistic")},
    **{f"regularizer={name}": (f"regularizer={name}",)
       for name in ("r1", "r2", "gradient_penalty", "dragan", "zero_centered", "js", "lecam", "consistency",
                    "orthogonal", "drift", "weight_clip", "[r1,lecam]")},
    "lecam from the first update": ("regularizer=lecam", "regularizer.lecam.start=0", "training.accumulate=2"),
    "r1_lazy": ("regularizer=r1_lazy", "regularizer.r1.every=2"),
    "zero_centered_lazy": ("regularizer=zero_centered_lazy", "regularizer.zero_centered.every=2"),
    "reconstruction": ("architecture=fastgan", "regularizer=reconstruction", "image_size=32"),
    **{f"auxiliary={name}": ("task=inpainting", f"auxiliary={name}", "image_size=16")
       for name in ("l1", "l2", "gradient_difference", "feature_matching")},
    "auxiliary=[l1,feature_matching] of pix2pix": ("architecture=pix2pix", *TRANSLATION,
                                                   "auxiliary=[l1,feature_matching]"),
    "auxiliary=path_length": ("architecture=stylegan2", "auxiliary=path_length", "auxiliary.path_length.every=2",
                              "training.accumulate=2"),
    "path_length with labels": ("architecture=stylegan2", "auxiliary=path_length", "auxiliary.path_length.every=1",
                                "conditioning=projection"),
    "task=super_resolution": ("task=super_resolution", "architecture=edsr", "image_size=16"),
    **{f"augment={name}": (f"training.augment=[{name}]", "dataset.image_channels=3",
                           "training.ada_target=null", "training.augment_probability=0.7")
       for name in ("color", "translation", "cutout", "turn", "flip", "scale", "rotation", "brightness", "contrast",
                    "hue", "saturation", "noise", "ada")},
    "ada_target": ("training.augment=[ada]", "training.ada_target=0.1", "regularizer=r1"),
    "augmented condition": (*TRANSLATION, "architecture=pix2pix", "training.augment=[translation]"),
    "masks and flips": ("task=inpainting", "image_size=16", "dataset.flip=both", "training.accumulate=2"),
    "accumulate": ("training.accumulate=2", "training.augment=[color]", "regularizer=[r1,consistency]"),
    "reuse_fakes": ("training.reuse_fakes=true", "training.n_critic=2"),
    "new fakes": ("training.reuse_fakes=false", "training.generator_updates=2"),
    "unrolled": ("training.unroll_steps=2", "training.augment=[flip]"),
    "unrolled minimax": ("training.unroll_steps=2", "loss=minimax", "regularizer=none", "training.accumulate=2"),
    "unrolled adam": ("training.unroll_steps=2", "optimizer=rmsprop", "optimizer.lr=1e-8"),
    "unrolled batch norm": ("training.unroll_steps=2", "architecture=dcgan",
                            "architecture.discriminator.normalization=batch"),
    "top_k": ("training.top_k=0.5", "batch_size=16", "dataset.size=16"),
    "top_k of pairs": ("training.top_k=0.5", "loss=relativistic", "dataset.size=16", "training.accumulate=2"),
    "label_smoothing": ("training.label_smoothing=0.1",),
    "instance_noise": ("training.instance_noise=0.3",),
    "pack": ("training.pack=2", "regularizer=r1"),
    "clip_grad_norm": ("training.clip_grad_norm=0.01",),
    **{f"conditioning={name}": (f"conditioning={name}", "dataset.balance=true" if name == "acgan" else "seed=1")
       for name in ("concat", "projection", "acgan")},
    **{f"minibatch={name}": (f"architecture.discriminator.minibatch={name}", "regularizer=r1",
                             "architecture=subpixel", "training.accumulate=2")
       for name in ("none", "stddev", "deviations", "discrimination")},
    "deviations in one pass": ("architecture.discriminator.minibatch=deviations", "architecture=subpixel",
                               "architecture.discriminator.dropout=0.2"),
    "dropout": ("architecture=dcgan", "architecture.discriminator.dropout=0.3",
                "architecture.generator.dropout=0.2"),
    "batch norm of D": ("architecture=dcgan", "architecture.discriminator.normalization=batch"),
    "spectral norm": ("architecture=dcgan", "architecture.discriminator.normalization=spectral"),
    "layer norm": ("architecture=dcgan", "architecture.discriminator.normalization=layer"),
    **{f"architecture={name}": (f"architecture={name}",) for name in ("mlp", "dcgan", "resnet", "subpixel", "r3gan",
                                                                     "stylegan2", "pggan")},
    "architecture=fastgan": ("architecture=fastgan", "image_size=32"),
    "style mixing": ("architecture=stylegan2", "architecture.generator.style_mixing=0.9", "regularizer=r1",
                     "training.accumulate=2"),
    "points": ("dataset=ring", "architecture=mlp", "regularizer=gradient_penalty", "batch_size=32"),
    "epochs": ("training.alternate=epoch", "batch_size=32"),
    "architecture=projected": ("architecture=projected", "loss=hinge", "image_size=32", "dataset.image_channels=3",
                               "architecture.discriminator.least_side=32"),
    "auxiliary=perceptual": ("task=inpainting", "auxiliary=perceptual", "image_size=16", "dataset.image_channels=3",
                             "training.accumulate=2"),
}  # fmt: skip


def prepared(overrides: tuple[str, ...], share: Share | None) -> tuple[TrainState, Objective, Any]:
    named = {override.partition("=")[0] for override in overrides}
    base = [override for override in BASE if override.partition("=")[0] not in named]
    if "dataset=ring" in overrides:
        base = [each for each in base if "channels" not in each and "size" not in each.partition("=")[0]]
    if "architecture=mlp" in overrides or "dataset=ring" in overrides:
        base = [each for each in base if "base_channels" not in each]
    if {"architecture=unet", "architecture=pix2pix", "architecture=edsr", "task=super_resolution"} & {*overrides}:
        base = [each for each in base if "latent_dim" not in each]
    config = compose(*base, *overrides)
    dataset = build_dataset(config.dataset, config.image_size)
    config = with_classes(config, dataset)
    dataset = with_sources(config, dataset)
    state = build_state(config, torch.device("cpu"))
    if "perceptual" in config.auxiliary:
        load_efficientnet(PERCEPTUAL, state.device).to(torch.get_default_dtype())
    for network in (state.generator, state.discriminator, state.generator_ema):
        if network is not None:
            network.to(torch.get_default_dtype())
            if share is not None:
                share_statistics(network)
    state.counters.total_steps = config.steps
    batches = build_batches(config, dataset, state.device)
    objective = build_objective(config, batches)
    return state, Objective(**{**vars(objective), "share": share}), batches


def trained(overrides: tuple[str, ...], share: Share | None) -> dict[str, Tensor]:
    """Returns the gradients of each update, and the state and the outputs after the last one."""
    state, objective, batches = prepared(overrides, share)
    found: dict[str, Tensor] = {}
    average = steps.average_gradients

    def recorded(network: nn.Module) -> None:
        if "SKIP_AVERAGE" not in os.environ:
            average(network)
        role = "generator" if network is state.generator else "discriminator"
        count = state.counters.d_updates + state.counters.step
        for name, parameter in network.named_parameters():
            if parameter.grad is not None:
                found[f"{count} {role} {name}"] = parameter.grad.clone()

    steps.average_gradients = recorded
    try:
        for _ in range(UPDATES):
            steps.training_step(state, objective, batches)
    finally:
        steps.average_gradients = average
    found |= {f"state {name}": tensor.clone() for name, tensor in state_tensors(state).items()}
    for output in (state.discriminator_output, state.generator_output):
        for name, value in ({} if output is None else output._asdict()).items():
            if isinstance(value, Tensor):
                value = value.sort().values if value.ndim else value  # logits are in the order of the processes
                found[f"output {name}"] = value
            elif isinstance(value, dict):
                found |= {f"output {name} {key}": each for key, each in value.items()}
    return found


def largest_difference(found: dict[str, Tensor], expected: dict[str, Tensor]) -> tuple[float, str]:
    """Returns the largest relative difference of two results, and its tensor; gradients relative to the largest."""
    if found.keys() != expected.keys():
        return float("inf"), f"names {found.keys() ^ expected.keys()}"
    worst = (0.0, "")
    for name, value in expected.items():
        group = " ".join(name.split(" ")[:2]).split(".")[0]
        scale = max(float(each.abs().max()) for key, each in expected.items() if key.startswith(group) and each.numel())
        if value.numel():
            difference = float((found[name].double() - value.double()).abs().max()) / max(scale, 1e-6)
            worst = max(worst, (difference, name))
    return worst


def use_random_weights() -> None:
    """Fills the frozen network with random weights, as if the package of the extra `projected` had them."""
    weights = random_published_weights()
    for module in (build_networks, imagenet):
        module.load_imagenet_weights = lambda needed_by: weights  # type: ignore[attr-defined]


SINGLE_PRECISION = torch.Tensor.float


def use_double_precision(double: bool) -> None:
    """Lets networks, losses and random numbers be float64, also where the code asks for float32."""
    torch.set_default_dtype(torch.float64 if double else torch.float32)
    torch.Tensor.float = torch.Tensor.double if double else SINGLE_PRECISION  # type: ignore[method-assign]


def main() -> None:
    rank, count, store, bits, *names = sys.argv[1:]
    torch.set_num_threads(1)
    use_random_weights()
    file = dist.FileStore(store, int(count))
    dist.init_process_group("gloo", store=file, rank=int(rank), world_size=int(count), timeout=timedelta(seconds=60))
    share = Share(dist.group.WORLD, int(rank), int(count))
    for number, (name, overrides) in enumerate(CASES.items()):
        if names and name not in names:
            continue
        use_double_precision(bits == "64" and not name.removeprefix("augment=").startswith(SINGLE))
        try:
            found = trained(overrides, share)
            if number % int(count) == int(rank):
                difference, tensor = largest_difference(found, trained(overrides, None))
                print(f"{name}\t{difference:.3g}\t{tensor}", flush=True)
        except Exception as error:
            print(f"{name}\tinf\t{type(error).__name__} {str(error)[:300]}", flush=True)
            break
    dist.barrier()


if __name__ == "__main__":
    main()
