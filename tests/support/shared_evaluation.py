"""Evaluates the generators of CASES by several processes and by one, and says which process makes how many samples.

`distributed/test_shared_evaluation.py` runs `python shared_evaluation.py RANK COUNT STORE CASE ...` for each process,
with an empty home. Each prints a line of JSON for each case.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from gan_cli.data.load_dataset import build_batches, build_dataset, with_classes, with_sources
from gan_cli.distributed.process_environment import ProcessEnvironment
from gan_cli.distributed.process_group import ALONE, COLLECT, END, GENERATE, ConnectedGroup, Message, ProcessGroup
from gan_cli.evaluation import shared_generation
from gan_cli.evaluation.metrics import feature_extractors
from gan_cli.evaluation.metrics.classifier import Classifier
from gan_cli.evaluation.metrics.feature_extractors import CPU
from gan_cli.evaluation.shared_generation import make_own_batches
from gan_cli.models import imagenet
from gan_cli.state.train_state import build_state
from gan_cli.training import periodic_evaluation
from gan_cli.training.periodic_evaluation import evaluate, expected_seconds, reference_for
from gan_cli.training.run import Run
from gan_cli.training.steps import training_step
from support.configs import TINY_IMAGES, compose
from support.pretrained import random_published_weights

AT_ONCE, TIMED = 16, 5
METRICS = "evaluation.metrics=[frechet,kernel]"
RANDOM = "evaluation.extractor=random"
TASK = ("evaluation.metrics=[paired,psnr,diversity,frechet]", RANDOM)
CASES: dict[str, tuple[str, ...]] = {
    "batch normalization": (METRICS, RANDOM, "architecture.generator.normalization=batch"),
    "no normalization": (METRICS, RANDOM, "architecture.generator.normalization=none", "training.ema_decay=0"),
    "classes": (METRICS, RANDOM, "conditioning=projection"),
    "pixels": (METRICS, "evaluation.extractor=pixels"),
    "inpainting": (*TASK, "task=inpainting", "architecture.generator.levels=2"),
    "without latent": (*TASK[1:], "evaluation.metrics=[psnr]", "task=translation", "task.source=edges",
                       "architecture.generator.levels=2", "architecture.generator.latent_dim=0"),
    "growth": (METRICS, RANDOM, "architecture=pggan"),
    "points": (METRICS,),
    "efficientnet": ("evaluation.metrics=[kernel]", "evaluation.extractor=efficientnet"),
    "another fails": (METRICS, RANDOM),
    "process 0 fails": (METRICS, RANDOM),
    "another cannot copy": (METRICS, RANDOM),
}  # fmt: skip
FAILS = {"another fails": 1, "process 0 fails": 0, "another cannot copy": 1}  # the process that fails
generate = shared_generation.generate
made: list[int] = []  # numbers of samples that this process makes together with others


def prepared(case: str) -> Run:
    """Returns the run of a case after two steps, the same in each process, which trains alone."""
    overrides = [each for each in TINY_IMAGES if "latent_dim" not in each or case != "without latent"]
    base = ["experiment=ring", "threads=1"] if case == "points" else overrides
    config = compose(*base, *CASES[case], "evaluation.n=100", "steps=2")
    dataset = build_dataset(config.dataset, config.image_size)
    config = with_classes(config, dataset)
    dataset = with_sources(config, dataset)
    state = build_state(config, CPU)
    state.counters.total_steps = config.steps
    nothing: Any = None
    run = Run(config, state, build_batches(config, dataset, CPU), Path.home(), nothing, nothing)
    while state.counters.step < config.steps:
        training_step(state, run.objective, run.batches)
    return run


def watch(rank: int, case: str) -> None:
    """Counts samples, and lets one process fail once, while the others are busy until they are told to leave."""
    made.clear()
    failing, busy = FAILS.get(case) == rank, case == "process 0 fails" and rank > 0
    if failing and case == "another cannot copy":
        failing = False

        def fail_once(network: nn.Module) -> nn.Module:
            shared_generation.copy = copy  # type: ignore[attr-defined]
            raise RuntimeError("no memory left")

        shared_generation.copy = SimpleNamespace(deepcopy=fail_once)  # type: ignore[attr-defined]

    def watched(generator: nn.Module, latent: Any, seeds: Any, *arguments: Any, **keywords: Any) -> Iterator[Tensor]:
        nonlocal failing, busy
        made.append(len(seeds))
        if failing:
            failing = False
            raise RuntimeError("no memory left")
        try:
            while busy:
                nn.Identity()(torch.zeros(1))
        finally:
            busy = False
        return generate(generator, latent, seeds, *arguments, **keywords)

    shared_generation.generate = watched


def lead(case: str, run: Run, group: ProcessGroup) -> dict[str, Any]:
    """Process 0: returns the metrics that all processes find, those of this one alone, and the last line of the log."""
    said: list[str] = []
    run.log = SimpleNamespace(info=said.append)  # type: ignore[assignment]
    run.reference = reference_for(run.config, run.batches.dataset, CPU, said.append)
    torch.manual_seed(1)
    classifier = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 8)), 1.0)
    run.load_classifier = lambda *arguments: (classifier, "")
    found: dict[str, Any] = {}
    for name, used in (("together", group), ("alone", ALONE), ("again", group)):
        run.group = used
        made.clear()
        found[name] = evaluate(run)
        found.setdefault("made", sum(made))
        found.setdefault("said", said[-1])
    run.group = group
    made.clear()
    found["timed"] = [expected_seconds(run) > 0, sum(made)]
    return found


def follow(run: Run, group: ConnectedGroup) -> dict[str, Any]:
    """Another process: makes samples as process 0 directs. Returns how many in its first evaluation."""
    packets: Iterator[Any] = iter(())
    while (message := group.exchange(Message())).command != END:
        if message.command == GENERATE:
            packets = make_own_batches(run.state.sampler, run.objective.latent, group, lambda: 0)
        elif message.command == COLLECT and message.value == group.rank:
            group.send_packet(0, *next(packets))
    return {"made": made}


def main() -> None:
    rank, count, store, *cases = sys.argv[1:]
    torch.set_num_threads(1)
    weights = random_published_weights()
    imagenet.load_imagenet_weights = lambda needed_by: weights
    periodic_evaluation.AT_ONCE = feature_extractors.BATCH_SIZE = AT_ONCE
    periodic_evaluation.TIMED = TIMED
    periodic_evaluation.CLASS_SEEDS = range(20_000, 20_050)
    environment = ProcessEnvironment(int(rank), int(count), int(rank), int(count), Path(store))
    group = ConnectedGroup(environment, CPU, 60.0)
    with group.directing() if rank == "0" else contextlib.nullcontext():
        for case in cases:
            run = prepared(case)
            watch(int(rank), case)
            if rank == "0":
                found = lead(case, run, group)
                group.send(END)
            else:
                for name, buffer in run.state.sampler.named_buffers():
                    if name.endswith("running_mean"):  # of which process 0 must give its own
                        buffer.add_(1)
                found = follow(run, group)
            print(json.dumps([case, found]), flush=True)
    group.end(0)
    os._exit(0)


if __name__ == "__main__":
    main()
