"""Augmentation: what a mirror, a turn and a zoom must do to images, labels, depth and normals."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from mtcp.core.tasks import KINDS
from mtcp.data.loading import augment as augmentation
from mtcp.data.loading.augment import Transform, draw_transform
from mtcp.data.rendering.camera import Camera
from mtcp.data.rendering.raycast import render
from mtcp.data.rendering.scene import Light, Material, Part, Scene
from mtcp.data.rendering.shapes import Box, Capsule, Plane

VOID = 255
FIELDS = dict(zip(KINDS, KINDS, strict=True))


def test_a_disparity_grows_with_the_zoom():
    for seed in range(20):
        depth, disparity = (augmentation.draw_transform("nyud", seed, 1.0, how) for how in ("divided", "multiplied"))
        assert (depth.scale, depth.flip) == (disparity.scale, disparity.flip)
        assert depth.zoom == depth.scale and disparity.zoom == 1 / depth.scale


def augment(image, targets, transforms, kinds=FIELDS):
    return augmentation.augment(image, targets, kinds, transforms)


def sample(height: int = 12, width: int = 16, count: int = 2) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(count, 3, height, width, generator=generator) * 255
    normals = torch.nn.functional.normalize(torch.randn(count, 3, height, width, generator=generator), dim=1)
    normals[:, :, 0, 0] = VOID
    depth = torch.rand(count, 1, height, width, generator=generator) * 5 + 0.5
    depth[:, :, 1, 1] = VOID
    labels = torch.randint(0, 13, (count, 1, height, width), generator=generator)
    return image, {"semseg": labels, "depth": depth, "normals": normals}


def test_flipping_mirrors_everything_and_normals_x():
    image, targets = sample()
    flipped, warped = augment(image, targets, [Transform(flip=True)] * 2)
    assert torch.equal(flipped, image.flip(-1))
    assert torch.equal(warped["semseg"], targets["semseg"].flip(-1))
    assert torch.equal(warped["depth"], targets["depth"].flip(-1))
    mirrored = targets["normals"].flip(-1)
    void = mirrored[:, :1] == VOID
    expected = torch.where(void, mirrored, mirrored * torch.tensor([-1.0, 1, 1]).view(1, 3, 1, 1))
    torch.testing.assert_close(warped["normals"], expected)


def test_tasks_under_names_of_their_own_go_the_way_of_their_kind():
    image, targets = sample()
    own = {"facing": "normals", "range": "depth", "trees": "semseg"}
    renamed = {name: targets[kind] for name, kind in own.items()}
    transforms = [Transform(flip=True, angle=0.3, scale=1.2, zoom=1.2), Transform(flip=True)]
    _, expected = augment(image, targets, transforms)
    _, warped = augment(image, renamed, transforms, own)
    assert all(torch.equal(warped[name], expected[kind]) for name, kind in own.items())
    _, plain = augment(image, renamed, transforms, dict.fromkeys(own, "regression"))
    assert torch.equal(plain["range"][1], targets["depth"][1].flip(-1))
    assert torch.equal(plain["facing"][1], targets["normals"][1].flip(-1)), "numbers, which a mirror does not turn"


def test_flipping_twice_is_the_identity():
    image, targets = sample()
    again = augment(*augment(image, targets, [Transform(flip=True)] * 2), [Transform(flip=True)] * 2)
    assert torch.equal(again[0], image)
    for name, target in targets.items():
        torch.testing.assert_close(again[1][name], target)


def test_nothing_to_do_changes_nothing():
    image, targets = sample()
    same, warped = augment(image, targets, [Transform()] * 2)
    assert torch.equal(same, image)
    for name, target in targets.items():
        torch.testing.assert_close(warped[name], target)


@pytest.mark.parametrize("zoom", [1.2, 1.5])
def test_zoom_divides_depth_and_magnifies_the_middle(zoom):
    image, targets = sample(30, 60)
    targets["semseg"] = torch.zeros_like(targets["semseg"])
    targets["semseg"][..., 10:20, 20:40] = 1
    _, warped = augment(image, targets, [Transform(scale=zoom, zoom=zoom)] * 2)
    assert warped["semseg"].float().mean().item() == pytest.approx(zoom**2 * 200 / 1800, rel=0.08)
    depth = warped["depth"]
    kept = depth[depth != VOID]
    assert kept.max() <= 5.5 / zoom + 1e-6 and kept.min() >= 0.5 / zoom - 1e-6
    assert (depth != VOID).float().mean() > 0.98
    values = set((targets["depth"][0].flatten() / zoom).tolist())
    assert all(min(abs(v - w) for w in values) < 1e-5 for v in depth[0].flatten()[::97].tolist() if v != VOID)


def plain(image: torch.Tensor, target: torch.Tensor, transform: Transform) -> tuple[torch.Tensor, torch.Tensor]:
    """The definition: one affine grid, `grid_sample` once for the image and once for the target."""
    grid = F.affine_grid(torch.tensor([transform.matrix()]), list(image.shape), align_corners=False)
    picture = F.grid_sample(image, grid, "bicubic", "zeros", align_corners=False).clamp(0, 255)
    return picture, F.grid_sample(target, grid, "nearest", "border", align_corners=False)


@pytest.mark.parametrize("size", [(30, 40), (31, 45), (7, 9), (120, 160)])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("zoom", [1.0, 1.2, 1.5])
def test_separate_rows_and_columns_are_the_plain_affine_map(zoom, flip, size):
    """Images within 0.02 of 255 levels; targets the same except where two pixels are equally near."""
    image, _ = sample(*size, count=1)
    numbers = torch.arange(size[0] * size[1]).float().reshape(1, 1, *size)
    transform = Transform(flip=flip, scale=zoom, zoom=zoom)
    picture, warped = augment(image, {"sal": numbers}, [transform])
    expected, nearest = plain(image, numbers, transform)
    torch.testing.assert_close(picture, expected, atol=0.02, rtol=0)
    rows, columns = (((torch.arange(n).double() + 0.5 - n / 2) / zoom + n / 2) % 1 for n in size)
    clear = ((rows - rows.round()).abs() > 1e-4)[:, None] & ((columns - columns.round()).abs() > 1e-4)
    assert clear.float().mean() > 0.4
    assert torch.equal(warped["sal"][..., clear], nearest[..., clear])


@pytest.mark.parametrize("degrees", [-20, -3, 11])
@pytest.mark.parametrize("scale", [0.75, 1.0, 1.25])
def test_turned_targets_are_the_plain_affine_map(scale, degrees):
    image, _ = sample(60, 80, count=1)
    numbers = torch.arange(60 * 80).float().reshape(1, 1, 60, 80)
    transform = Transform(angle=math.radians(degrees), scale=scale, aspect=1.5)
    picture, warped = augment(image, {"sal": numbers}, [transform])
    expected, nearest = plain(image, numbers, transform)
    assert torch.equal(picture, expected)
    same = (warped["sal"] == nearest) | (warped["sal"] == VOID)
    assert same.float().mean() > 0.998


def test_a_sample_does_not_depend_on_its_batch():
    image, targets = sample(20, 30, count=2)
    transforms = [Transform(scale=1.2, zoom=1.2), Transform(angle=0.2, scale=0.9, aspect=1.5)]
    both, together = augment(image, targets, transforms)
    for k in range(2):
        alone, warped = augment(image[k, None], {name: t[k, None] for name, t in targets.items()}, [transforms[k]])
        assert torch.equal(alone[0], both[k])
        assert all(torch.equal(warped[name][0], together[name][k]) for name in targets)


def test_shrinking_leaves_void_labels_and_black_around():
    image, targets = sample(20, 20)
    small, warped = augment(image, targets, [Transform(scale=0.5)] * 2)
    border = torch.ones(20, 20, dtype=torch.bool)
    border[5:15, 5:15] = False
    assert (warped["semseg"][:, 0, border] == VOID).all()
    assert (warped["depth"][:, 0, border] == VOID).all()
    assert (warped["normals"][:, :, border] == VOID).all()
    assert (warped["semseg"][:, 0, 5:15, 5:15] != VOID).all()
    outer = torch.ones(20, 20, dtype=torch.bool)
    outer[3:17, 3:17] = False  # bicubic reaches two pixels out
    assert small[:, :, outer].max() < 1e-3


def test_parts_moved_out_of_view_are_void_and_not_background():
    parts = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    parts[0, 0, 0, 0], parts[1, 0, 4, 4] = 3, 1  # one in the corner, one in the middle
    zoom = Transform(scale=1.5, zoom=1.5)
    _, warped = augment(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), {"human_parts": parts}, [zoom, zoom])
    assert (warped["human_parts"][0] == VOID).all()
    assert set(warped["human_parts"][1].unique().tolist()) == {0, 1}


def test_bicubic_overshoot_is_clamped():
    image = torch.zeros(1, 3, 20, 20)
    image[..., 10:] = 255
    turned, _ = augment(image, {"semseg": torch.zeros(1, 1, 20, 20)}, [Transform(angle=0.3)])
    assert turned.min() >= 0 and turned.max() <= 255


def test_a_quarter_turn_is_exact():
    """Clockwise on screen: what was on top comes to the right, and a normal that points up points right."""
    labels = torch.arange(25.0).reshape(1, 1, 5, 5)
    normals = torch.zeros(1, 3, 5, 5)
    normals[:, 1] = -1.0
    _, warped = augment(torch.zeros(1, 3, 5, 5), {"semseg": labels, "normals": normals}, [Transform(angle=math.pi / 2)])
    assert torch.equal(warped["semseg"][0, 0], torch.rot90(labels[0, 0], k=-1))
    torch.testing.assert_close(warped["normals"][0, :, 2, 2], torch.tensor([1.0, 0.0, 0.0]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("degrees", [-20, 7, 20])
@pytest.mark.parametrize("flip", [False, True])
def test_turning_the_picture_equals_turning_the_camera(degrees, flip):
    """A camera rolled by the angle sees what the augmented picture of the level camera shows, normals included."""

    def scene(roll: float, mirror: float) -> Scene:
        planes = [Plane(axis, side * 6.0, -side) for axis in range(3) for side in (-1.0, 1.0)]
        shapes = [
            *planes, Capsule((mirror * 0.8, -0.4, 4), (mirror * 0.8, -0.4, 4), 0.9),
            Box((mirror * -0.9, 0.6, 4), (0.8, 0.4, 0.5), mirror * 0.5),
        ]  # fmt: skip
        parts = [Part(shape, k, k, Material((0.5, 0.5, 0.5))) for k, shape in enumerate(shapes)]
        return Scene(parts, Camera((0, 0, 0), 0, 0, roll, 64, 64), [Light((0, -3, 0), 1.0)], 0.3)

    def tensors(seen) -> dict[str, torch.Tensor]:
        return {
            "semseg": torch.from_numpy(seen.label).float()[None, None],
            "normals": torch.from_numpy(seen.normals).movedim(-1, 0)[None],
            "depth": torch.from_numpy(seen.depth)[None, None],
        }

    level = tensors(render(scene(0.0, -1.0 if flip else 1.0)))
    if flip:  # the mirrored world has its side walls exchanged
        swap = level["semseg"].clone()
        level["semseg"][swap == 0], level["semseg"][swap == 1] = 1, 0
    # A camera that rolls clockwise sees the world turn the other way.
    expected = tensors(render(scene(-math.radians(degrees), 1.0)))
    _, warped = augment(torch.zeros(1, 3, 64, 64), level, [Transform(flip=flip, angle=math.radians(degrees))])
    known = warped["semseg"] != VOID
    assert known.float().mean() > 0.8
    same = known & (warped["semseg"] == expected["semseg"])
    assert same.sum() / known.sum() > 0.96
    errors = 1 - (warped["normals"] * expected["normals"]).sum(1, keepdim=True)[same]
    assert errors.quantile(0.95) < 0.01
    difference = (warped["depth"] - expected["depth"]).abs()[same]
    assert difference.quantile(0.9) < 0.1


def test_angles_are_true_in_the_original_aspect():
    """In an image of 2:1 squeezed into a square, a quarter turn is one of the image before it was squeezed."""
    turn = Transform(angle=math.radians(90), aspect=2.0)
    matrix = torch.tensor(turn.matrix())[:, :2]
    physical = torch.diag(torch.tensor([2.0, 1.0]))
    torch.testing.assert_close(
        physical @ matrix @ physical.inverse(), torch.tensor([[0.0, 1.0], [-1.0, 0.0]]), atol=1e-6, rtol=0
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**63 - 1))
def test_drawn_transforms_stay_in_their_bounds(seed):
    indoor, outdoor = draw_transform("nyud", seed), draw_transform("pascal", seed, aspect=1.5)
    assert indoor.zoom in (1.0, 1.2, 1.5) and indoor.scale == indoor.zoom and indoor.angle == 0
    assert abs(outdoor.angle) <= math.radians(20) and 0.75 <= outdoor.scale <= 1.25 and outdoor.zoom == 1
    assert draw_transform("none", seed) == Transform()
    assert draw_transform("nyud", seed) == indoor


def test_all_choices_are_drawn_about_equally_often():
    drawn = [draw_transform("nyud", seed) for seed in range(600)]
    for zoom in (1.0, 1.2, 1.5):
        assert 150 < sum(t.zoom == zoom for t in drawn) < 250
    assert 250 < sum(t.flip for t in drawn) < 350
