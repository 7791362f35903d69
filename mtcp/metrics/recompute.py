"""Metrics from stored per-image statistics, for all images or any subset, without torch and without a network."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from mtcp.core.errors import UserError
from mtcp.core.run_config import EvaluationConfig
from mtcp.core.tasks import Task
from mtcp.metrics.meter import Statistics, select
from mtcp.metrics.meters import meter


def read_statistics(
    path: Path, output: str = "final", tasks: Collection[str] | None = None
) -> tuple[tuple[str, ...], dict[str, Statistics]]:
    """Return the image ids and the statistics by task of one output, from `images-<eval_key>.npz`.

    `tasks`: read only the statistics of these tasks.
    Raises `UserError` where the file is missing, damaged, or holds no such output.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            ids = tuple(str(image_id) for image_id in arrays["ids"])
            found: dict[str, Statistics] = {}
            for key in arrays.files:
                if key.startswith(f"{output}/"):
                    _, task, name = key.split("/")
                    if tasks is None or task in tasks:
                        found.setdefault(task, {})[name] = arrays[key]
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: evaluate the run again") from error
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds on damaged files
        raise UserError(f"{path} is damaged ({error}): remove it and evaluate the run again") from error
    if not found:
        raise UserError(f"{path} has no statistics of output '{output}'")
    return ids, found


def pooled(evaluation: EvaluationConfig) -> EvaluationConfig:
    """Return `evaluation` without the published batch averages, which only consecutive images of a split have."""
    return evaluation.model_copy(update={"published_batch": None})


def metrics_by_image(
    statistics: dict[str, Statistics], tasks: Sequence[Task], evaluation: EvaluationConfig, images: int
) -> list[dict[str, dict[str, float]]]:
    """Return the metrics of every one of `images` images by itself; arguments as for `metrics_from_statistics`."""
    alone = pooled(evaluation)
    return [metrics_from_statistics(statistics, tasks, alone, np.array([place])) for place in range(images)]


def metrics_from_statistics(
    statistics: dict[str, Statistics],
    tasks: Sequence[Task],
    evaluation: EvaluationConfig,
    images: np.ndarray | None = None,
) -> dict[str, dict[str, float]]:
    """Return {task: {metric: value}} of the chosen images (positions; None: all).

    Repeated positions count repeatedly, so a bootstrap resample is an array of positions.
    """
    return {
        task.name: meter(task, evaluation).compute(
            statistics[task.name] if images is None else select(statistics[task.name], images)
        )
        for task in tasks
    }
