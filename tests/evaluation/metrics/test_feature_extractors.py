"""What samples are compared by: shapes and ranges, the same anywhere, and keys that tell different looks apart."""

from __future__ import annotations

import pytest
import torch

from gan_cli.data.datasets.mnist_family import MNIST, load_digits
from gan_cli.data.labels import Attribute
from gan_cli.device import allow_tf32, without_tf32
from gan_cli.errors import StorageError
from gan_cli.evaluation.metrics import feature_extractors
from gan_cli.evaluation.metrics.classifier import LabelledImages, resized_inputs, train_classifier
from gan_cli.evaluation.metrics.feature_extractors import RANDOM_FEATURES, Extractor, Features, downscale
from gan_cli.models.imagenet import load_efficientnet_classifier
from gan_cli.storage.imagenet_weights import SHA256
from support.pretrained import needs_weights

FLAT = -17.1416  # the sum of the random features of a white picture


def images(channels: int = 1, side: int = 28, count: int = 7) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, channels, side, side), generator=random, dtype=torch.uint8)


def test_points_are_their_coordinates() -> None:
    points = torch.randn(5, 2)
    assert torch.equal(feature_extractors.build_point_extractor().extract(points).features, points)


@pytest.mark.parametrize(
    ("shape", "most", "values"), [((1, 16, 16), 256, 256), ((3, 64, 64), 256, 3 * 9 * 9), ((1, 8, 64), 128, 4 * 32)]
)
def test_pixels_are_shrunk_only_where_there_are_many(shape: tuple[int, ...], most: int, values: int) -> None:
    found = downscale(torch.full((2, *shape), 255, dtype=torch.uint8), most)
    assert found.shape == (2, values)
    assert torch.allclose(found, torch.ones(()))


def test_small_pixels_stay_as_they_are() -> None:
    small = images(side=8)
    assert torch.allclose(
        feature_extractors.build_pixel_extractor().extract(small).features, small.flatten(1) / 127.5 - 1
    )


@needs_weights
@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 64), (4, 16)])
def test_efficientnet_sees_images_of_its_own_size(channels: int, side: int) -> None:
    extractor = feature_extractors.build_efficientnet_extractor()
    given = images(channels, side, 3)
    found = extractor.extract(given)
    assert found.features.shape == (3, 1280)
    assert 0 <= found.features.min() < found.features.max() <= 6
    assert found.probabilities is not None
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(3))
    assert SHA256 in extractor.key
    assert (extractor.name, extractor.accuracy) == ("efficientnet", None)
    seen = resized_inputs(given, (224, 224))[:, : 3 if channels > 2 else 1]
    expected = load_efficientnet_classifier("extractor=efficientnet").classify(seen)[0]
    torch.testing.assert_close(found.features, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 64), (4, 16)])
def test_random_convolutions_are_the_same_for_everybody(channels: int, side: int) -> None:
    torch.manual_seed(0)
    one = feature_extractors.build_random_extractor(channels).extract(images(channels, side)).features
    torch.manual_seed(1)
    assert torch.equal(
        one, feature_extractors.build_random_extractor(channels).extract(images(channels, side)).features
    )
    assert one.shape == (7, RANDOM_FEATURES)
    assert 0.1 < one.std() < 10
    # of a seed, and of nothing that a version of torch may change
    flat = (
        feature_extractors.build_random_extractor(1)
        .extract(torch.full((1, 1, 32, 32), 255, dtype=torch.uint8))
        .features
    )
    assert flat.sum().item() == pytest.approx(FLAT, rel=1e-3)


def test_parts_are_told_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = feature_extractors.build_random_extractor(1).extract(images()).features
    monkeypatch.setattr(feature_extractors, "BATCH_SIZE", 3)
    told: list[tuple[int, int]] = []
    parts = feature_extractors.build_random_extractor(1).extract(
        images(), lambda done, count: told.append((done, count))
    )
    assert torch.allclose(parts.features, whole, atol=1e-5)
    assert told == [(3, 7), (6, 7), (7, 7)]


def test_batches_are_moved_to_the_device_and_features_back() -> None:
    def extract_batch(batch: torch.Tensor) -> Features:
        assert batch.device.type == "meta"
        return Features(torch.ones(len(batch), 3))

    found = Extractor("known", "", extract_batch, device=torch.device("meta")).extract(images(count=600))
    assert found.features.shape == (600, 3)


def test_features_of_a_gpu_are_computed_without_tf32() -> None:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        allow_tf32(True)
        with without_tf32(torch.device("cuda")):
            assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (False, False)
        assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (True, True)
        with without_tf32(torch.device("cpu")):
            assert torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def test_a_classifier_on_its_device_is_not_copied() -> None:
    known = train_classifier(LabelledImages(images(count=20), torch.arange(20) % 2, [Attribute("", 0, 2)]), steps=1)
    assert known.on(torch.device("cpu")) is known
    moved = known.on(torch.device("meta"))
    assert {parameter.device.type for parameter in moved.network.parameters()} == {"meta"}
    assert {parameter.device.type for parameter in known.network.parameters()} == {"cpu"}


def test_a_classifier_gives_features_and_probabilities() -> None:
    digits = load_digits(MNIST, root="nowhere", download=False, fallback="bundled", image_size=(28, 28), split="train")
    assert digits.labels is not None
    known = train_classifier(LabelledImages(digits.samples, digits.labels, [Attribute("", 0, 10)]), steps=20)
    seen = feature_extractors.build_classifier_extractor(known, one_of=True).extract(digits.samples[:9])
    assert torch.allclose(seen.features, known.features(digits.samples[:9]))
    assert seen.probabilities is not None
    assert torch.allclose(seen.probabilities, known.logits(digits.samples[:9]).softmax(1), atol=1e-5)
    assert (
        feature_extractors.build_classifier_extractor(known, one_of=False).extract(digits.samples[:9]).probabilities
        is None
    )
    stacks = torch.cat([digits.samples[:9], digits.samples[9:18]], 1)
    spelt = feature_extractors.build_classifier_extractor(known, one_of=True, stacked=True).extract(stacks)
    assert spelt.features.shape == (9, 2 * known.features(digits.samples[:1]).shape[1])
    assert spelt.probabilities is not None
    singles = known.logits(digits.samples[:18]).softmax(1)
    expected = torch.einsum("ni,nj->nij", singles[:9], singles[9:]).flatten(1)
    assert torch.allclose(spelt.probabilities, expected, atol=1e-5)


def test_features_that_are_not_finite_are_refused() -> None:
    """A file of the cache may have such finite weights that a layer overflows."""
    for accuracy, advice in ((None, "finite$"), (0.9, r"remove ~/\.cache/gan-cli/classifiers, and")):
        extractor = Extractor("classifier", "", lambda images: Features(images * 3e38), accuracy)
        assert extractor.extract(torch.ones(2, 3)).features.isfinite().all()
        with pytest.raises(StorageError, match=advice):
            extractor.extract(torch.full((2, 3), 2.0))


def test_keys_tell_apart_what_sees_differently() -> None:
    one, other = (
        train_classifier(LabelledImages(images(count=20), torch.arange(20) % 2, [Attribute("", 0, 2)]), steps=steps)
        for steps in (1, 2)
    )
    keys = [
        feature_extractors.build_point_extractor().key,
        feature_extractors.build_pixel_extractor().key,
        feature_extractors.build_random_extractor(1).key,
        feature_extractors.build_random_extractor(3).key,
        *(feature_extractors.build_classifier_extractor(known, one_of=True).key for known in (one, other)),
        feature_extractors.build_classifier_extractor(one, one_of=False).key,
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert feature_extractors.build_classifier_extractor(one, one_of=True).key == keys[4]
