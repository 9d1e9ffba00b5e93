"""What a checkpoint's samples, or one folder of pictures, are worth: a function each, which `gan-eval` prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from gan_cli import __version__
from gan_cli.config.metric_names import Evaluated
from gan_cli.data.dataset import Dataset
from gan_cli.data.load_dataset import build_dataset
from gan_cli.data.reach import moved, reachable
from gan_cli.errors import CheckpointError, DivergedError, UsageError, one_line
from gan_cli.evaluation.evaluator import check_metrics, judge, possible_metrics
from gan_cli.evaluation.image_folders import read_folders
from gan_cli.evaluation.metrics.memorization import Memorization
from gan_cli.evaluation.real_data import FEWEST, USUAL, Protocol, Real, find_real
from gan_cli.evaluation.reference import Reference, Say, Told, build_extractor, build_reference, unsaid, untold
from gan_cli.evaluation.samples import FIRST_SEED, STANDING_BATCHES, draw_samples, with_own_statistics
from gan_cli.images import grid
from gan_cli.models.build_networks import build_generator
from gan_cli.models.standing import has_statistics
from gan_cli.randomness import generator_for
from gan_cli.state.checkpoint import Checkpoint
from gan_cli.storage.run_folder import started_in

UNNAMED = 5000  # samples where nobody says how many, if there are as many real ones
SHOWN_PAIRS = 32

Keep = Callable[[Image.Image], None]


def _unkept(page: Image.Image) -> None:
    pass


# --- a checkpoint ------------------------------------------------------------------------------------------------


def evaluate_checkpoint(
    found: Checkpoint,
    *,
    metrics: Sequence[str] | None = None,
    extractor: str = "auto",
    n: int | None = None,
    reals: str = "held_out",
    n_real: int | None = None,
    seed: int = FIRST_SEED,
    batch_size: int = 500,
    resamples: int = 200,
    ema: bool = True,
    standing: bool = True,
    data: str | None = None,
    device: torch.device | None = None,
    say: Say = unsaid,
    told: Told = untold,
    page: Keep = _unkept,
) -> Evaluated:
    """What `n` samples of a checkpoint's generator are worth, of seeds `seed` to `seed + n - 1`.

    They are compared with `n_real` of the held-out samples, of the training ones, or of all, as `reals` says. The data
    are those of its run, at `data` if they were moved. `metrics` None: all that they allow. `say` is given lines for
    the user, `told` progress, `page` the picture of the nearest pairs. Writes nothing but caches.
    UsageError for data that are gone or others, and for what they do not allow; CheckpointError for samples that are
    not finite.
    """
    dataset, real = _data_of(found, data)
    say(f"data: {dataset.source}")
    reference = _reference(real, extractor, n, metrics, say, told, Protocol(reals, n_real))
    generator = build_generator(found.config, found.tensors, device or torch.device("cpu"), ema=ema)
    standing = standing and has_statistics(generator)
    if standing:
        generator = with_own_statistics(generator, found.config, dataset)
        say(f"batch norm: statistics of {STANDING_BATCHES} batches of samples, for the weights that are judged")
    seeds = range(seed, seed + reference.n)
    try:
        samples = draw_samples(generator, found.config, dataset, seeds, batch_size, told)
    except DivergedError as error:
        raise CheckpointError(f"{found.path}: {error}") from error
    about = {
        "checkpoint": str(found.path.absolute()),
        "sha256": found.sha256,
        "step": found.counters.step,
        "data": dataset.source,
        "fingerprint": dataset.fingerprint,
        "seeds": f"{seeds[0]}-{seeds[-1]}",
        "ema": ema and found.config.training.ema_decay > 0,
        "standing": standing,
    }
    return _evaluated(reference, samples, metrics, resamples, about, told, page)


def _data_of(found: Checkpoint, data: str | None) -> tuple[Dataset, Real]:
    """What the checkpoint's run was trained on; UsageError if that is gone, or if it is something else now."""
    config, away = found.config, ""
    if data is not None:
        section = moved(config.dataset, data)
    else:
        section = reachable(config.dataset, started_in(found.path.parent.parent))
        away = (
            "; if they were moved, data=... says where to"
            if hasattr(section, "path") or hasattr(section, "root")
            else ""
        )
    try:
        dataset = build_dataset(section, config.image_size)
    except UsageError as error:
        raise UsageError(f"the data of {found.path}: {error}{away}") from None
    if dataset.fingerprint != found.provenance.fingerprint:
        raise UsageError(
            f"{found.path}: was trained on other data than these ({one_line(dataset.source, 120)}); put those back"
            f"{away}, or compare folders of pictures by real= and fake="
        )
    return dataset, find_real(section, config.image_size, dataset)


def _reference(
    real: Real,
    extractor: str,
    n: int | None,
    metrics: Sequence[str] | None,
    say: Say,
    told: Told,
    protocol: Protocol = USUAL,
) -> Reference:
    """The real side; UsageError for more samples than there are real ones beside them."""
    if n is not None and n > real.most and protocol == USUAL:
        beside = "" if real.held_out is not None else f", half of {len(real.whole):,}, as {real.why}"
        raise UsageError(
            f"n={n}: there are {real.most:,} real samples on each side{beside}; use at most that many, or reals=train"
            f" to compare with all {len(real.whole):,} training samples"
        )
    if protocol.n is not None and protocol.n > real.available(protocol):
        most = real.available(protocol)
        raise UsageError(f"n_real={protocol.n}: reals={protocol.reals} are {most:,} samples, use at most that many")
    for note in real.notes:
        say(f"data: {note}")
    for line in real.doubles:
        say(line)
    reference = build_reference(real, build_extractor(extractor, real, say), n or UNNAMED, told, protocol)
    check_metrics(reference, metrics or ())
    say(f"compared with: {reference.describe()}")
    return reference


# --- two folders -------------------------------------------------------------------------------------------------


def evaluate_folders(
    real: str,
    fake: str,
    *,
    image_size: int | tuple[int, ...] | None = None,
    metrics: Sequence[str] | None = None,
    extractor: str = "auto",
    n: int | None = None,
    reals: str = "held_out",
    n_real: int | None = None,
    resamples: int = 200,
    say: Say = unsaid,
    told: Told = untold,
    page: Keep = _unkept,
) -> Evaluated:
    """What the pictures in one folder or zip are worth beside those in another; else as `evaluate_checkpoint`."""
    protocol = Protocol(reals, n_real)
    data, made, said, fakes = read_folders(real, fake, image_size, n or UNNAMED, extractor=extractor, n_real=n_real)
    for line in said:
        say(line)
    if len(made) < FEWEST:
        raise UsageError(f"fake={fake}: {len(made)} pictures are too few to judge, at least {FEWEST} are needed")
    if n is not None and n > len(made):
        raise UsageError(f"n={n}: fake={fake} has {len(made):,} pictures, use at most that many")
    wanted = n if n is not None else min(UNNAMED, len(made))
    if n is None and protocol == USUAL:
        wanted = min(wanted, data.most)
    reference = _reference(data, extractor, wanted, metrics, say, told, protocol)
    unused = fakes - reference.n
    if unused > 0:
        more = "; n= takes more" if reference.n == len(made) else "; reals=train compares all with all real ones"
        more = more if n is None else ""
        say(f"fakes: {unused:,} of {fakes:,} are not used{more}")
    order = torch.randperm(len(made), generator=generator_for(0, "fakes"))  # files of a class may stand together
    about = {
        "real": real,
        "fake": fake,
        "fingerprint": data.whole.fingerprint,
        "shape": list(made.samples.shape[1:]),
        "told": said[2:],
        "unused": max(unused, 0),
    }
    return _evaluated(reference, made.samples[order[: reference.n]], metrics, resamples, about, told, page)


# --- both --------------------------------------------------------------------------------------------------------


def _evaluated(
    reference: Reference,
    samples: Tensor,
    metrics: Sequence[str] | None,
    resamples: int,
    about: dict[str, Any],
    told: Told,
    page: Keep,
) -> Evaluated:
    judged = judge(reference, samples, metrics or possible_metrics(reference), resamples=resamples, told=told)
    about |= {
        "extractor": reference.extractor.name,
        "accuracy": reference.extractor.accuracy,
        "n": len(samples),
        "n_real": len(reference.real.features),
        "reals": reference.protocol.reals,
        "compared_with": reference.describe(),
        "basis": reference.basis,
        "gan_cli": __version__,
    }
    if reference.extractor.why:
        about["why"] = reference.extractor.why
    left_out = [*reference.data.notes, *reference.data.doubles]
    if left_out:
        about["notes"] = left_out
    if judged.memorized is not None:
        about |= {"memorized": judged.memorized.flagged, "verdict": judged.memorized.verdict}
        page(draw_nearest(judged.memorized, samples, reference))
    return Evaluated(tuple(judged.figures), about)


def draw_nearest(found: Memorization, samples: Tensor, reference: Reference) -> Image.Image:
    """The samples that are most like a training picture, each above it, and the same of held-out pictures."""
    train, count = reference.data.train.samples, len(found.copies)
    held_out, _ = reference.data.unseen(count)
    blocks = []
    for title, shown, nearest in (
        ("samples that are most like a training image, each above it", samples, found.nearest),
        ("the same of real images that were held out", held_out, found.held_out_nearest),
    ):
        most = nearest.closeness.argsort()[:SHOWN_PAIRS]
        blocks.append((title, shown[most], train[nearest.index[most]]))
    return grid.draw_pairs(blocks)
