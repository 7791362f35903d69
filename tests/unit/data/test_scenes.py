"""The presets: every drawn scene is closed, legal and varied."""

from random import Random

import numpy as np
import pytest

from mtcp.data.rendering import people, rooms
from mtcp.data.rendering.raycast import render


@pytest.fixture(scope="module", params=[rooms, people], ids=["rooms", "people"])
def preset(request):
    return request.param


@pytest.fixture(scope="module")
def pictures(preset):
    return [render(preset.compose(Random(seed), 36, 48), seed) for seed in range(80)]


def test_every_class_occurs_and_none_beyond(preset, pictures):
    labels = np.stack([picture.label for picture in pictures])
    counts = np.bincount(labels.ravel(), minlength=len(preset.CLASSES))
    assert len(counts) == len(preset.CLASSES)
    assert (counts > 0).all(), [name for name, n in zip(preset.CLASSES, counts, strict=True) if not n]
    assert counts.max() / counts.sum() < 0.85


def test_geometry_is_in_range_and_faces_the_viewer(pictures):
    for picture in pictures:
        assert picture.depth.min() > 0.05 and picture.depth.max() < 20
        assert np.isfinite(picture.normals).all()
        assert picture.image.std() > 3


def test_the_place_alone_does_not_tell_the_depth(pictures):
    """The per-pixel mean must stay a weak predictor: most variance lies between scenes."""
    depth = np.stack([picture.depth for picture in pictures])
    assert (depth - depth.mean(axis=0)).var() > 0.5 * depth.var()


def test_a_scene_follows_from_its_seed(preset):
    first, again, other = (render(preset.compose(Random(seed), 24, 32), seed) for seed in (5, 5, 6))
    assert (first.image == again.image).all() and (first.depth == again.depth).all()
    assert (first.image != other.image).any()


def test_a_scene_is_the_same_at_any_size(preset):
    small, large = (render(preset.compose(Random(4), h, 4 * h // 3), 4) for h in (24, 72))
    centre = large.label[1::3, 1::3]
    assert (centre == small.label).mean() > 0.99


def test_body_parts_lie_on_people_and_all_six_occur():
    pictures = [render(people.compose(Random(seed), 36, 48), seed) for seed in range(20)]
    parts = np.stack([picture.body_part for picture in pictures])
    labels = np.stack([picture.label for picture in pictures])
    assert ((parts > 0) == (labels == people.CLASSES.index("person"))).all()
    assert set(np.unique(parts)) == set(range(7))
