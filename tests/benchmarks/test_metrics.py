"""Speed of the metrics at 480x640, each beside a plain implementation of the same in one run.

`pytest tests/benchmarks/test_metrics.py` prints both, in processor time (processes: on the wall, so only on a machine
with nothing else to do); compare the rows of a group, never times of two machines.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from time import perf_counter, process_time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching, maximum_flow

from mtcp.core.run_config import EvaluationConfig
from mtcp.core.tasks import make_task
from mtcp.metrics.boundaries import boundary_counts
from mtcp.metrics.matching import matched, pairs_within
from mtcp.metrics.meters import meter
from mtcp.metrics.suppression import suppress
from mtcp.metrics.thinning import stack_levels, thin

SIZE = (480, 640)
TASKS = (make_task("semseg", classes=40), make_task("depth"), make_task("normals"))


@pytest.fixture(scope="module")
def images() -> list[tuple]:
    """(meter, prediction, target) of one image for segmentation, depth and normals."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    semseg = torch.randn(1, 40, *SIZE), torch.randint(0, 40, (1, *SIZE))
    depth = torch.rand(1, 1, *SIZE) * 9, torch.rand(1, 1, *SIZE) * 9 + 0.5
    normals = torch.randn(1, 3, *SIZE), F.normalize(torch.randn(1, 3, *SIZE), dim=1)
    meters = [meter(task, EvaluationConfig()) for task in TASKS]
    return [(judge, *pair) for judge, pair in zip(meters, (semseg, depth, normals), strict=True)]


@pytest.fixture(scope="module")
def boundary() -> tuple[np.ndarray, np.ndarray]:
    """A soft boundary map with some 30,000 ridge pixels, and a truth of some 27,000: several times a real frame's."""
    rng = np.random.default_rng(0)
    labels = np.digitize(gaussian_filter(rng.random(SIZE), 9), np.linspace(0.45, 0.55, 12))
    truth = np.zeros(SIZE, dtype=bool)
    truth[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    truth[1:] |= labels[1:] != labels[:-1]
    strength = gaussian_filter(truth.astype(float), 1.5) + 0.6 * gaussian_filter(rng.random(SIZE), 2.5)
    return ((strength - strength.min()) / np.ptp(strength)).astype(np.float32), truth


def plainly(images: list[tuple]) -> list:
    """Segmentation, depth and normals of one image, written as one would at first."""
    (_, logits, labels), (_, depth, metres), (_, normals, truth) = images
    confusion = torch.bincount((labels * 40 + logits.argmax(1)).flatten(), minlength=1600)
    valid = metres != 255
    squared = (depth[valid] - metres[valid]).double().square().sum()
    logarithmic = (depth[valid].log() - metres[valid].log()).double().square().sum()
    cosine = (F.normalize(normals, dim=1) * truth).sum(1)[(truth != 255).all(1)]
    angle = torch.rad2deg(torch.acos(cosine.clamp(-1, 1))).numpy()
    return [
        confusion,
        squared,
        logarithmic,
        angle.mean(),
        np.median(angle),
        [(angle < k).mean() for k in (11.25, 22.5, 30)],
    ]


@pytest.mark.benchmark(group="semseg, depth and normals of one image", timer=process_time)
@pytest.mark.parametrize("how", ["ours", "plain"])
def test_dense_metrics(benchmark, images, how):
    if how == "plain":
        benchmark(plainly, images)
    else:
        benchmark(lambda: [judge.update(prediction, target) for judge, prediction, target in images])


@pytest.mark.benchmark(group="boundaries of one image, 99 thresholds", timer=process_time)
@pytest.mark.parametrize("tolerance", [0.0075, 0.011])
def test_boundaries(benchmark, boundary, tolerance):
    strength, truth = boundary
    counts = benchmark.pedantic(boundary_counts, (strength, [truth], tolerance), rounds=3, warmup_rounds=1)
    assert counts["matched_true"].max() <= counts["true"]


@pytest.mark.benchmark(group="boundaries of 8 images over processes, time on the wall", timer=perf_counter)
@pytest.mark.parametrize("processes", [1, 2])
def test_processes(benchmark, boundary, processes):
    strength, truth = (torch.from_numpy(part)[None, None].expand(8, 1, *SIZE) for part in boundary)
    logits, truth = torch.logit(strength, eps=1e-4), truth.float()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        judge = meter(make_task("edge"), EvaluationConfig(), pool.map)
        judge.update(logits[:processes], truth[:processes])
        benchmark.pedantic(judge.update, (logits, truth), rounds=3)


@pytest.mark.benchmark(group="thinning of 99 maps", timer=process_time)
@pytest.mark.parametrize("how", ["at once", "one by one"])
def test_thinning(benchmark, boundary, how):
    level = (suppress(boundary[0], 0.01) * 99).astype(int)
    if how == "at once":
        benchmark.pedantic(lambda: thin(stack_levels(level, 99)), rounds=3, warmup_rounds=1)
    else:
        each = [(level > k).astype(np.uint64)[..., None] for k in range(99)]
        benchmark.pedantic(lambda: [thin(words) for words in each], rounds=1)


@pytest.mark.benchmark(group="matching at 99 thresholds, a crop of 120x160", timer=process_time)
@pytest.mark.parametrize("how", ["ours", "maximum flow", "Hopcroft-Karp", "assignment"])
def test_matching(benchmark, boundary, how):
    crop = np.s_[:120, :160]
    level = (suppress(boundary[0], 0.01)[crop] * 99).astype(int)
    predicted, truth = level > 0, boundary[1][crop]
    cuts = level[predicted][:, None] > np.arange(99)
    first, second = pairs_within(predicted, truth, 6)
    shape = (int(predicted.sum()), int(truth.sum()))

    def graph(cut: np.ndarray) -> csr_array:
        kept = cut[first]
        return csr_array((np.ones(kept.sum(), dtype=np.int8), (first[kept], second[kept])), shape=shape)

    def flow(cut: np.ndarray) -> int:
        pairs, nodes = graph(cut).tocoo(), sum(shape)
        tail = np.concatenate([np.full(shape[0], nodes), pairs.row, shape[0] + np.arange(shape[1])])
        head = np.concatenate([np.arange(shape[0]), shape[0] + pairs.col, np.full(shape[1], nodes + 1)])
        unit = csr_array((np.ones(len(tail), dtype=np.int32), (tail, head)), shape=(nodes + 2, nodes + 2))
        return maximum_flow(unit, nodes, nodes + 1, method="dinic").flow_value

    def assignment(cut: np.ndarray) -> int:
        dense = graph(cut).toarray()
        return int(dense[linear_sum_assignment(-dense)].sum())

    ways = {
        "ours": lambda: matched((first, second), cuts, shape[1]).sum(axis=0).tolist(),
        "maximum flow": lambda: [flow(cut) for cut in cuts.T],
        "Hopcroft-Karp": lambda: [int((maximum_bipartite_matching(graph(cut)) >= 0).sum()) for cut in cuts.T],
        "assignment": lambda: [assignment(cut) for cut in cuts.T],
    }
    assert benchmark.pedantic(ways[how], rounds=2) == ways["ours"]()
