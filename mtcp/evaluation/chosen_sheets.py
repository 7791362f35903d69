"""Prediction sheets of chosen test images, drawn afterwards: evaluation does not know which images will matter."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mtcp.core.run_config import RunConfig
from mtcp.data.formats.class_names import class_names
from mtcp.data.loading.batches import evaluation_batches, open_split
from mtcp.evaluation.evaluate import evaluate
from mtcp.evaluation.prediction_sheets import write_sheets
from mtcp.models.checkpoints import load_network


def write_chosen_sheets(
    folder: Path, config: RunConfig, data: Path, checkpoint: Path, ids: Sequence[str], device: str
) -> None:
    """Write `<position>-<id>.png` for the test images `ids`, in this order, with the predictions of `checkpoint`."""
    split = replace(open_split(config, data, "test"), ids=tuple(ids))
    network = load_network(config, checkpoint)
    samples = evaluate(network, {}, evaluation_batches(split, config), device, samples=len(ids)).samples
    names = class_names(config.layout, config.task_list, split.layout.packaging)
    write_sheets(folder, samples, config.task_list, names)
