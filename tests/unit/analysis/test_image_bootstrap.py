"""The image bootstrap of comparisons, from made-up statistics per image."""

import numpy as np
import pytest
from made_up_statistics import IMAGES, write_statistics

from mtcp.analysis.image_bootstrap import DRAWS, draw_metrics
from mtcp.analysis.statistics import image_bootstrap
from mtcp.analysis.tables import build_tables
from mtcp.core.errors import UserError
from mtcp.metrics.recompute import metrics_from_statistics, read_statistics

pytestmark = pytest.mark.slow


@pytest.fixture
def with_images(small):
    for run in small.plan.runs:
        write_statistics(run, shift=0.05 if run.method == "mtcp" else 0.0)
    return small


def test_draws_are_the_metrics_of_resampled_images(with_images):
    run = with_images.plan.run("rooms", "mtcp", 0)
    config = with_images.plan.project.benchmark("rooms")
    tasks = config.task_list
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


@pytest.mark.parametrize("metric", ["median", "within_11_25", "within_30", "rmse"])
def test_draws_of_other_metrics_of_normals_have_their_histogram(with_images, metric):
    run = with_images.plan.run("rooms", "mtcp", 0)
    with np.load(run.images_path) as kept:
        arrays = dict(kept)
    degrees = np.random.default_rng(2).uniform(3, 60, IMAGES)
    place = np.arange(18_000)
    near = np.abs(place - 100 * degrees[:, None]) < 50
    arrays |= {"final/normals/bins_1": near.astype(np.uint8), "final/normals/pixels": near.sum(1)}
    np.savez(run.images_path, **arrays)
    config = with_images.plan.project.benchmark("rooms")
    tasks = config.tasks | {"normals": config.tasks["normals"].model_copy(update={"metric": metric})}
    config = config.model_copy(update={"tasks": tasks})
    drawn = draw_metrics([run], config)["mtcp", 0]["normals"]
    _, statistics = read_statistics(run.images_path)
    whole = metrics_from_statistics(statistics, config.task_list, run.config.evaluation)["normals"][metric]
    assert drawn.std() > 0 or metric == "rmse"
    assert drawn.mean() == pytest.approx(whole, rel=0.15)


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
