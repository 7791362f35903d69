"""Evaluation of a trained network: every test image once, at its original size, without intermediate files.

Predictions have the network's input size and are resized bilinearly to the ground truth's size. All outputs (final,
initial, auxiliary) are evaluated in the same way. Sufficient statistics are stored per image (docs/metrics.md), so that
every metric can be recomputed for any subset of images. Evaluation runs in float32, whatever the training precision.

Selections: `last` is the network after the last epoch, chosen without test images; it gives the primary results.
`validation` is the network of the epoch with the best validation loss. `best_on_test` is the best evenly spaced
snapshot by Delta_m against the last epoch, the released code's protocol: it is optimistic, and shown as such only.
`last_epochs_mean` is the mean of the last epochs' metrics, as reported in the loss-weighting literature.
"""

import filecmp
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mtcp.core.errors import UserError
from mtcp.core.files import replacing
from mtcp.core.measures import Metrics
from mtcp.core.plugins import faults_named
from mtcp.core.processes import end_with_parent
from mtcp.core.project_files import BEST_ON_VALIDATION, MODEL, SAMPLES, snapshot_file
from mtcp.core.run_config import RunConfig
from mtcp.core.snapshots import is_kept, is_late, is_spaced
from mtcp.core.tasks import Task
from mtcp.data.formats.class_names import class_names
from mtcp.data.loading.batches import Batch, evaluation_batches, open_split
from mtcp.evaluation.ceiling import ceiling, ceiling_file
from mtcp.evaluation.coherence import CoherenceMeter, coherence_meter
from mtcp.evaluation.prediction_sheets import Sample, write_sheets
from mtcp.metrics.coherence import COHERENCE, coherence_metrics
from mtcp.metrics.meter import Gathering, ImageError, Meter, Statistics, no_images
from mtcp.metrics.meters import meter
from mtcp.metrics.multi_task import delta_m
from mtcp.models.architecture import Architecture
from mtcp.models.checkpoints import load_network
from mtcp.models.cost import gflops
from mtcp.models.layers import at_size


@dataclass
class EvaluationResult:
    """Statistics of all images by output and task, in the order of `ids`, with time and samples."""

    ids: tuple[str, ...] = ()
    statistics: dict[str, dict[str, Statistics]] = field(default_factory=dict)
    seconds_per_image: float = 0.0
    samples: list[Sample] = field(default_factory=list)

    def metrics(self, meters: dict[str, Meter]) -> Metrics:
        """Compute every metric from the statistics."""
        return {
            output: {
                task: {
                    name: _finite(value)
                    for name, value in (
                        coherence_metrics(statistics) if task == COHERENCE else meters[task].compute(statistics)
                    ).items()
                }
                for task, statistics in tasks.items()
            }
            for output, tasks in self.statistics.items()
        }

    def add_ceiling(self, statistics: Statistics) -> None:
        """Add the coherence of the ground truths, unless `statistics` is empty."""
        if statistics:
            self.statistics["truth"] = {COHERENCE: statistics}

    def non_finite(self) -> dict[str, int]:
        """Return the number of pixels with a non-finite final prediction by task."""
        final = self.statistics["final"]
        return {task: int(parts["non_finite"].sum()) for task, parts in final.items() if task != COHERENCE}


@torch.no_grad()
def evaluate(
    network: Architecture,
    meters: dict[str, Meter],
    batches: Iterable[Batch],
    device: str,
    *,
    outputs: Callable[[str], bool] = lambda name: True,
    coherence: CoherenceMeter | None = None,
    samples: int = 0,
    on_images: Callable[[int], None] = lambda count: None,
) -> EvaluationResult:
    """Evaluate `network` on `batches`; memory holds one batch and the statistics.

    `outputs` selects the outputs to evaluate, `coherence` evaluates the final ones together, the first `samples` images
    are kept for pictures, and `on_images` is called with the number of images of each step. Raises `UserError` where
    there are no images, and for a target outside its range, naming the image.
    """
    network = network.to(device).eval()
    result = EvaluationResult()
    gathered: dict[tuple[str, str], Gathering] = {}
    seconds: list[tuple[float, int]] = []
    for batch in batches:
        batch = batch.to(device)
        predictions, took = _timed(network, batch.image)
        seconds.append((took, len(batch.ids)))
        finals: dict[str, Tensor] = {}
        for task, judge in meters.items():
            target = batch.targets[task]
            for output, prediction in predictions[task].items():
                if outputs(output):
                    resized = at_size(prediction.float(), target.shape[-2:])
                    part = _judge(judge, resized, target, batch.ids)
                    gathered.setdefault((output, task), Gathering()).add(part)
                    if output == "final":
                        finals[task] = resized
        if coherence is not None and (part := coherence.update(finals, batch.targets)):
            gathered.setdefault(("final", COHERENCE), Gathering()).add(part)
        result.samples += _samples(batch, predictions, samples - len(result.samples))
        result.ids += batch.ids
        on_images(len(batch.ids))
    if not result.ids:
        raise no_images()
    for (output, task), statistics in gathered.items():
        result.statistics.setdefault(output, {})[task] = statistics.statistics()
    # The first batch includes the warm-up.
    counted = seconds[1:] or seconds
    result.seconds_per_image = sum(took for took, _ in counted) / sum(count for _, count in counted)
    return result


@dataclass(frozen=True)
class Evaluated:
    """One trained run on the test split: the last epoch's statistics, the metrics of every selection, and its cost."""

    last: EvaluationResult
    metrics: dict[str, Metrics]
    gflops: float


def evaluate_networks(
    config: RunConfig,
    *,
    data: Path,
    directory: Path,
    device: str,
    threads: int = 1,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluated:
    """Evaluate the networks saved by the run in `directory`, and draw the last one's prediction sheets there.

    Raises `UserError` where the directory has no finished checkpoint, or lacks another network that is kept.
    """
    if not (directory / MODEL).exists():
        raise UserError(f"{directory} has no finished checkpoint ({MODEL}): train the run first")
    split = open_split(config, data, "test")
    kept = _snapshots(config, directory)
    validation = directory / BEST_ON_VALIDATION
    # If the last epoch was the best one, its network is not evaluated twice.
    best_validation_is_last = validation.exists() and filecmp.cmp(validation, directory / MODEL, shallow=False)
    best_validation_is_other = validation.exists() and not best_validation_is_last
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        on_image(done, total)

    with _image_map(threads) as map_images:
        meters = {task.name: meter(task, config.evaluation, map_images) for task in config.task_list}
        together = coherence_meter(config, split.layout.packaging, map_images)
        of_truths = ceiling_file(split, config, together)
        total = len(split) * (1 + (not of_truths.exists()) + best_validation_is_other + len(kept))

        def judge(network: Architecture, **options: Any) -> EvaluationResult:
            batches = evaluation_batches(split, config)
            with faults_named(f"architecture '{config.architecture.name}'"):
                return evaluate(network, meters, batches, device, on_images=advance, **options)

        def final_only(checkpoint: Path, **options: Any) -> Metrics:
            network = load_network(config, checkpoint)
            return judge(network, outputs=lambda name: name == "final", **options).metrics(meters)

        network = load_network(config, directory / MODEL)
        last = judge(network, coherence=together, samples=config.evaluation.samples)
        last.add_ceiling(ceiling(of_truths, split, config, together, advance))
        counted = gflops(network, (config.height, config.width))
        del network
        metrics = {"last": last.metrics(meters)}
        if best_validation_is_last:
            own = {name: values for name, values in metrics["last"]["final"].items() if name != COHERENCE}
            metrics["validation"] = {"final": own}
        elif best_validation_is_other:
            metrics["validation"] = final_only(validation)
        # The coherence of other selections is not used, and takes as long as everything else.
        found = {epoch: final_only(path) for epoch, path in kept.items()}
    metrics |= _of_epochs(config, {"final": {name: metrics["last"]["final"][name] for name in meters}}, found)
    names = class_names(config.layout, config.task_list, split.layout.packaging)
    write_sheets(directory / SAMPLES, last.samples, config.task_list, names)
    return Evaluated(last, metrics, counted)


def _snapshots(config: RunConfig, directory: Path) -> dict[int, Path]:
    """The networks that are kept, but the last, by epoch; raises `UserError` where one is missing."""
    training = config.training
    kept = {epoch: directory / snapshot_file(epoch) for epoch in range(training.epochs) if is_kept(training, epoch)}
    if missing := [path for path in kept.values() if not path.exists()]:
        raise UserError(
            f"{missing[0]} is missing ({len(missing)} of {len(kept)} kept networks): a mean over fewer epochs would go "
            "by the same name; bring it back, or remove the run's folder and train it again"
        )
    return kept


def _of_epochs(config: RunConfig, last: Metrics, found: dict[int, Metrics]) -> dict[str, Metrics]:
    """The metrics of selections among epochs: `last` has those of the last epoch, `found` those of others by epoch."""
    metrics = {}
    training = config.training
    if training.snapshots:
        spaced = [own for epoch, own in found.items() if is_spaced(training, epoch)]
        metrics["best_on_test"] = best_on_test(config, last, spaced)
    if training.last_epochs:
        of_last = [own for epoch, own in found.items() if is_late(training, epoch)]
        metrics["last_epochs_mean"] = mean_metrics([*of_last, last])
    return metrics


def evaluate_elsewhere(
    trained: RunConfig,
    checkpoint: Path,
    other: RunConfig,
    data: Path,
    device: str,
    *,
    threads: int = 1,
    on_images: Callable[[int], None] = lambda count: None,
) -> tuple[EvaluationResult, Metrics]:
    """Evaluate the network of `trained` on the test images in `data` of another benchmark, with settings `other`.

    The network keeps its input size and its tasks; nothing is written. Raises `UserError` where the other benchmark
    lacks a task of the network or has another number of classes.
    """
    for task in trained.task_list:
        if has := _unlike(task, other):
            raise UserError(
                f"the network predicts '{task.name}' with {task.channels} channels, which {has} in benchmark "
                f"'{other.benchmark}': choose a benchmark with the same tasks"
            )
    shape = {"tasks": trained.tasks, "height": trained.height, "width": trained.width}
    config = RunConfig(**{**other.model_dump(), **shape})
    with _image_map(threads) as map_images:
        meters = {task.name: meter(task, config.evaluation, map_images) for task in config.task_list}
        split = open_split(config, data, "test")
        together = coherence_meter(config, split.layout.packaging, map_images)
        network, batches = load_network(trained, checkpoint), evaluation_batches(split, config)
        result = evaluate(network, meters, batches, device, coherence=together, on_images=on_images)
        result.add_ceiling(ceiling(ceiling_file(split, config, together), split, config, together, lambda count: None))
    return result, result.metrics(meters)


def _unlike(task: Task, other: RunConfig) -> str:
    """Return, in words, what `other` has instead of `task`; empty if it has the same."""
    its = next((each for each in other.task_list if each.name == task.name), None)
    if its is None:
        return "does not exist"
    if its.kind != task.kind:
        return f"is of kind {its.kind}, not {task.kind},"
    if its.unit != task.unit:
        return f"is in {its.unit or 'no unit'}, not {task.unit or 'none'},"
    return f"has {its.channels} channels" if its.channels != task.channels else ""


def mean_metrics(several: list[Metrics]) -> Metrics:
    """Return the means of the final outputs' metrics; None where one of the values is None."""
    final = several[0]["final"]
    return {
        "final": {
            task: {
                name: _finite(float(np.mean([_number(one["final"][task][name]) for one in several]))) for name in values
            }
            for task, values in final.items()
        }
    }


def best_on_test(config: RunConfig, last: Metrics, candidates: list[Metrics]) -> Metrics:
    """Return the candidate with the largest Delta_m of the primary metrics against `last`, `last` included.

    A candidate that lacks a primary metric is never the best.
    """

    def gain(metrics: Metrics) -> float:
        values, references = (
            {task.name: _number(source["final"][task.name][task.metric]) for task in config.task_list}
            for source in (metrics, last)
        )
        return float(np.nan_to_num(delta_m(values, references, config.task_list), nan=-np.inf))

    return max([{"final": last["final"]}, *candidates], key=gain)


def write_statistics(path: Path, result: EvaluationResult) -> None:
    """Write the per-image statistics: arrays `<output>/<task>/<statistic>` and `ids`, compressed."""
    arrays = {
        f"{output}/{task}/{name}": values
        for output, tasks in result.statistics.items()
        for task, statistics in tasks.items()
        for name, values in statistics.items()
    }
    with replacing(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, ids=np.array(result.ids), **arrays)


def _timed(network: Architecture, image: Tensor) -> tuple[dict[str, dict[str, Tensor]], float]:
    """Return the outputs and the seconds they took, including an accelerator's pending work."""
    started = time.perf_counter()
    with _exact_convolutions():
        outputs = network(image)
    if image.device.type == "cuda":
        torch.cuda.synchronize(image.device)
    return outputs, time.perf_counter() - started


@contextmanager
def _exact_convolutions() -> Iterator[None]:
    """Keep a GPU's convolutions from TF32, which torch allows them unasked; matrix products are exact by default."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _judge(judge: Meter, prediction: Tensor, target: Tensor, ids: tuple[str, ...]) -> Statistics:
    try:
        return judge.update(prediction, target)
    except ImageError as error:
        raise UserError(f"image '{ids[error.index]}': {error}") from error


def _samples(batch: Batch, predictions: dict[str, dict[str, Tensor]], wanted: int) -> list[Sample]:
    return [
        Sample(
            image_id=batch.ids[index],
            image=batch.image[index].cpu().numpy(),
            truths={task: target[index].cpu().numpy() for task, target in batch.targets.items()},
            predictions={
                task: at_size(outputs["final"][index : index + 1], batch.targets[task].shape[-2:])[0].cpu().numpy()
                for task, outputs in predictions.items()
            },
        )
        for index in range(min(max(wanted, 0), len(batch.ids)))
    ]


@contextmanager
def _image_map(threads: int) -> Iterator[Callable[..., Any]]:
    """Yield `map`, or that of a pool of `threads` processes, since boundary matching holds Python's GIL."""
    if threads == 1:
        yield map
        return
    # Spawned, not forked: forking a process that has an accelerator context or threads may hang.
    with ProcessPoolExecutor(threads, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        yield pool.map


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
