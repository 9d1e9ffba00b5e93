"""Generates the samples of an evaluation during training by all processes of a run, and computes their features.

Batch b is made by process b modulo the number of processes. The batches are those of one process, so on CPUs the
samples equal its samples byte for byte. The parameters of the generator are the same in all processes; process 0 gives
the others the buffers, among which are statistics of batch normalization that it alone has recomputed.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from gan_cli.data.dataset import to_uint8
from gan_cli.distributed.process_group import CANCEL, COLLECT, GENERATE, ConnectedGroup, ProcessGroup
from gan_cli.errors import DivergedError, GanCliError, LostProcessError, one_line
from gan_cli.evaluation.metrics.feature_extractors import CPU, Extractor, Features
from gan_cli.evaluation.reference import UNTRAINED_HERE, build_untrained_extractor
from gan_cli.models.generate import generate
from gan_cli.models.latents import LatentDistribution
from gan_cli.tasks.condition import Condition

Batch = list[Tensor]  # uint8 images or points; their features and class probabilities, as far as they are computed
Packet = tuple[dict[str, str], Batch]


def generate_together(
    group: ProcessGroup,
    generator: nn.Module,
    latent: LatentDistribution,
    seeds: Sequence[int],
    batch_size: int,
    condition: Condition | None,
    extractor: Extractor | None = None,
) -> Iterator[Batch]:
    """Process 0: yields the batches of one process, in its order. With a shared extractor, they have features.

    Samples are uint8 images `[N, C, H, W]`, or points. `generator` is that of the state or a copy with other buffers.
    Raises DivergedError if a sample is not finite, and GanCliError if another process cannot make its batches.
    """
    assert isinstance(group, ConnectedGroup)
    shared = extractor if extractor is not None and extractor.name in UNTRAINED_HERE else None
    batch_of = torch.arange(len(seeds)) // batch_size
    own, *others = ((batch_of % group.count == rank).nonzero().flatten() for rank in range(group.count))
    wanted = [{"seeds": torch.tensor(seeds)[rows]} | _parts(condition, rows) if len(rows) else {} for rows in others]
    try:
        with group.in_one_piece():
            group.send(GENERATE)
            group.broadcast([*generator.buffers()])
            for rank, inputs in enumerate(wanted, 1):
                about = {"names": [*inputs], "batch_size": batch_size, "extractor": shared and shared.name}
                group.send_packet(rank, about, [*inputs.values()])
        generated = _make(
            generator, latent, torch.tensor(seeds)[own].tolist(), _parts(condition, own), batch_size,
            None if shared is None else shared.extract,
        )  # fmt: skip
        group.wait_until_ready()
    except LostProcessError:
        raise
    except BaseException:
        group.wait_until_ready(CANCEL)
        raise
    for batch in range(int(batch_of[-1]) + 1):
        rank = batch % group.count
        yield next(generated) if rank == 0 else _collect(group, rank)


def _collect(group: ConnectedGroup, rank: int) -> Batch:
    with group.in_one_piece():
        group.send(COLLECT, rank)
        content, batch = group.receive_packet(rank)
    if "error" in content:
        raise GanCliError(f"process {rank}: {content['error']}")
    return batch


def make_own_batches(
    sampler: nn.Module, latent: LatentDistribution, group: ConnectedGroup, received: Callable[[], int]
) -> Iterator[Packet]:
    """Other processes: makes the batches that process 0 asks for with GENERATE. Returns a packet for each COLLECT.

    `sampler` is the generator of the state that samples are drawn from. `received` is that of `answering`. An error
    becomes a packet.
    """
    buffers = [torch.empty_like(buffer) for buffer in sampler.buffers()]
    group.broadcast(buffers)
    about, tensors = group.receive_packet(0)
    if not tensors:
        return iter(())
    inputs = dict(zip(about["names"], tensors, strict=True))
    seeds, name = inputs.pop("seeds").tolist(), about["extractor"]
    extract = None if name is None else functools.partial(_extract, name, group.device)
    with group.answering(received) as cancelled:

        def leave_if_cancelled(layer: nn.Module, arguments: tuple[object, ...]) -> None:
            if cancelled.is_set():
                raise InterruptedError

        try:
            generator = copy.deepcopy(sampler).eval()
            for buffer, given in zip(generator.buffers(), buffers, strict=True):
                buffer.copy_(given)
            with register_module_forward_pre_hook(leave_if_cancelled):
                generated = _make(generator, latent, seeds, inputs, about["batch_size"], extract)
        except Exception as error:
            return iter([({"error": one_line(error, 200)}, [])])
    return (({}, batch) for batch in generated)


def _parts(condition: Condition | None, rows: Tensor) -> dict[str, Tensor]:
    """Returns the parts of the condition of some samples, by name."""
    parts = {} if condition is None else condition._asdict()
    return {name: part[rows] for name, part in parts.items() if part is not None}


def _make(
    generator: nn.Module,
    latent: LatentDistribution,
    seeds: Sequence[int],
    parts: dict[str, Tensor],
    batch_size: int,
    extract: Callable[[Tensor], Features] | None,
) -> Iterator[Batch]:
    """Makes all samples at once; then yields them in batches, the same ones if memory was too short for some."""
    generated: list[Batch] = []
    condition = Condition(**parts) if parts else None
    for batch in generate(generator, latent, seeds, batch_size, condition=condition):
        if not batch.isfinite().all():
            raise DivergedError("its generator makes samples that are not finite")
        samples = to_uint8(batch)
        found = () if extract is None else extract(samples)
        generated.append([samples, *(part for part in found if part is not None)])
    whole = (torch.cat(parts) for parts in zip(*generated, strict=True))
    return map(list, zip(*(part.split(batch_size) for part in whole), strict=True))


_build_once = functools.cache(build_untrained_extractor)


def _extract(name: str, device: torch.device, samples: Tensor) -> Features:
    return _build_once(name, samples.shape[1], device if device.type == "cuda" else CPU).extract(samples)
