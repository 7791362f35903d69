"""The coherence of a split's ground truths: the same for every run, so it is computed once and stored with the data."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from mtcp.core.code_digest import code_digest
from mtcp.core.errors import UserError
from mtcp.core.files import replacing
from mtcp.core.hashing import short_key
from mtcp.core.plugins import PACKAGE_ROOT
from mtcp.core.run_config import RunConfig
from mtcp.data.loading.batches import Split, evaluation_batches
from mtcp.data.loading.cache import intact, packed_folder, seal, split_fingerprint
from mtcp.evaluation.coherence import CoherenceMeter
from mtcp.metrics.meter import Statistics, merge


def ceiling(
    path: Path, split: Split, config: RunConfig, meter: CoherenceMeter, on_images: Callable[[int], None]
) -> Statistics:
    """Return the statistics of `split`'s ground truths, in the order of its ids; empty if no tasks can be compared.

    They are stored at `path`, the `ceiling_file`, with their SHA-256, if its folder is writable. `on_images` is called
    with the number of images of each step.
    """
    with suppress(OSError):  # of a file that cannot be read
        if intact(path):
            with np.load(path, allow_pickle=False) as kept:
                return dict(kept)
    parts = []
    for batch in evaluation_batches(split, config):
        parts.append(meter.ceiling(batch.targets))
        on_images(len(batch.ids))
    found = merge(parts) if all(parts) else {}
    with suppress(UserError):  # with read-only data, every run computes them again
        with replacing(path) as temporary:
            np.savez_compressed(temporary, allow_pickle=False, **found)
        seal(path)
    return found


def ceiling_file(split: Split, config: RunConfig, meter: CoherenceMeter) -> Path:
    """The file of the statistics, named by a hash of files, code, and what evaluation and meter are set to."""
    tasks = tuple(task.name for task in config.task_list)
    key = short_key(
        [
            split_fingerprint(split.layout, split.ids, tasks),
            [[task.name, task.kind, task.channels] for task in config.task_list],
            [config.height, config.width],
            config.evaluation_part(),
            [meter.person, meter.distances],
            code_digest(
                [PACKAGE_ROOT / f"mtcp/{name}.py" for name in ("evaluation/coherence", "data/loading/batches")]
            ),
        ]
    )
    return packed_folder(split.layout) / f"{split.layout.folder.name}-ceiling-{key}.npz"
