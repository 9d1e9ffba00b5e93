"""Augmentations where the answer is known: images that tell where each of their pixels went."""

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, pad

from gan_cli.config.options.loop import Augmentation
from gan_cli.objectives.ada_transforms import rotate_quarters
from gan_cli.objectives.augmentation import (
    POLICIES,
    PRESETS,
    augment,
    color,
    cutout,
    flip_and_shift,
    next_ada_probability,
    translation,
)

Change = Callable[[Tensor, torch.Generator], Tensor]
CHANGES: dict[str, Change] = {
    **POLICIES,
    "all": lambda images, random: augment(images, tuple(POLICIES), random),
    "flip_and_shift": flip_and_shift,
}
SHAPES = [(4, 1, 16, 16), (3, 2, 9, 20), (4, 3, 17, 12), (5, 4, 8, 8), (2, 3, 1, 1), (3, 1, 2, 5), (1, 3, 32, 32)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(shape, generator=seeded(99), dtype=dtype) * 2 - 1


def numbered(count: int, height: int, width: int) -> Tensor:
    """`[count, 1, height, width]` whose every pixel holds its own number, from 1, which tells where it came from."""
    return torch.arange(1.0, height * width + 1).view(1, 1, height, width).repeat(count, 1, 1, 1)


@pytest.mark.parametrize("name", CHANGES)
class TestEvery:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_keeps_the_shape_and_stays_finite(self, name: str, shape: tuple[int, ...]) -> None:
        images = noise(*shape)
        before = images.clone()
        changed = CHANGES[name](images, seeded())
        assert changed.shape == images.shape
        assert changed.dtype == images.dtype
        assert changed.isfinite().all()
        assert torch.equal(images, before), "the given images must stay as they are"

    def test_changes_something(self, name: str) -> None:
        images = noise(8, 3, 16, 16)
        differs = (CHANGES[name](images, seeded()) != images).flatten(1).any(1)
        assert differs.sum() >= (2 if name == "flip" else 6)

    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_gradient(self, name: str, channels: int) -> None:
        images = noise(2, channels, 5, 4, dtype=torch.float64).requires_grad_(True)
        assert torch.autograd.gradcheck(lambda given: CHANGES[name](given, seeded(3)), images, fast_mode=True)
        assert torch.autograd.gradgradcheck(
            lambda given: CHANGES[name](given, seeded(3)).square(), images, fast_mode=True
        )

    def test_equal_seeds_give_equal_images(self, name: str) -> None:
        images = noise(8, 3, 16, 16)
        assert torch.equal(CHANGES[name](images, seeded(1)), CHANGES[name](images, seeded(1)))
        assert not torch.equal(CHANGES[name](images, seeded(1)), CHANGES[name](images, seeded(2)))

    def test_draws_from_the_given_generator_alone(self, name: str) -> None:
        before = torch.get_rng_state()
        CHANGES[name](noise(4, 3, 16, 16), seeded())
        assert torch.equal(torch.get_rng_state(), before)

    def test_samples_do_not_mix(self, name: str) -> None:
        images = noise(6, 3, 16, 16)
        other = images.clone()
        other[0] = -other[0].flip(1)
        first, second = CHANGES[name](images, seeded(4)), CHANGES[name](other, seeded(4))
        assert not torch.equal(first[0], second[0])
        assert torch.equal(first[1:], second[1:])

    def test_each_sample_has_its_own_numbers(self, name: str) -> None:
        changed = CHANGES[name](noise(1, 3, 32, 32).repeat(32, 1, 1, 1), seeded())
        assert len({tuple(sample.flatten().tolist()) for sample in changed}) > {"turn": 3, "flip": 1}.get(name, 16)

    def test_memory_layout_does_not_matter(self, name: str) -> None:
        images = noise(4, 3, 12, 8)
        turned = images.to(memory_format=torch.channels_last)
        torch.testing.assert_close(CHANGES[name](turned, seeded()), CHANGES[name](images, seeded()))

    def test_half_precision(self, name: str) -> None:
        images = noise(4, 3, 16, 16)
        changed = CHANGES[name](images.bfloat16(), seeded())
        assert changed.dtype == torch.bfloat16
        torch.testing.assert_close(changed.float(), CHANGES[name](images, seeded()), atol=0.05, rtol=0.05)


# Color


def test_color_is_brightness_then_saturation_then_contrast() -> None:
    """The same numbers, drawn beforehand, in three plain steps."""
    images = noise(5, 3, 6, 7, dtype=torch.float64)
    drawn = torch.rand(3, 5, 1, 1, 1, generator=seeded(7)).double()
    stepped = images + drawn[0] - 0.5
    grey = stepped.mean(1, keepdim=True)
    stepped = grey + (stepped - grey) * drawn[1] * 2
    level = stepped.mean((1, 2, 3), keepdim=True)
    stepped = level + (stepped - level) * (drawn[2] + 0.5)
    torch.testing.assert_close(color(images, seeded(7)), stepped)


def test_color_numbers_are_within_their_bounds() -> None:
    """An image's mean moves by its brightness, its grey part grows by the contrast, the rest by that and saturation."""
    grey, tint = torch.tensor([[0.2, -0.2]]), torch.tensor([0.3, 0.0, -0.3])
    images = (grey[None] + tint[:, None, None]).expand(4000, 3, 1, 2)
    changed = color(images, seeded())
    brightness = changed.mean((1, 2, 3))
    contrast = (changed.mean(1) @ torch.tensor([1.0, -1.0])).flatten() / 0.4
    saturation = (changed[:, 0] - changed[:, 2]).mean((1, 2)) / 0.6 / contrast
    for values, low, high in ((brightness, -0.5, 0.5), (contrast, 0.5, 1.5), (saturation, 0.0, 2.0)):
        assert values.min() >= low - 1e-5
        assert values.max() <= high + 1e-5
        assert values.mean().item() == pytest.approx((low + high) / 2, abs=0.03 * (high - low))
        assert values.std().item() == pytest.approx((high - low) / 12**0.5, rel=0.05)
    assert torch.corrcoef(torch.stack((brightness, contrast, saturation))).triu(1).abs().max() < 0.06


def test_color_of_one_channel_has_no_saturation() -> None:
    """Only a shift and a contrast between 0.5 and 1.5 remain, the same as of three equal channels."""
    images = noise(64, 1, 8, 8)
    changed = color(images, seeded())
    contrast = changed.std((1, 2, 3)) / images.std((1, 2, 3))
    assert contrast.min() >= 0.5 - 1e-5
    assert contrast.max() <= 1.5 + 1e-5
    torch.testing.assert_close(color(images.repeat(1, 3, 1, 1), seeded()), changed.repeat(1, 3, 1, 1))


def test_color_leaves_opacity_alone_and_uncounted() -> None:
    images = noise(8, 4, 6, 6)
    changed = color(images, seeded())
    assert torch.equal(changed[:, 3], images[:, 3])
    assert torch.equal(changed[:, :3], color(images[:, :3], seeded()))


# Translation


@pytest.mark.parametrize(("height", "width", "down", "right"), [(16, 16, 2, 2), (28, 32, 4, 4), (12, 40, 2, 5)])
def test_translation_moves_and_pads_with_zeros(height: int, width: int, down: int, right: int) -> None:
    count = 600
    changed = translation(numbered(count, height, width), seeded())
    middle = changed[:, 0, height // 2, width // 2].long() - 1  # never from beyond the border
    moved = [(height // 2 - source // width, width // 2 - source % width) for source in middle.tolist()]
    assert {step[0] for step in moved} == set(range(-down, down + 1))
    assert {step[1] for step in moved} == set(range(-right, right + 1))
    image = numbered(1, height, width)[0]
    for sample, (y, x) in zip(changed, moved, strict=True):
        assert torch.equal(sample, pad(image, (x, -x, y, -y)))  # negative padding cuts off


def test_every_translation_is_equally_likely() -> None:
    changed = translation(numbered(9000, 8, 8), seeded())
    places, counts = changed[:, 0, 4, 4].unique(return_counts=True)
    assert len(places) == 9
    assert (counts - 1000).abs().max() < 150  # five standard deviations


def test_one_pixel_is_translated_with_all_its_channels() -> None:
    image = torch.zeros(200, 4, 9, 9)
    image[:, :, 4, 4] = torch.tensor([0.1, 0.2, 0.3, 0.4])
    changed = translation(image, seeded())
    lit = changed[:, 0].nonzero()
    assert len(lit) == 200
    assert (lit[:, 1:] - 4).abs().max() == 1
    for channel in range(4):
        assert torch.equal(changed[:, channel].nonzero(), lit)
        assert torch.equal(changed[:, channel].sum((1, 2)), image[:, channel, 4, 4])


# Cutout


@pytest.mark.parametrize(("height", "width"), [(16, 16), (8, 12), (7, 10), (5, 5)])
def test_cutout_is_one_hole_of_half_the_side(height: int, width: int) -> None:
    """Whole where its middle is far enough from the border; never less than the part a middle on the border leaves."""
    hole = cutout(torch.ones(800, 3, height, width), seeded()) == 0
    assert torch.equal(hole, hole[:, :1].expand_as(hole))
    sides = ((height, hole[:, 0].any(2)), (width, hole[:, 0].any(1)))
    for side, covered in sides:
        length = (side + 1) // 2
        assert covered.sum(1).max() == length
        assert covered.sum(1).min() == -(-length // 2)
        edges = (covered[:, 1:] != covered[:, :-1]).sum(1)
        assert edges.min() == 1, "holes reach the border"
        assert edges.max() == 2, "and lie in one piece"
        whole = covered[covered.sum(1) == length]
        assert {row.int().argmax().item() for row in whole} == set(range(side - length + 1))
    rows, columns = sides[0][1], sides[1][1]
    assert torch.equal(hole[:, 0], rows[:, :, None] & columns[:, None, :])
    assert hole[:, 0].sum((1, 2)).max() == ((height + 1) // 2) * ((width + 1) // 2)


def test_cutout_leaves_the_rest_as_it_was() -> None:
    images = noise(16, 4, 8, 8)
    changed = cutout(images, seeded())
    assert torch.equal(changed, torch.where(changed == 0, 0, images))


# Probability and order


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("probability", [0.0, torch.tensor(0.0)])
def test_probability_0_is_the_identity(name: str, probability: float | Tensor) -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        images = noise(16, 4, 10, 8, dtype=torch.float64).to(dtype)
        assert torch.equal(augment(images, [name], seeded(), probability), images)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("probability", [0.5, torch.tensor(0.5)])
def test_probability_one_half_touches_half(name: str, probability: float | Tensor) -> None:
    """A shift by 0, 0 touches nothing: 1 in 81 of 32 x 32; nor does a turn by no quarter, 1 in 4, or a flip, 1 in 2.

    What is touched is touched as with probability 1.
    """
    images = noise(1000, 3, 32, 32)
    changed = augment(images, [name], seeded(), probability)
    touched = (changed != images).flatten(1).any(1)
    assert touched.float().mean().item() == pytest.approx({"turn": 0.375, "flip": 0.25}.get(name, 0.5), abs=0.06)
    assert torch.equal(changed[touched], augment(images, [name], seeded())[touched])


def test_each_policy_chooses_its_own_samples() -> None:
    images = torch.ones(2000, 1, 16, 16)
    changed = augment(images, ("color", "translation", "cutout"), seeded(), 0.5)
    untouched = (changed == images).flatten(1).all(1).float().mean().item()
    assert untouched == pytest.approx(0.5 * (0.5 + 0.5 / 25) * 0.5, abs=0.04)


def test_policies_come_in_the_order_of_the_table() -> None:
    """Translation's border and cutout's hole are exactly 0, so color came before them."""
    images = noise(16, 3, 16, 16)
    changed = augment(images, ("cutout", "translation", "color"), seeded())
    assert torch.equal(changed, augment(images, ("color", "translation", "cutout"), seeded()))
    random = seeded()
    by_hand = color(images, random)
    by_hand = translation(by_hand, random)
    assert torch.equal(changed, cutout(by_hand, random))
    assert ((changed == 0).all(1).flatten(1).sum(1) >= 16).all()


def test_no_policy_is_the_identity_and_an_unknown_one_an_error() -> None:
    images = noise(2, 3, 8, 8)
    assert augment(images, (), seeded()) is images
    with pytest.raises(ValueError, match="zoom"):
        augment(images, ("color", "zoom"), seeded())


# Consistency regularization's T


@pytest.mark.parametrize(("height", "width", "down", "right"), [(32, 32, 4, 4), (12, 16, 2, 2), (4, 8, 1, 1)])
def test_flip_and_shift_reflects_at_the_border(height: int, width: int, down: int, right: int) -> None:
    count = 3000
    image = numbered(1, height, width)
    known = {}
    for flipped in (False, True):
        padded = pad(image.flip(3) if flipped else image, (right, right, down, down), mode="reflect")
        for y in range(-down, down + 1):
            for x in range(-right, right + 1):
                window = padded[0, 0, down - y : down - y + height, right - x : right - x + width]
                known[tuple(window.flatten().tolist())] = (flipped, y, x)
    assert len(known) == 2 * (2 * down + 1) * (2 * right + 1)
    changed = flip_and_shift(numbered(count, height, width), seeded())
    seen = [known[tuple(sample.flatten().tolist())] for sample in changed]
    assert set(seen) == set(known.values())
    assert sum(flipped for flipped, _, _ in seen) / count == pytest.approx(0.5, abs=0.05)


# ADA's controller


def next_p(p: float | Tensor, r: float | Tensor) -> Tensor:
    return next_ada_probability(p, r, target=0.6, batch=64, interval=4, ramp_images=25_600)


def test_ada_moves_by_the_images_seen() -> None:
    assert next_p(0.3, 0.9).item() == pytest.approx(0.31)
    assert next_p(0.3, 0.61).item() == pytest.approx(0.31)
    assert next_p(0.3, 0.2).item() == pytest.approx(0.29)
    assert next_p(0.3, -1.0).item() == pytest.approx(0.29)
    assert next_p(torch.tensor(0.3), torch.tensor(0.9)).item() == pytest.approx(0.31)
    assert next_p(torch.tensor(0.3), torch.tensor(0.6)).item() == pytest.approx(0.3), "at the target p stays"


def test_ada_stays_between_0_and_1() -> None:
    assert next_p(0.995, 1.0).item() == 1
    assert next_p(1.0, 1.0).item() == 1
    assert next_p(0.005, 0.0).item() == 0
    assert next_p(0.0, 0.0).item() == 0


def test_ada_ramps_over_the_given_number_of_images() -> None:
    p: float | Tensor = 0.0
    for _ in range(100):  # of 64 x 4 images each
        assert float(p) < 1 - 1e-3
        p = next_p(p, 1.0)
    assert float(p) == pytest.approx(1, abs=1e-4)


def test_ada_p_feeds_augment_and_carries_no_gradient() -> None:
    logits = torch.randn(64, requires_grad=True)
    p = next_p(0.5, logits.sign().mean())
    assert not p.requires_grad
    assert p.shape == ()
    images = noise(4, 1, 8, 8)
    assert augment(images, tuple(POLICIES), seeded(), p).shape == images.shape


# --- turn --------------------------------------------------------------------------------------------------------


def test_a_turn_is_by_quarters_each_as_likely() -> None:
    images = numbered(400, 5, 5)
    turned = rotate_quarters(images, seeded())
    of_each = [(turned == images.rot90(quarters, (2, 3))).flatten(1).all(1).sum().item() for quarters in range(4)]
    assert sum(of_each) == 400
    assert all(70 < count < 130 for count in of_each)


def test_what_is_not_square_is_turned_by_half() -> None:
    images = numbered(100, 3, 5)
    turned = rotate_quarters(images, seeded())
    of_each = [(turned == images.rot90(quarters, (2, 3))).flatten(1).all(1).sum().item() for quarters in (0, 2)]
    assert sum(of_each) == 100
    assert 30 < of_each[1] < 70


# The transforms of ADA


def test_old_names_keep_their_order() -> None:
    """Runs of earlier versions draw the same numbers when they are resumed."""
    assert [name for name in POLICIES if name in ("color", "translation", "cutout", "turn")] == [
        "color", "translation", "cutout", "turn",
    ]  # fmt: skip


def test_a_resampled_image_is_that_of_torch() -> None:
    """Scaled by a and rotated by t, as `grid_sample` does it, with reflection at the edges of the image."""
    images = noise(6, 3, 9, 9, dtype=torch.float64)
    random = seeded(5)
    shrunk = torch.exp2(-0.2 * torch.randn(6, 1, 1, generator=random))
    torch.rand(6, generator=random)
    angle = (2 * torch.rand(6, generator=random) - 1) * torch.pi
    turned = torch.stack([torch.stack([angle.cos(), -angle.sin()], 1), torch.stack([angle.sin(), angle.cos()], 1)], 1)
    by_rows = shrunk * turned
    by_columns = torch.cat([by_rows.flip(1, 2), torch.zeros(6, 2, 1)], 2).double()  # torch has columns first
    grid = affine_grid(by_columns, [6, 3, 9, 9], align_corners=False)
    expected = grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    changed = augment(images, ("scale", "rotation"), seeded(5))
    torch.testing.assert_close(changed, expected, atol=1e-4, rtol=1e-4)


def test_scales_have_the_papers_distribution() -> None:
    """The slope of an image with a linear ramp is the inverse of the scale."""
    ramp = torch.arange(33.0).sub(16).expand(1, 1, 33, 33).repeat(4000, 1, 1, 1)
    slope = augment(ramp, ["scale"], seeded())[:, 0, 16, 17]
    exponent = -slope.log2()
    assert exponent.mean().item() == pytest.approx(0, abs=0.01)
    assert exponent.std().item() == pytest.approx(0.2, abs=0.01)


def test_angles_are_uniform() -> None:
    ramp = torch.arange(33.0).sub(16).expand(1, 1, 33, 33).repeat(4000, 1, 1, 1)
    turned = augment(ramp, ["rotation"], seeded())[:, 0]
    angle = torch.atan2(turned[:, 17, 16], turned[:, 16, 17])
    assert torch.histc(angle, 4, -torch.pi, torch.pi).tolist() == pytest.approx([1000] * 4, abs=90)


def test_colours_have_the_papers_distributions() -> None:
    grey = torch.full((4000, 3, 1, 1), 0.5)
    added = augment(grey, ["brightness"], seeded())[:, 0, 0, 0] - 0.5
    assert (added.mean().item(), added.std().item()) == pytest.approx((0, 0.2), abs=0.01)
    factor = (augment(grey, ["contrast"], seeded())[:, 0, 0, 0] / 0.5).log2()
    assert (factor.mean().item(), factor.std().item()) == pytest.approx((0, 0.5), abs=0.03)
    coloured = torch.tensor([0.4, 0.1, 0.1]).view(1, 3, 1, 1).repeat(4000, 1, 1, 1)
    more = augment(coloured, ["saturation"], seeded())
    torch.testing.assert_close(more.mean(1), coloured.mean(1))
    factor = ((more[:, 0] - more[:, 1]) / 0.3).log2()
    assert (factor.mean().item(), factor.std().item()) == pytest.approx((0, 1), abs=0.05)
    noisy = augment(torch.zeros(4000, 1, 16, 16), ["noise"], seeded())
    strength = noisy.flatten(1).square().mean(1)
    assert strength.mean().sqrt().item() == pytest.approx(0.1, abs=0.005)


def test_hue_turns_colours_about_the_grey_axis() -> None:
    images = noise(2000, 3, 2, 2, dtype=torch.float64)
    changed = augment(images, ["hue"], seeded())
    torch.testing.assert_close(changed.mean(1), images.mean(1), atol=1e-6, rtol=0)
    torch.testing.assert_close(changed.square().sum(1), images.square().sum(1), atol=1e-5, rtol=0)
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).repeat(4000, 1, 1, 1)
    turned = augment(red, ["hue"], seeded())[:, :, 0, 0] - 1 / 3
    angle = torch.atan2(
        (turned[:, 1] - turned[:, 2]) / 2**0.5, (2 * turned[:, 0] - turned[:, 1] - turned[:, 2]) / 6**0.5
    )
    assert torch.histc(angle, 4, -torch.pi, torch.pi).tolist() == pytest.approx([1000] * 4, abs=90)
    for channels in (1, 2, 5):
        other = noise(4, channels, 3, 3)
        assert torch.equal(augment(other, ["hue"], seeded()), other)


def test_half_of_the_images_are_mirrored() -> None:
    images = numbered(2000, 2, 3)
    changed = augment(images, ["flip"], seeded())
    mirrored = (changed == images.flip(3)).flatten(1).all(1)
    assert torch.equal(changed[~mirrored], images[~mirrored])
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("name", ["turn", "flip"])
def test_the_unchanged_image_is_the_most_likely_one(name: str) -> None:
    changed = augment(numbered(4000, 3, 3), [name], seeded(), 0.8)
    counts = changed.flatten(1).unique(dim=0, return_counts=True)[1].sort(descending=True).values
    assert counts[0] > 1.4 * counts[1]
    assert (changed == numbered(1, 3, 3)).flatten(1).all(1).sum() == counts[0]


@pytest.mark.parametrize("name", ["brightness", "contrast", "hue", "saturation", "noise", "color"])
def test_colours_leave_opacity_alone(name: str) -> None:
    images = noise(8, 4, 5, 5)
    changed = augment(images, [name], seeded())
    assert torch.equal(changed[:, 3], images[:, 3])
    assert not torch.equal(changed[:, :3], images[:, :3])


@pytest.mark.parametrize("name", POLICIES)
def test_images_of_any_shape_take_as_many_numbers(name: str) -> None:
    """So what is drawn next is the same for a mask as for its image."""
    drawn = []
    for channels in (1, 3, 4):
        random = seeded()
        augment(noise(5, channels, 8, 8), [name], random, 0.5)
        drawn.append(torch.rand((), generator=random).item())
    assert len({*drawn}) == 1


def test_a_mask_changes_as_its_image_does() -> None:
    mask = (noise(16, 1, 12, 12) > 0).float()
    everything = tuple(POLICIES)
    changed = augment(mask, everything, seeded(), masks=True)
    assert {*changed.unique().tolist()} == {0.0, 1.0}
    geometry = ("flip", "scale", "rotation", "turn")
    assert torch.equal(augment(mask, geometry, seeded(), masks=True), augment(mask, geometry, seeded()).round())
    colours = ("color", "brightness", "contrast", "hue", "saturation", "noise")
    assert torch.equal(augment(mask, colours, seeded(), masks=True), mask)


def test_a_preset_is_its_parts() -> None:
    images = noise(8, 3, 12, 12)
    parts = PRESETS["ada"]
    assert torch.equal(augment(images, ["ada"], seeded(), 0.5), augment(images, parts, seeded(), 0.5))
    assert {*parts} == {*POLICIES} - {"color", "noise", "cutout"}


def test_options_are_the_policies_and_presets() -> None:
    assert {*get_args(Augmentation)} == {*POLICIES, *PRESETS}
