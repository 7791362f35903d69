"""The ray caster against geometry worked out by hand, and properties of any scene."""

import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtcp.data.rendering.camera import FOCAL, Camera
from mtcp.data.rendering.raycast import render
from mtcp.data.rendering.scene import CHECKS, MARBLE, STRIPES, Light, Material, Part, Scene
from mtcp.data.rendering.shapes import Box, Capsule, Cylinder, Plane

GREY = Material((0.5, 0.5, 0.5))
BACK = Part(Plane(2, 10.0, -1.0), 0, 0, GREY)


def closed(*shapes, camera: Camera | None = None) -> Scene:
    """The shapes, as objects 1, 2, ..., in a room."""
    walls = [Plane(axis, side * 10.0, -side) for axis in range(3) for side in (-1.0, 1.0)]
    parts = [Part(wall, 0, 0, GREY) for wall in walls]
    parts += [Part(shape, k, k, GREY) for k, shape in enumerate(shapes, start=1)]
    return Scene(parts, camera or Camera((0, 0, 0), 0, 0, 0, 25, 33), [Light((0, -5, 0), 1.0)], ambient=0.3)


def test_a_wall_ahead_has_one_depth_and_faces_the_viewer():
    seen = render(closed(Plane(2, 3.0, -1.0)))
    np.testing.assert_allclose(seen.depth, 3.0, rtol=1e-6)
    np.testing.assert_allclose(seen.normals, np.broadcast_to([0, 0, -1], seen.normals.shape), atol=1e-6)
    assert (seen.label == 1).all()


def test_a_floor_has_the_depth_of_its_row():
    camera = Camera((0, -1.5, 0), 0, 0, 0, 24, 32)
    seen = render(closed(Plane(1, 0.0, -1.0), camera=camera))
    v = (np.arange(24) + 0.5 - 12) / (FOCAL * 32)
    rows = np.flatnonzero(1.5 / np.maximum(v, 1e-9) < 9.9)
    np.testing.assert_allclose(seen.depth[rows, 5], 1.5 / v[rows], rtol=1e-5)
    np.testing.assert_allclose(seen.normals[rows, 5], np.tile([0, -1, 0], (len(rows), 1)), atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "depth"),
    [
        (Capsule((0, 0, 4), (0, 0, 4), 1.0), 3.0),
        (Capsule((-1, 0, 4), (1, 0, 4), 0.5), 3.5),
        (Capsule((0, 0, 4), (0, 0, 6), 0.5), 3.5),
        (Box((0, 0, 4), (1, 1, 1)), 3.0),
        (Box((0, 0, 4), (1, 1, 1), math.pi / 4), 4 - math.sqrt(2)),
        (Cylinder((0, 0, 4), 0.5, 1.0), 3.5),
    ],
)
def test_the_ray_through_the_middle_hits_at_the_right_depth(shape, depth):
    seen = render(closed(shape, camera=Camera((0, 0, 0), 0, 0, 0, 25, 33)))
    assert seen.depth[12, 16] == pytest.approx(depth, abs=1e-5)
    assert seen.label[12, 16] == 1


def test_a_cylinder_seen_from_above_shows_its_lid():
    camera = Camera((0, -5, 4), 0, -math.pi / 2, 0, 25, 25)
    seen = render(closed(Cylinder((0, 0, 4), 0.5, 1.0), camera=camera))
    assert seen.depth[12, 12] == pytest.approx(4.0, abs=1e-4)
    np.testing.assert_allclose(seen.normals[12, 12], [0, 0, -1], atol=1e-5)


def test_the_nearer_of_two_hides_the_other():
    near, far = Box((0, 0, 3), (0.5, 0.5, 0.1)), Box((0, 0, 6), (3, 3, 0.1))
    for order in ((near, far), (far, near)):
        seen = render(closed(*order))
        assert seen.depth[12, 16] == pytest.approx(2.9, abs=1e-5)


angles = st.floats(-3, 3)
places = st.tuples(st.floats(-2, 2), st.floats(-1.5, 1.5), st.floats(1.5, 6))


@settings(max_examples=40, deadline=None)
@given(places, places, st.floats(0.1, 0.8), angles, st.floats(-0.4, 0.4), st.floats(-0.4, 0.4), angles)
def test_hits_lie_on_the_surface_and_normals_are_unit_and_face_the_viewer(a, b, radius, turn, pitch, roll, yaw):
    camera = Camera((0.1, -0.2, 0.0), 0.2 * yaw, pitch, roll, 20, 28)
    shapes = (Capsule(a, b, radius), Box(a, (radius, 0.3, 0.5), turn), Cylinder(b, radius, 0.4))
    seen = render(closed(*shapes, camera=camera))
    np.testing.assert_allclose(np.linalg.norm(seen.normals, axis=-1), 1, atol=2e-3)
    u = (np.arange(28) + 0.5 - 14) / (FOCAL * 28)
    v = (np.arange(20) + 0.5 - 10) / (FOCAL * 28)
    rays = np.stack(np.broadcast_arrays(u[None, :], v[:, None], 1.0), axis=-1)
    inside = min(_distance_inside(camera.position, *shapes)) < 0
    if not inside:
        assert ((seen.normals * rays).sum(-1) < 0.02).all()
    axes = np.array(camera.axes())
    points = np.array(camera.position) + seen.depth[..., None] * (rays @ axes)
    capsule = points[seen.label == 1]
    if len(capsule):
        ab = np.subtract(b, a)
        share = np.clip((capsule - a) @ ab / max(ab @ ab, 1e-12), 0, 1)
        np.testing.assert_allclose(np.linalg.norm(capsule - a - share[:, None] * ab, axis=1), radius, atol=5e-3)


def _distance_inside(p, capsule: Capsule, box: Box, cylinder: Cylinder) -> tuple[float, float, float]:
    """Negative where `p` may be inside a shape (bounding spheres)."""
    return tuple(math.dist(p, shape.bounds()[0]) - shape.bounds()[1] for shape in (capsule, box, cylinder))


def test_looking_only_where_a_shape_can_be_changes_nothing(monkeypatch):
    shapes = [
        Capsule((0.5 * k - 2, -0.3, 2 + 0.5 * k), (0.4 * k - 2, 0.5, 2 + 0.3 * k), 0.2 + 0.02 * k) for k in range(9)
    ]
    shapes += [Box((1.5 - 0.4 * k, 0.4, 1.0 + 0.4 * k), (0.2, 0.3, 0.4), 0.3 * k) for k in range(9)]
    scene = closed(*shapes, camera=Camera((0, 0, 0), 0.1, -0.2, 0.1, 40, 56))
    quick = render(scene)
    monkeypatch.setattr(Camera, "window", lambda self, *sphere: (slice(0, 40), slice(0, 56)))
    slow = render(scene)
    assert (quick.piece == slow.piece).all() and (quick.depth == slow.depth).all()


def test_rolling_the_camera_turns_normals_in_the_image_plane():
    shape = Capsule((0, 0, 4), (0, 0, 4), 1.5)
    level = render(closed(shape, camera=Camera((0, 0, 0), 0, 0, 0, 33, 33)))
    turned = render(closed(shape, camera=Camera((0, 0, 0), 0, 0, math.pi / 2, 33, 33)))
    expected = np.rot90(level.normals, axes=(0, 1))
    expected = np.stack([expected[..., 1], -expected[..., 0], expected[..., 2]], axis=-1)
    both = turned.label == 1
    np.testing.assert_allclose(turned.normals[both], expected[both], atol=1e-4)


def test_light_falls_off_and_noise_stays_where_it_belongs():
    near = render(replace(closed(Plane(2, 2.0, -1.0)), ambient=0.0, lights=[Light((0, 0, 0), 1.0)]))
    far = render(replace(closed(Plane(2, 6.0, -1.0)), ambient=0.0, lights=[Light((0, 0, 0), 1.0)]))
    assert near.image[12, 16, 0] > far.image[12, 16, 0] > 0
    noisy = render(replace(closed(Plane(2, 2.0, -1.0)), noise=0.02), noise_seed=3)
    clean = render(closed(Plane(2, 2.0, -1.0)))
    spread = (noisy.image.astype(float) - clean.image).std() / 255
    assert 0.015 < spread < 0.025
    assert (noisy.depth == clean.depth).all()


def test_the_same_bits_everywhere():
    """A digest recorded once: another machine that renders other bits is found here and not in a table."""
    materials = [Material((0.6, 0.5, 0.4), pattern, 3.0, 0.3) for pattern in (CHECKS, STRIPES, MARBLE)]
    shapes = [
        Box((-1, 0, 4), (0.6, 0.6, 0.6), 0.4),
        Capsule((0.5, -1, 3), (1, 1, 4), 0.3),
        Cylinder((0, 1, 3), 0.4, 0.5),
    ]
    scene = closed(camera=Camera((0, 0, 0), 0.1, -0.2, 0.05, 48, 64))
    parts = scene.parts + [Part(s, k, k, m) for k, (s, m) in enumerate(zip(shapes, materials, strict=True), start=1)]
    seen = render(replace(scene, parts=parts, noise=0.01), noise_seed=7)
    digest = hashlib.sha256(seen.image.tobytes() + seen.depth.tobytes() + seen.normals.tobytes()).hexdigest()
    assert digest[:16] == "d0cc5393f80697ca"


def test_an_open_scene_is_refused():
    with pytest.raises(ValueError, match="closed"):
        render(Scene([BACK], Camera((0, 0, 0), math.pi, 0, 0, 8, 8), [], 0.3))
