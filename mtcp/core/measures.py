"""The measures in tables besides the tasks' metrics, and the form of measured values."""

from typing import Final

#: Measured values: output -> task -> metric -> value; None means NaN.
Metrics = dict[str, dict[str, dict[str, float | None]]]

#: Relative changes over all tasks, in per cent of the single-task networks.
CHANGES: Final = ("delta_m", "delta_coherence")
#: Costs of a network, compared in per cent of the reference's cost.
COSTS: Final = ("parameters", "gflops", "seconds_per_step", "seconds_per_image", "peak_memory_mb", "train_seconds")
