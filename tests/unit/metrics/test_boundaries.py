"""Thinning, suppression, matching and the boundary scores: against plain implementations, brute force and geometry."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy.ndimage import gaussian_filter, label, map_coordinates
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow
from scipy.spatial import cKDTree

from mtcp.core.tasks import VOID, make_task
from mtcp.metrics.boundaries import THRESHOLDS, BoundaryMeter, boundary_counts, boundary_scores
from mtcp.metrics.matching import matched, pairs_within
from mtcp.metrics.meter import merge
from mtcp.metrics.suppression import suppress
from mtcp.metrics.thinning import stack_levels, thin, unstack

MAPS = arrays(bool, st.tuples(st.integers(2, 9), st.integers(2, 9)))


def thin_one(binary: np.ndarray) -> np.ndarray:
    return thin(binary.astype(np.uint64)[..., None])[..., 0] > 0


def thin_plainly(binary: np.ndarray) -> np.ndarray:
    """The definition of Lam, Lee and Suen, pixel by pixel."""
    image = np.pad(binary, 1)
    second, unchanged = False, 0
    while unchanged < 2:
        doomed = []
        for row, column in np.argwhere(image):
            steps = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))
            x = [bool(image[row + down, column + right]) for down, right in steps]
            crossings = sum(not x[i] and (x[i + 1] or x[(i + 2) % 8]) for i in (0, 2, 4, 6))
            n1 = sum(x[i] or x[i + 1] for i in (0, 2, 4, 6))
            n2 = sum(x[i + 1] or x[(i + 2) % 8] for i in (0, 2, 4, 6))
            first = not ((x[1] or x[2] or not x[7]) and x[0])
            other = not ((x[5] or x[6] or not x[3]) and x[4])
            if crossings == 1 and 2 <= min(n1, n2) <= 3 and (other if second else first):
                doomed.append((row, column))
        for place in doomed:
            image[place] = False
        unchanged = 0 if doomed else unchanged + 1
        second = not second
    return image[1:-1, 1:-1]


# --- thinning ----------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(MAPS)
def test_thinning_is_the_published_algorithm(binary):
    assert np.array_equal(thin_one(binary), thin_plainly(binary))


@settings(max_examples=50, deadline=None)
@given(MAPS)
def test_thinning_is_idempotent_and_keeps_the_number_of_parts(binary):
    once = thin_one(binary)
    assert np.array_equal(thin_one(once), once)
    assert not (once & ~binary).any()
    assert label(once, np.ones((3, 3)))[1] == label(binary, np.ones((3, 3)))[1]


def test_thinning_all_thresholds_at_once_equals_one_by_one():
    level = np.random.default_rng(0).integers(0, 100, (20, 30))
    level = gaussian_filter(level.astype(float), 1.5).astype(int)
    words = thin(stack_levels(level, 99))
    bits = unstack(words.reshape(-1, 2), 99).reshape(20, 30, 99)
    for threshold in range(99):
        assert np.array_equal(bits[..., threshold], thin_one(level > threshold))


def test_levels_and_bits_are_inverse():
    level = np.array([[0, 1, 63, 64, 65, 99]])
    assert unstack(stack_levels(level, 99)[0], 99).sum(axis=1).tolist() == [0, 1, 63, 64, 65, 99]


# --- suppression -------------------------------------------------------------------------------------------------


def suppress_plainly(strength: np.ndarray, floor: float) -> np.ndarray:
    """Pixel by pixel: the gradient's main direction in a window of 5, and the map one pixel away on either side."""

    def box(values: np.ndarray, size: int) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(values, size // 2, mode="edge"), (size, size))
        return windows.mean(axis=(2, 3))

    slopes = np.stack(np.gradient(box(box(strength, 3), 3)))
    tensor = np.array([[box(a * b, 5) for a in slopes] for b in slopes])
    result = np.zeros_like(strength)
    for place in np.argwhere(strength >= floor):
        across = np.linalg.eigh(tensor[:, :, *place])[1][:, 1]
        sides = map_coordinates(strength, np.stack([place + across, place - across], 1), order=1, mode="nearest")
        if 1.01 * strength[*place] >= sides.max():
            result[*place] = strength[*place]
    return result


@pytest.mark.parametrize("size", [(16, 21), (12, 9)])
def test_suppression_is_its_definition_up_to_the_border(size):
    strength = np.random.default_rng(1).random(size)
    found = suppress(strength, 0.3)
    assert np.array_equal(found > 0, suppress_plainly(strength, 0.3) > 0)
    assert 0 < np.mean(found > 0) < 0.7


def test_suppression_keeps_what_equals_the_floor_and_a_plateau():
    assert (suppress(np.full((6, 7), 0.25), 0.25) == 0.25).all()


@pytest.mark.parametrize("angle", [0, 20, 45, 70, 90, 135])
def test_suppression_keeps_the_ridge_of_a_blurred_line(angle):
    rows, columns = np.mgrid[-20:21, -20:21]
    across = rows * np.cos(np.deg2rad(angle)) - columns * np.sin(np.deg2rad(angle))
    ridge = suppress(np.exp(-(across**2) / 8), 0.01)
    inside = np.s_[6:-6, 6:-6]
    assert np.abs(across[inside][ridge[inside] > 0]).max() <= 1.0
    assert (ridge[inside][np.abs(across[inside]) < 0.25] > 0).all()


def test_suppression_drops_what_is_below_the_floor_and_keeps_values():
    strength = np.random.default_rng(0).random((12, 15))
    ridge = suppress(strength, 0.3)
    assert ((ridge == 0) | (ridge == strength.astype(np.float32))).all()
    assert (ridge[strength < 0.3] == 0).all()


# --- matching ----------------------------------------------------------------------------------------------------


def largest_by_brute_force(first: np.ndarray, second: np.ndarray) -> int:
    edges = list(zip(first.tolist(), second.tolist(), strict=True))
    for size in range(min(len(set(first)), len(set(second))), 0, -1):
        for chosen in itertools.combinations(edges, size):
            if len({left for left, _ in chosen}) == size == len({right for _, right in chosen}):
                return size
    return 0


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=9, unique=True))
def test_matching_is_the_largest_one(edges):
    first, second = (
        (np.array(side, dtype=int) for side in zip(*sorted(edges), strict=True)) if edges else [np.array([], int)] * 2
    )
    used = matched((first, second), np.ones((5, 1), dtype=bool), 5)
    assert used.sum() == largest_by_brute_force(first, second)
    assert set(np.flatnonzero(used[:, 0])) <= set(first.tolist())


def size_by_flow(first: np.ndarray, second: np.ndarray, cut: np.ndarray, truths: int) -> int:
    """The largest matching of the pixels in `cut` as SciPy's maximum flow of unit capacity."""
    kept = cut[first]
    source, sink = len(cut) + truths, len(cut) + truths + 1
    tail = np.concatenate([np.full(len(cut), source), first[kept], len(cut) + np.arange(truths)])
    head = np.concatenate([np.arange(len(cut)), len(cut) + second[kept], np.full(truths, sink)])
    graph = csr_array((np.ones(len(tail), dtype=np.int32), (tail, head)), shape=(sink + 1, sink + 1))
    return maximum_flow(graph, source, sink, method="dinic").flow_value


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.6, 4), st.floats(0.1, 0.9), st.floats(0, 0.3))
def test_every_cut_has_the_size_of_a_maximum_flow_and_can_be_matched(seed, distance, density, churn):
    # Cuts grow as the threshold falls, but for pixels that come and go, as thinning makes them do.
    rng = np.random.default_rng(seed)
    predicted, truth = rng.random((25, 30)) < density, rng.random((25, 30)) < 0.3
    first, second = pairs_within(predicted, truth, distance)
    levels = rng.integers(0, 9, (predicted.sum(), 1))
    cuts = (levels > np.arange(8)) & (rng.random((predicted.sum(), 8)) >= churn)
    used = matched((first, second), cuts, truth.sum())
    for number, cut in enumerate(cuts.T):
        sizes = [size_by_flow(first, second, pixels, truth.sum()) for pixels in (cut, used[:, number])]
        assert sizes == [used[:, number].sum()] * 2
    assert not used[~cuts].any()


@pytest.mark.parametrize("distance", [0.6, 1.0, 2.3, 5.0])
def test_pairs_are_those_of_a_search_tree(distance):
    rng = np.random.default_rng(0)
    predicted, truth = rng.random((21, 17)) > 0.7, rng.random((21, 17)) > 0.8
    expected = cKDTree(np.argwhere(predicted)).query_ball_tree(cKDTree(np.argwhere(truth)), distance + 1e-9)
    first, second = pairs_within(predicted, truth, distance)
    found = [sorted(second[first == k].tolist()) for k in range(predicted.sum())]
    assert found == [sorted(row) for row in expected]


def test_matching_is_symmetric_under_flips():
    rng = np.random.default_rng(2)
    predicted, truth = rng.random((40, 50)) > 0.85, rng.random((40, 50)) > 0.85

    def size(p: np.ndarray, t: np.ndarray) -> int:
        return matched(pairs_within(p, t, 3.1), np.ones((p.sum(), 1), dtype=bool), t.sum()).sum()

    expected = size(predicted, truth)
    assert size(predicted[::-1], truth[::-1]) == size(predicted[:, ::-1], truth[:, ::-1]) == expected
    assert size(predicted.T, truth.T) == size(truth, predicted) == expected


# --- scores ------------------------------------------------------------------------------------------------------


def line(column: int, size: tuple[int, int] = (60, 80)) -> np.ndarray:
    found = np.zeros(size, dtype=bool)
    found[5:-5, column] = True
    return found


def score(strength: np.ndarray, truth: np.ndarray, tolerance: float) -> dict[str, float]:
    m = BoundaryMeter(make_task("edge"), tolerance)
    return m.compute(
        merge([{name: values[None] for name, values in boundary_counts(strength, [truth], tolerance).items()}])
    )


@pytest.mark.parametrize("shift", [1, 2, 3, 4])
def test_a_shifted_line_counts_up_to_the_tolerance_and_not_beyond(shift):
    # The diagonal of 60x80 is 100 pixels, so that tolerance 0.03 is 3 pixels, inclusive.
    found = score(0.9 * line(30), line(30 + shift), 0.03)
    assert found["ods_f"] == (1.0 if shift <= 3 else 0.0)


def test_truth_as_prediction_is_perfect():
    rng = np.random.default_rng(0)
    labels = (gaussian_filter(rng.random((60, 80)), 6) * 400).astype(int)
    truth = np.zeros(labels.shape, dtype=bool)
    truth[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    found = score(0.9 * truth, truth, 0.0075)
    assert found["ods_f"] > 0.99


def test_scores_by_hand():
    # Two lines of 50 pixels in the truth; predicted: one of them at .8, and a false one at .4.
    truth = line(10) | line(40)
    counts = boundary_counts(0.8 * line(10) + 0.4 * line(70), [truth], 0.01)
    assert {values.dtype for values in counts.values()} == {np.dtype(np.int32)}
    assert counts["true"] == 100
    assert counts["predicted"][[10, 60, 90]].tolist() == [100, 50, 0]
    assert counts["matched_predicted"][[10, 60, 90]].tolist() == [50, 50, 0]
    found = score(0.8 * line(10) + 0.4 * line(70), truth, 0.01)
    assert found["ods_f"] == found["ois_f"] == pytest.approx(2 * 1 * 0.5 / 1.5)


def test_ois_chooses_per_image_and_ods_for_all():
    m = BoundaryMeter(make_task("edge"), 0.01)
    first = boundary_counts(0.8 * line(10) + 0.4 * line(70), [line(10)], 0.01)
    second = boundary_counts(0.3 * line(10), [line(10)], 0.01)
    found = m.compute({name: np.stack([first[name], second[name]]) for name in first})
    assert found["ois_f"] == 1.0
    assert found["ods_f"] == pytest.approx(2 * (2 / 3) / (2 / 3 + 1))


def test_the_best_threshold_may_lie_between_two_that_were_counted():
    # P falls from 1 to 1/2 while R rises from 1/2 to 1: half way P = R = 3/4.
    counts = {"predicted": [50, 200], "matched_predicted": [50, 100], "matched_true": [50, 100], "true": 100}
    found = boundary_scores({name: np.array(values)[None] for name, values in counts.items()})
    assert found["ods_f"] == pytest.approx(3 / 4)
    assert found["ois_f"] == pytest.approx(2 / 3)


def test_average_precision_by_hand():
    # P is 1 for R in (0, 1/2] and falls linearly to 2/3 at R = 1; below the smallest R measured, 0.
    truth = line(10) | line(40)
    strength = 0.8 * line(10) + 0.4 * line(40) + 0.4 * line(70)
    recall = np.linspace(0, 1, 101)
    expected = np.where(recall >= 0.5, np.interp(recall, [0.5, 1], [1, 2 / 3]), recall / 0.5).sum() / 100
    # Thresholds above .8 predict nothing: P = R = 0 starts the curve.
    assert score(strength, truth, 0.01)["ap"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.realdata
def test_label_boundaries_of_a_real_frame(real_data: Path):
    folder = real_data / "nyud_v2_240x320"
    frame = (folder / "gt_sets/val.txt").read_text().split()[0]
    labels = np.asarray(Image.open(folder / f"segmentation/{frame}.png"))
    truth = np.zeros(labels.shape, dtype=bool)
    truth[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    truth[1:] |= labels[1:] != labels[:-1]
    grey = gaussian_filter(np.asarray(Image.open(folder / f"images/{frame}.jpg").convert("L"), dtype=float), 1.5)
    slope = np.hypot(*np.gradient(grey))
    scores = [score(slope / slope.max(), truth, tolerance)["ods_f"] for tolerance in (0.0025, 0.0075, 0.02)]
    # Intensity edges know something of object boundaries, and a wider tolerance can only match more.
    assert 0.05 < scores[0] < scores[1] < scores[2] < 0.95
    assert score(0.9 * np.roll(truth, 1, axis=1), truth, 0.0075)["ods_f"] > 0.97


def test_several_annotators():
    counts = boundary_counts(0.9 * line(30), [line(30), line(31), line(60)], 0.02)
    assert counts["true"] == 150
    assert counts["matched_true"][50] == 100
    assert counts["matched_predicted"][50] == counts["predicted"][50] == 50


def test_a_threshold_is_reached_by_an_equal_probability():
    counts = boundary_counts(np.float32(0.3) * line(30), [line(30)], 0.01)
    assert counts["predicted"][THRESHOLDS.tolist().index(0.3)] == 50
    assert counts["predicted"][THRESHOLDS.tolist().index(0.31)] == 0


def test_nothing_predicted_and_nothing_true():
    counts = boundary_counts(np.zeros((20, 20)), [np.zeros((20, 20), dtype=bool)], 0.01)
    assert counts["true"] == counts["predicted"].sum() == 0
    nothing = boundary_counts(np.zeros((60, 80)), [line(10)], 0.01)
    m = BoundaryMeter(make_task("edge"), 0.01)
    found = m.compute({name: np.stack([nothing[name], counts[name]]) for name in counts})
    assert found == {"ods_f": 0.0, "ois_f": 0.0, "ap": 0.0}


def test_the_meter_is_deterministic_and_the_same_over_a_pool():
    torch.manual_seed(0)
    prediction = torch.randn(4, 1, 30, 40)
    target = (torch.rand(4, 1, 30, 40) > 0.9).float()
    target[1, 0, :5] = VOID
    expected = BoundaryMeter(make_task("edge"), 0.02).update(prediction, target)
    with ThreadPoolExecutor(2) as pool:
        found = BoundaryMeter(make_task("edge"), 0.02, pool.map).update(prediction, target)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_void_is_neither_predicted_nor_true():
    target = torch.from_numpy(line(30).astype(np.float32))[None, None]
    prediction = 20 * torch.from_numpy((line(30) | line(60)).astype(np.float32))[None, None] - 10
    target[..., 50:] = VOID
    m = BoundaryMeter(make_task("edge"), 0.01)
    assert m.compute(m.update(prediction, target))["ods_f"] == 1.0
