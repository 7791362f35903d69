"""The meter of a task under a benchmark's evaluation settings."""

from collections.abc import Callable
from typing import Any

from mtcp.core.run_config import EvaluationConfig
from mtcp.core.tasks import Task
from mtcp.metrics.boundaries import BoundaryMeter
from mtcp.metrics.depth import DepthMeter
from mtcp.metrics.literature import BatchMeans
from mtcp.metrics.meter import Meter
from mtcp.metrics.normals import NormalsMeter
from mtcp.metrics.regression import RegressionMeter
from mtcp.metrics.saliency import SaliencyMeter
from mtcp.metrics.segmentation import SegmentationMeter


def meter(task: Task, evaluation: EvaluationConfig, map_images: Callable[..., Any] = map) -> Meter:
    """Return the meter for `task`; `map_images` maps slow functions over images, such as a process pool's `map`."""
    judge = _meter(task, evaluation, map_images)
    return BatchMeans(judge, evaluation.published_batch) if evaluation.published_batch else judge


def _meter(task: Task, evaluation: EvaluationConfig, map_images: Callable[..., Any]) -> Meter:
    match task.kind:
        case "semseg" | "human_parts":
            return SegmentationMeter(task)
        case "depth":
            return DepthMeter(task, evaluation.depth_cap)
        case "normals":
            return NormalsMeter(task)
        case "sal":
            return SaliencyMeter(task)
        case "edge":
            return BoundaryMeter(task, evaluation.edge_tolerance, map_images)
        case "regression":
            return RegressionMeter(task)
    raise ValueError(f"no meter for a task of kind '{task.kind}'")
