"""What each task gives the networks, and what it makes of their outputs."""

from __future__ import annotations

import ast

import pytest
import torch
from torch.nn.functional import interpolate

from gan_cli.config.options.tasks import TASK_OPTIONS, WITH_IMAGE, Inpainting, SuperResolution, Translation
from gan_cli.tasks.condition import Condition, image_parts, labels_of
from gan_cli.tasks.edges import sobel_edges
from gan_cli.tasks.masks import MASKS, draw_masks
from gan_cli.tasks.tasks import TASKS, example_condition, task_of
from support.modules import FILES, PACKAGE, syntax_tree
from support.paths import ROOT

SAMPLES = torch.rand(6, 3, 12, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_condition_is_cut_and_joined_like_a_tensor() -> None:
    condition = Condition(torch.eye(6), SAMPLES, None, torch.arange(12.0).view(6, 2))
    first, second, third = condition.chunk(3)
    assert [None if part is None else len(part) for part in second] == [2, 2, None, 2, None]
    assert torch.equal(labels_of(third), torch.eye(6)[4:])
    picked = condition.rows(torch.tensor([5, 0]))
    assert picked.image is not None
    assert torch.equal(picked.image, SAMPLES[[5, 0]])
    assert torch.equal(labels_of(first.twice()), torch.cat([torch.eye(6)[:2]] * 2))
    assert torch.equal(labels_of(torch.eye(2)), torch.eye(2))
    assert [part.shape[1] for part in image_parts(condition._replace(mask=SAMPLES[:, :1]))] == [3, 1]


def test_every_task_has_an_option_and_a_file() -> None:
    assert TASKS.keys() == TASK_OPTIONS.keys() == {path.stem for path in (ROOT / "configs/task").glob("*.yaml")}
    assert {name for name, task in TASKS.items() if task.make_condition is not None} == {*WITH_IMAGE}


@pytest.mark.parametrize("room", ["training", "sampling", "evaluation", "export"])
def test_rooms_that_use_tasks_name_none(room: str) -> None:
    files = [path for path in FILES if PACKAGE / room in path.parents]
    assert files
    nodes = [node for path in files for node in ast.walk(syntax_tree(path))]
    named = [node.value for node in nodes if isinstance(node, ast.Constant) and node.value in WITH_IMAGE]
    assert named == []


# --- inpainting ------------------------------------------------------------------------------------------------------


def test_known_pixels_stay_to_the_bit() -> None:
    settings = Inpainting(name="inpainting", mask=("centre", "box", "brush", "half"))
    make_condition, complete, view, *_ = task_of(settings)
    assert make_condition is not None
    assert complete is not None
    assert view is not None
    condition = make_condition(SAMPLES, Condition(), settings=settings, random=random())
    assert condition.mask is not None
    painted = complete(torch.full_like(SAMPLES, 0.123), condition)
    hidden = condition.mask.expand_as(SAMPLES) > 0.5
    assert torch.equal(painted[~hidden], SAMPLES[~hidden])
    assert (painted[hidden] == 0.123).all()
    assert condition.image is not None
    assert (condition.image[hidden] == 0).all()
    assert torch.equal(view(SAMPLES, condition), torch.cat([SAMPLES, condition.mask], 1))


def test_masks_have_their_shapes() -> None:
    count, height, width = 200, 12, 16
    masks = {kind: draw_masks([kind], count, height, width, random())[:, 0] for kind in MASKS}
    for mask in masks.values():
        assert mask.shape == (count, height, width)
        assert {*mask.unique().tolist()} == {0.0, 1.0}
    assert masks["centre"].mean() == 0.25
    assert (masks["centre"][0, 3:9, 4:12] == 1).all()
    assert (masks["half"].mean((1, 2)) == 0.5).all()
    assert len(masks["half"].flatten(1).unique(dim=0)) == 4
    sides = masks["box"].any(1).sum(1), masks["box"].any(2).sum(1)
    assert torch.equal(sides[0] * sides[1], masks["box"].sum((1, 2)).long())  # full rectangles
    assert 4 <= int(sides[0].min()) <= int(sides[0].max()) <= 10  # 25 to 60 % of 16
    assert (masks["brush"].sum((1, 2)) > 0).all()
    assert 0.05 < masks["brush"].mean() < 0.5
    assert len(masks["brush"].flatten(1).unique(dim=0)) == count


def test_masks_are_of_all_kinds_and_depend_on_the_generator_alone() -> None:
    kinds = ["centre", "half"]
    drawn = draw_masks(kinds, 100, 8, 8, random(3))
    assert torch.equal(drawn, draw_masks(kinds, 100, 8, 8, random(3)))
    shares = drawn.mean((1, 2, 3))
    assert 25 < int((shares == 0.25).sum()) < 75
    assert ((shares == 0.25) | (shares == 0.5)).all()


# --- super-resolution ------------------------------------------------------------------------------------------------


def test_a_small_image_is_the_mean_of_squares_and_the_output_is_added_to_it() -> None:
    settings = SuperResolution(name="super_resolution", factor=4)
    make_condition, complete, view, *_ = task_of(settings)
    assert make_condition is not None
    assert complete is not None
    assert view is None
    condition = make_condition(SAMPLES, Condition(), settings=settings, random=random())
    assert condition.image is not None
    assert condition.image.shape == (6, 3, 3, 4)
    assert condition.image[2, 1, 0, 3].item() == pytest.approx(SAMPLES[2, 1, :4, 12:].mean().item(), abs=1e-6)
    enlarged = interpolate(condition.image, (12, 16), mode="bicubic", align_corners=False)
    assert torch.equal(complete(torch.zeros_like(SAMPLES), condition), enlarged)
    assert torch.allclose(complete(SAMPLES, condition) - enlarged, SAMPLES, atol=1e-6)


# --- translation -----------------------------------------------------------------------------------------------------


def test_edges_are_where_the_image_changes() -> None:
    image = torch.full((1, 1, 8, 8), -1.0)
    image[..., 4:] = 1
    edges = sobel_edges(image)
    assert (edges[..., 3:5] == 1).all()
    assert (edges[..., :3] == -1).all()
    assert (edges[..., 5:] == -1).all()
    assert torch.allclose(sobel_edges(image.mT), edges.mT)


@pytest.mark.parametrize(("step", "edge"), [(0.5, 1.0), (0.25, 0.0), (2.0, 1.0)])  # of values in [-1, 1]
def test_a_quarter_of_the_range_is_a_clear_edge(step: float, edge: float) -> None:
    image = torch.full((1, 3, 8, 8), -1.0)
    image[..., 4:] = -1 + step
    assert sobel_edges(image)[0, 0, 4, 3].item() == pytest.approx(edge)


def test_a_source_comes_from_the_data_or_from_edges() -> None:
    of_data, of_edges = (Translation(name="translation", source=source) for source in ("data", "edges"))
    make_condition, complete, view, *_ = task_of(of_data)
    assert make_condition is not None
    assert complete is None
    assert view is not None
    given = Condition(image=-SAMPLES)
    assert make_condition(SAMPLES, given, settings=of_data, random=random()) == given
    edges = make_condition(SAMPLES, Condition(), settings=of_edges, random=random())
    assert edges.image is not None
    assert torch.equal(edges.image, sobel_edges(SAMPLES))
    assert torch.equal(view(SAMPLES, given), torch.cat([SAMPLES, -SAMPLES], 1))


def test_examples_have_the_shapes_of_conditions() -> None:
    settings = Inpainting(name="inpainting", mask=("box",))
    with torch.device("meta"):
        example = example_condition(settings, (3, 12, 16))
    assert example is not None
    assert [part.shape for part in image_parts(example)] == [(1, 3, 12, 16), (1, 1, 12, 16)]
    assert example.image is not None
    assert example.image.device.type == "cpu"
