"""What tables measure beside the tasks."""

from typing import Final

#: Changes over all tasks, in per cent of the single-task networks.
CHANGES: Final = ("delta_m", "delta_coherence")
#: What a network costs; compared in per cent of the reference's.
COSTS: Final = ("parameters", "gflops", "seconds_per_step", "seconds_per_image", "peak_memory_mb", "train_seconds")
