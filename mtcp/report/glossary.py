"""The words of a report's page, each in one sentence: those of every page, the paper's, and its tasks' metrics."""

from collections.abc import Mapping
from typing import Final

from mtcp.core.config import Benchmark
from mtcp.report.formats import display

_EVERYWHERE: Final[Mapping[str, str]] = {
    "Δm": "mean over tasks of a method's relative change against the baseline of the same seed, in per cent; positive "
    "is better, also for error metrics",
    "Δc": "the same over the measures of coherence: how well the predictions of one network agree with each other",
    "paired by seed": "both methods of a comparison saw the same batches and augmentation, and began with the same "
    "values where they share parameters; the difference is taken seed by seed",
    "ROPE": "range of practical equivalence: differences within it count as none; declared before any run",
    "Holm": "correction of all claims of one family together: the declared error rate is that of the whole family",
    "least n": "the fewest seeds with which the exact test could conclude at all, after the correction",
}
_PAPER: Final[Mapping[str, str]] = {
    "MT-CP": "the paper's network: an encoder that tasks share, fusion across tasks (CFM), and a trace-back",
    "CFM": "the part that fuses the other tasks' features into a task's own (cross-task coherence)",
    "trace-back": "refinement of a task's fused map by the maps of its own decoder, from coarse to fine",
    "LPS": "loss prioritisation: an epoch's weights favour the tasks whose loss fell less than the others' in the one "
    "before; losses enter as log(1 + loss)",
    "auxiliary outputs": "predictions after the first (aux1) and second (aux2) step of the trace-back; final: the last",
}
_METRICS: Final[Mapping[str, str]] = {
    "miou": "mean over classes of the intersection over union of predicted and true pixels, counted over all images",
    "max_f": "F of the mean precision and recall over images, at the best of 15 thresholds",
    "ods_f": "F of thinned boundaries, matched one to one within a tolerance, at the best threshold for the whole set",
    "rmse": "root of the mean squared error over all pixels",
    "abs_error": "mean absolute error over all pixels",
    "mean": "mean angle between predicted and true normals, over all pixels",
    "max_miou": "mean over images of the intersection over union of the salient object, at the best of 15 thresholds",
}


def glossary(benchmark: Benchmark, about_paper: bool) -> dict[str, str]:
    """Return {word: meaning}; the tasks' primary metrics have the labels that tables give them.

    The words of the paper are explained on pages about it only.
    """
    found = {**_EVERYWHERE, **(_PAPER if about_paper else {})}
    for task in benchmark.task_list:
        if meaning := _METRICS.get(task.metric):
            found.setdefault(display(task.name, task.metric, benchmark).label, meaning)
    return found
