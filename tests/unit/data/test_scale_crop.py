"""The loss-weighting literature's augmentation, against its description written out in NumPy."""

import numpy as np
import pytest
import torch

from mtcp.core.tasks import KINDS, VOID
from mtcp.data.loading.scale_crop import SCALES, Crop, draw_crop, scale_crop

HEIGHT, WIDTH = 12, 18
FIELDS = dict(zip(KINDS, KINDS, strict=True))


def bilinear(plane: np.ndarray) -> np.ndarray:
    """Enlarge (h, w) to HEIGHT x WIDTH with corners aligned, one axis after the other."""
    rows = np.linspace(0, len(plane) - 1, HEIGHT)
    tall = np.stack([np.interp(rows, np.arange(len(plane)), column) for column in plane.T], axis=1)
    columns = np.linspace(0, tall.shape[1] - 1, WIDTH)
    return np.stack([np.interp(columns, np.arange(tall.shape[1]), row) for row in tall])


def nearest(plane: np.ndarray) -> np.ndarray:
    rows = np.arange(HEIGHT) * plane.shape[0] // HEIGHT
    return plane[rows[:, None], np.arange(WIDTH) * plane.shape[1] // WIDTH]


def sample(seed: int = 0):
    """An image with all targets; a corner has no truth."""
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(3, HEIGHT, WIDTH))
    normals /= np.linalg.norm(normals, axis=0)
    targets = {
        "semseg": rng.integers(0, 13, (1, HEIGHT, WIDTH)),
        "depth": rng.uniform(1, 9, (1, HEIGHT, WIDTH)),
        "normals": normals,
    }
    for target in targets.values():
        target[:, :5, :6] = VOID
    return rng.integers(0, 256, (3, HEIGHT, WIDTH)), targets


def applied(crop: Crop, zoom_depth="divided"):
    image, targets = sample()
    found, warped = scale_crop(
        torch.tensor(image, dtype=torch.uint8)[None],
        {name: torch.tensor(target, dtype=torch.float32)[None] for name, target in targets.items()},
        FIELDS,
        [crop],
        zoom_depth,
    )
    return found[0].numpy(), {name: target[0].numpy() for name, target in warped.items()}


@pytest.mark.parametrize(
    "crop",
    [
        Crop(1.0, 0, 0, 12, 18, False),
        Crop(1.2, 1, 2, 10, 15, False),
        Crop(1.5, 3, 1, 8, 12, True),
        Crop(1.5, 4, 6, 8, 12, True),
    ],
)
def test_crop_enlarge_mirror(crop):
    image, targets = sample()
    found, warped = applied(crop)

    def part(plane):
        return plane[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]

    def expected(plane, enlarge):
        large = enlarge(part(plane))
        return large[:, ::-1] if crop.flip else large

    np.testing.assert_allclose(found, [expected(plane, bilinear) for plane in image], atol=1e-3)
    np.testing.assert_array_equal(warped["semseg"][0], expected(targets["semseg"][0], nearest))
    depth = expected(targets["depth"][0], nearest)
    np.testing.assert_allclose(warped["depth"][0], np.where(depth == VOID, VOID, depth / crop.scale), rtol=1e-6)
    zeroed = np.where(targets["normals"] == VOID, 0, targets["normals"])
    normals = np.stack([expected(plane, bilinear) for plane in zeroed])
    normals[0] *= -1 if crop.flip else 1
    empty = (normals == 0).all(axis=0)
    np.testing.assert_allclose(warped["normals"], np.where(empty, VOID, normals), atol=1e-5)
    assert warped["semseg"].dtype == np.int64


def test_normals_beside_void_are_mixtures_and_not_void():
    _, warped = applied(Crop(1.5, 0, 0, 8, 12, False))
    known = warped["normals"][0] != VOID
    length = np.linalg.norm(warped["normals"], axis=0)[known]
    assert (length < 0.9).any()
    assert length.max() < 1 + 1e-5
    assert not known.all()


def test_a_disparity_grows_where_it_is_multiplied():
    crop = Crop(1.5, 4, 6, 8, 12, False)
    divided, multiplied = (applied(crop, how)[1]["depth"] for how in ("divided", "multiplied"))
    known = divided != VOID
    assert known.any()
    np.testing.assert_allclose(multiplied[known], divided[known] * 1.5**2, rtol=1e-5)
    np.testing.assert_array_equal(multiplied[~known], VOID)


def test_draws_cover_all_places_and_scales():
    crops = [draw_crop(seed, HEIGHT, WIDTH) for seed in range(3000)]
    assert crops[:20] == [draw_crop(seed, HEIGHT, WIDTH) for seed in range(20)]
    assert np.mean([crop.flip for crop in crops]) == pytest.approx(0.5, abs=0.05)
    for scale in SCALES:
        own = [crop for crop in crops if crop.scale == scale]
        assert len(own) / len(crops) == pytest.approx(1 / 3, abs=0.05)
        h, w = int(HEIGHT / scale), int(WIDTH / scale)
        assert {(crop.height, crop.width) for crop in own} == {(h, w)}
        assert {crop.top for crop in own} == set(range(HEIGHT - h + 1))
        assert {crop.left for crop in own} == set(range(WIDTH - w + 1))


def test_a_sample_does_not_depend_on_its_batch():
    image, targets = sample()
    crops = [Crop(1.0, 0, 0, 12, 18, True), Crop(1.5, 2, 3, 8, 12, False)]
    planes = {name: torch.tensor(np.stack([target] * 2), dtype=torch.float32) for name, target in targets.items()}
    both, warped = scale_crop(torch.tensor(np.stack([image] * 2), dtype=torch.uint8), planes, FIELDS, crops, "divided")
    for k, crop in enumerate(crops):
        one, alone = applied(crop)
        np.testing.assert_array_equal(both[k].numpy(), one)
        assert all(np.array_equal(warped[name][k].numpy(), alone[name]) for name in targets)


def test_tasks_under_names_of_their_own_go_the_way_of_their_kind():
    image, targets = sample()
    own = {"facing": "normals", "range": "depth", "trees": "semseg"}
    planes = {name: torch.tensor(target, dtype=torch.float32)[None] for name, target in targets.items()}
    pictures, crops = torch.tensor(image, dtype=torch.uint8)[None], [Crop(1.5, 3, 1, 8, 12, True)]
    _, expected = scale_crop(pictures, planes, FIELDS, crops, "divided")
    _, found = scale_crop(pictures, {name: planes[kind] for name, kind in own.items()}, own, crops, "divided")
    assert all(torch.equal(found[name], expected[kind]) for name, kind in own.items())
