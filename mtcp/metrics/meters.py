"""The meter of a task, as a benchmark's evaluation wants it."""

from mtcp.config import EvaluationConfig
from mtcp.metrics.boundaries import BoundaryMeter
from mtcp.metrics.depth import DepthMeter
from mtcp.metrics.meter import Meter
from mtcp.metrics.normals import NormalsMeter
from mtcp.metrics.saliency import SaliencyMeter
from mtcp.metrics.segmentation import SegmentationMeter
from mtcp.tasks import Task


def meter(task: Task, evaluation: EvaluationConfig) -> Meter:
    """Return the meter that judges `task`."""
    match task.name:
        case "semseg" | "human_parts":
            return SegmentationMeter(task)
        case "depth":
            return DepthMeter(task, evaluation.depth_cap)
        case "normals":
            return NormalsMeter(task)
        case "sal":
            return SaliencyMeter(task)
        case "edge":
            return BoundaryMeter(task, evaluation.edge_tolerance)
    raise ValueError(f"task '{task.name}' has no meter")
