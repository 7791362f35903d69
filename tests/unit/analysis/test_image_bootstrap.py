"""The image bootstrap of comparisons, from made-up statistics per image."""

import numpy as np
import pytest

from mtcp.analysis.comparisons import benchmark_tasks
from mtcp.analysis.image_bootstrap import DRAWS, draw_metrics
from mtcp.analysis.statistics import image_bootstrap
from mtcp.analysis.tables import build_tables
from mtcp.core.errors import UserError
from mtcp.metrics.recompute import metrics_from_statistics, read_statistics

IMAGES = 40


def write_statistics(run, shift=0.0, ids=None):
    """Statistics of 40 images of 100 pixels; `shift` is taken from every error."""
    rng = np.random.default_rng(5)
    share = np.clip(rng.normal(0.6, 0.1, (IMAGES, 13)) + shift, 0, 1)
    angles = rng.normal(25, 6, IMAGES) - 10 * shift
    hits = np.linspace(40, 60, 99) * np.ones((IMAGES, 1)) + 20 * shift
    arrays = {
        "ids": np.array(ids or [f"image{number}" for number in range(IMAGES)]),
        "final/semseg/tp": 100 * share,
        "final/semseg/fp": 100 * (1 - share),
        "final/semseg/fn": 100 * (1 - share),
        "final/depth/squared": 100 * (rng.normal(0.5, 0.1, IMAGES) - shift) ** 2,
        "final/depth/log_squared": np.ones(IMAGES),
        "final/depth/pixels": np.full(IMAGES, 100),
        "final/depth/squared_capped": np.ones(IMAGES),
        "final/depth/log_squared_capped": np.ones(IMAGES),
        "final/depth/pixels_capped": np.full(IMAGES, 100),
        "final/depth/absolute": np.ones(IMAGES),
        "final/depth/relative": np.ones(IMAGES),
        **{f"final/depth/within_1_25{power}": np.full(IMAGES, 50) for power in ("", "_2", "_3")},
        "final/normals/angle": 100 * angles,
        "final/normals/angle_squared": 100 * angles**2,
        "final/normals/pixels": np.full(IMAGES, 100),
        "final/normals/bins_1": np.tile(np.arange(18_000) < 100, (IMAGES, 1)).astype(np.uint8),
        "final/normals/bins_256": np.zeros((IMAGES, 0), dtype=np.uint16),
        "final/edge/predicted": np.full((IMAGES, 99), 100),
        "final/edge/matched_predicted": hits,
        "final/edge/matched_true": hits,
        "final/edge/true": np.full(IMAGES, 100),
    }
    arrays |= {
        f"final/{task}/non_finite": np.zeros(IMAGES, dtype=int) for task in ("semseg", "depth", "normals", "edge")
    }
    np.savez(run.images_path, **arrays)


@pytest.fixture
def with_images(small):
    for run in small.plan.runs:
        write_statistics(run, shift=0.05 if run.method == "mtcp" else 0.0)
    return small


def test_draws_are_the_metrics_of_resampled_images(with_images):
    run = with_images.plan.run("rooms", "mtcp", 0)
    config = with_images.plan.project.benchmark("rooms")
    tasks = benchmark_tasks(config)
    draws = draw_metrics([run], config)["mtcp", 0]
    _, statistics = read_statistics(run.images_path)
    whole = metrics_from_statistics(statistics, tasks, run.config.evaluation)
    for task in tasks:
        assert draws[task.name].shape == (DRAWS,)
        assert draws[task.name].mean() == pytest.approx(whole[task.name][task.metric], rel=0.03)
    # The mean angle of the drawn images, by hand; the spread is that of a mean of 40.
    angles = statistics["normals"]["angle"] / 100
    assert draws["normals"].std() == pytest.approx(angles.std() / np.sqrt(IMAGES), rel=0.2)
    expected = image_bootstrap(lambda chosen: angles[chosen].mean(), IMAGES, 3, seed=1)
    assert expected.shape == (3,)


def test_comparisons_carry_image_intervals(with_images):
    compared = build_tables(with_images.plan, "rooms")["comparisons"].set_index(["family", "method"])
    better = compared.loc["mtcp/normals", "uncertainty"]
    # Same images, a constant shift of half a degree: drawing images changes nothing.
    assert (better.image_low, better.image_high) == pytest.approx((-0.5, -0.5))
    depth = compared.loc["mtcp/depth", "uncertainty"]
    assert depth.image_low < depth.image_high < 0
    change = compared.loc["single_task/delta_m", "mtcp"]
    assert 0 < change.image_low < change.image_high
    equal = compared.loc["single_task/delta_m", "uncertainty"]
    assert equal.image_low == equal.image_high == 0


def test_without_statistics_there_is_no_interval(small):
    compared = build_tables(small.plan, "rooms")["comparisons"]
    assert compared.image_low.isna().all()


def test_other_images_are_refused(with_images):
    run = with_images.plan.run("rooms", "mtcp", 1)
    write_statistics(run, ids=[f"other{number}" for number in range(IMAGES)])
    with pytest.raises(UserError, match=r"mtcp/seed1-.* was made from other test images"):
        build_tables(with_images.plan, "rooms")
