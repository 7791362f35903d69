"""The tasks of dense prediction: what is predicted, with which loss, and how it is judged.

Conventions, decided here once for the whole project (tensors of one batch):

==============  ===========================  =======================================  ======
task            prediction                   target                                   void
==============  ===========================  =======================================  ======
semseg          logits (B, K, H, W)          class (B, H, W), integer 0..K-1          255
human_parts     logits (B, 7, H, W)          part (B, H, W), 0 background, 1..6       255
depth           metres (B, 1, H, W)          metres (B, 1, H, W), float32 > 0         255
normals         unnormalised (B, 3, H, W)    unit vector (B, 3, H, W), float32        255 in all three
sal             logit (B, 1, H, W)           0 or 1 (B, 1, H, W), float32             255
edge            logit (B, 1, H, W)           0 or 1 (B, 1, H, W), float32             255
regression      value (B, 1, H, W)           value (B, 1, H, W), float32              255
==============  ===========================  =======================================  ======

255 marks a pixel without annotation in every target, as in the released code; `sal` is the field's canonical
name of saliency. `regression` is any other number a pixel, of either sign, in a unit of the data set's own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mtcp.core.errors import UserError

VOID: Final = 255
#: Metrics of each task (docs/metrics.md): whether higher is better, and the unit.
METRICS: Final[dict[str, dict[str, tuple[bool, str]]]] = {
    "semseg": dict.fromkeys(("miou", "miou_present", "pixel_accuracy"), (True, "")),
    "human_parts": dict.fromkeys(("miou", "miou_present", "pixel_accuracy"), (True, "")),
    "depth": {
        "rmse": (False, "m"), "log_rmse": (False, ""), "rmse_capped": (False, "m"), "log_rmse_capped": (False, ""),
        "abs_error": (False, "m"), "rel_error": (False, ""),
        **dict.fromkeys(("within_1_25", "within_1_25_2", "within_1_25_3"), (True, "%")),
    },
    "sal": dict.fromkeys(("max_miou", "max_f"), (True, "")),
    "normals": {
        **dict.fromkeys(("mean", "median", "rmse"), (False, "°")),
        **dict.fromkeys(("within_11_25", "within_22_5", "within_30"), (True, "%")),
    },
    "edge": dict.fromkeys(("ods_f", "ois_f", "ap"), (True, "")),
    "regression": dict.fromkeys(("rmse", "abs_error"), (False, "")),
}  # fmt: skip
#: Tasks whose targets are classes: whole numbers; those of all others are float32.
CLASSES: Final = ("semseg", "human_parts")
#: A run's flag for a task that nothing was learnt of: prefix + task.
UNTRAINED: Final = "untrained:"


@dataclass(frozen=True)
class Task:
    """One dense-prediction task of one benchmark.

    `loss` names a function of `mtcp.training.losses`; `metric` is the primary metric, the one that enters Delta_m.
    `positive_weight` is the weight of positive pixels in a binary cross-entropy; None balances each batch.
    `bias_initialisation` is what its untrained heads predict on average, in the task's unit; None: near zero.
    """

    name: str
    channels: int
    loss: str
    metric: str
    higher_is_better: bool
    positive_weight: float | None = None
    bias_initialisation: float | None = None
    label: str = ""
    unit: str = ""

    @property
    def classifies(self) -> bool:
        """Whether its truth is a class a pixel."""
        return self.name in CLASSES


_TASKS: Final[dict[str, Task]] = {
    task.name: task
    for task in (
        Task("semseg", 0, "cross_entropy", "miou", True, label="Segmentation"),
        Task("human_parts", 7, "cross_entropy", "miou", True, label="Human parts"),
        Task("depth", 1, "depth_l1", "rmse", False, label="Depth", unit="m"),
        Task("sal", 1, "balanced_bce", "max_miou", True, label="Saliency"),
        Task("normals", 3, "normals_mse", "mean", False, label="Normals", unit="°"),
        Task("edge", 1, "balanced_bce", "ods_f", True, label="Edges"),
        Task("regression", 1, "regression_l1", "rmse", False, label="Regression"),
    )
}

#: Task order of the released code: NYUD (semseg, depth, normals, edge), PASCAL (semseg, human_parts, sal, ...).
TASK_NAMES: Final = tuple(_TASKS)

#: The losses of `mtcp.training.losses`, and the tasks that each is for.
LOSSES: Final[dict[str, tuple[str, ...]]] = {
    "cross_entropy": CLASSES,
    "nll": CLASSES,
    "depth_l1": ("depth",),
    "normals_mse": ("normals",),
    "normals_l1": ("normals",),
    "normals_cosine": ("normals",),
    "balanced_bce": ("sal", "edge"),
    "regression_l1": ("regression",),
    "regression_mse": ("regression",),
}


def misfits(name: str, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (option, what is wrong with it) for the options of `make_task` that task `name` does not have."""
    classes, loss = options.get("classes"), options.get("loss")
    if name == "semseg" and classes is None:
        yield "classes", "required, and missing: the number of classes of the segmentation"
    if name == "human_parts" and classes not in (None, _TASKS[name].channels):
        yield "classes", f"human_parts has {_TASKS[name].channels} classes, background included: leave it out"
    if name not in CLASSES and classes is not None:
        yield "classes", f"{name} has no classes: leave it out"
    metric = options.get("metric")
    if metric is not None and metric not in METRICS[name]:
        yield "metric", f"'{metric}' is not a metric of {name} (known here: {', '.join(METRICS[name])})"
    known = [other for other, tasks in LOSSES.items() if name in tasks]
    if loss is not None and loss not in known:
        yield "loss", f"'{loss}' is not a loss of {name} (known here: {', '.join(known)})"
    if name == "regression" and options.get("rope") is None:
        yield "rope", "required, and missing: what is practically equal, in the unit of the data set's values"
    if options.get("positive_weight") is not None and name not in LOSSES["balanced_bce"]:
        yield "positive_weight", f"belongs to {' and '.join(LOSSES['balanced_bce'])}: {name} has no positive pixels"


def make_task(
    name: str,
    *,
    classes: int | None = None,
    loss: str | None = None,
    metric: str | None = None,
    positive_weight: float | None = None,
    bias_initialisation: float | None = None,
) -> Task:
    """Return task `name` with a benchmark's choices; raises `UserError` for an unknown name or missing classes.

    Its metric is one of `METRICS`: `misfits` names what is not.
    """
    if name not in _TASKS:
        raise UserError(f"unknown task '{name}': the tasks are {', '.join(TASK_NAMES)}")
    base = _TASKS[name]
    if not (classes or base.channels):
        raise UserError(f"task '{name}' needs `classes`, the number of its classes")
    metric = metric or base.metric
    higher, unit = METRICS[name][metric]
    return Task(
        name=name,
        channels=classes or base.channels,
        loss=loss or base.loss,
        metric=metric,
        higher_is_better=higher,
        positive_weight=positive_weight,
        bias_initialisation=bias_initialisation,
        label=base.label,
        unit=unit,
    )
