"""The tasks of dense prediction: what is predicted, with which loss, and how it is evaluated.

Conventions for the whole project (tensors of one batch):

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

255 marks a pixel without annotation in every target, as in the released code. `sal` is the literature's usual name of
saliency. `regression` is any other number per pixel, of either sign, in a unit defined by the data set. The depth of a
set may be a disparity in the set's unit instead of metres.

These are the kinds of tasks. A benchmark may have further tasks under other names, each with one of these kinds, which
determines how the task is trained, evaluated and shown.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from mtcp.core.errors import UserError, alternatives

VOID: Final = 255
Kind = Literal["semseg", "human_parts", "depth", "sal", "normals", "edge", "regression"]
#: The kinds, which are also the names of the standard tasks, in the order of the released code: NYUD (semseg, depth,
#: normals, edge), PASCAL (semseg, human_parts, sal, ...).
KINDS: Final[tuple[str, ...]] = get_args(Kind)
#: Stands for the unit of a task's values.
OWN: Final = "own"
#: Metrics of each kind (docs/metrics.md): whether higher is better, and the unit ("" if dimensionless).
METRICS: Final[dict[str, dict[str, tuple[bool, str]]]] = {
    "semseg": dict.fromkeys(("miou", "miou_present", "pixel_accuracy"), (True, "")),
    "human_parts": dict.fromkeys(("miou", "miou_present", "pixel_accuracy"), (True, "")),
    "depth": {
        "rmse": (False, OWN), "log_rmse": (False, ""), "rmse_capped": (False, OWN), "log_rmse_capped": (False, ""),
        "abs_error": (False, OWN), "rel_error": (False, ""),
        **dict.fromkeys(("within_1_25", "within_1_25_2", "within_1_25_3"), (True, "%")),
    },
    "sal": dict.fromkeys(("max_miou", "max_f"), (True, "")),
    "normals": {
        **dict.fromkeys(("mean", "median", "rmse"), (False, "°")),
        **dict.fromkeys(("within_11_25", "within_22_5", "within_30"), (True, "%")),
    },
    "edge": dict.fromkeys(("ods_f", "ois_f", "ap"), (True, "")),
    "regression": dict.fromkeys(("rmse", "abs_error"), (False, OWN)),
}  # fmt: skip
#: Kinds whose targets are integer classes; all other targets are float32.
CLASSES: Final = ("semseg", "human_parts")
#: Kinds whose values can have a unit defined by the data set; for depth, only where it is a disparity.
UNITS: Final = ("depth", "regression")
#: The unit of depth, unless it is a disparity.
METRE: Final = "m"
#: A run's flag for a task that was not trained: prefix + task.
UNTRAINED: Final = "untrained:"


@dataclass(frozen=True)
class Task:
    """One dense-prediction task of one benchmark.

    `kind`, one of `KINDS`, determines how the task is trained, evaluated and shown. `loss` names a function of
    `mtcp.training.losses`; `metric` is the primary metric, which enters Delta_m.
    `positive_weight` is the weight of positive pixels in a binary cross-entropy; None balances each batch.
    `bias_initialisation` is what untrained heads predict on average, in the task's unit; None: near zero.
    `unit` is the unit of the values: metres for depth, the data set's unit for a disparity or a regression, else "".
    """

    name: str
    kind: str
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
        """Whether its ground truth is one class per pixel."""
        return self.kind in CLASSES

    def require_shapes(self, prediction: Any, target: Any) -> None:
        """Raise `UserError` unless the prediction is (B, C, H, W) and the target the same, or (B, H, W) of classes."""
        batch, *size = prediction.shape[0], *prediction.shape[2:]
        expected = (batch, *size) if self.classifies else (batch, self.channels, *size)
        if prediction.ndim != 4 or prediction.shape[1] != self.channels or tuple(target.shape) != expected:
            raise UserError(
                f"task '{self.name}': prediction {tuple(prediction.shape)} and target {tuple(target.shape)} do not "
                f"belong together: expected (B, {self.channels}, H, W) and {expected}; check the architecture and data"
            )

    @property
    def disparity(self) -> bool:
        """Whether it is of the kind of depth and no distance: larger is nearer."""
        return self.kind == "depth" and self.unit != METRE

    @property
    def metric_unit(self) -> str:
        """The unit of its primary metric; "" if dimensionless."""
        unit = METRICS[self.kind][self.metric][1]
        return self.unit if unit == OWN else unit


#: Channels (0: given by the benchmark), loss, primary metric and label of each kind.
_USUAL: Final[dict[str, tuple[int, str, str, str]]] = {
    "semseg": (0, "cross_entropy", "miou", "Segmentation"),
    "human_parts": (7, "cross_entropy", "miou", "Human parts"),
    "depth": (1, "depth_l1", "rmse", "Depth"),
    "sal": (1, "balanced_bce", "max_miou", "Saliency"),
    "normals": (3, "normals_mse", "mean", "Normals"),
    "edge": (1, "balanced_bce", "ods_f", "Edges"),
    "regression": (1, "regression_l1", "rmse", "Regression"),
}

#: The losses of `mtcp.training.losses`, and the kinds of task that can use each.
KINDS_OF_LOSS: Final[dict[str, tuple[str, ...]]] = {
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
    """Yield (option, what is wrong with it) for options of `make_task` that are invalid or missing for task `name`."""
    kind = options.get("kind") or name
    if name in KINDS and kind != name:
        yield "kind", f"{name} is a standard task, and {kind} another one: take `kind` out, or choose another name"
    if kind not in KINDS:
        yield (
            "kind",
            f"required, and missing: '{name}' is not a standard task{alternatives(name, KINDS)}: add `kind`, the "
            "standard task whose loss and metrics it takes",
        )
        return
    classes, loss = options.get("classes"), options.get("loss")
    if kind == "semseg" and classes is None:
        yield "classes", "required, and missing: the number of classes of the segmentation"
    if kind == "human_parts" and classes not in (None, _USUAL[kind][0]):
        yield "classes", f"human_parts has {_USUAL[kind][0]} classes, background included: leave it out"
    if kind not in CLASSES and classes is not None:
        yield "classes", f"{kind} has no classes: leave it out"
    metric = options.get("metric")
    if metric is not None and metric not in METRICS[kind]:
        yield "metric", f"'{metric}' is not a metric of {kind} (known here: {', '.join(METRICS[kind])})"
    known = [other for other, kinds in KINDS_OF_LOSS.items() if kind in kinds]
    if loss is not None and loss not in known:
        yield "loss", f"'{loss}' is not a loss of {kind} (known here: {', '.join(known)})"
    own_unit = kind == "regression" or (kind == "depth" and options.get("unit") not in (None, METRE))
    if own_unit and options.get("rope") is None:
        yield "rope", "required, and missing: what is practically equal, in the unit of the data set's values"
    binary = KINDS_OF_LOSS["balanced_bce"]
    if options.get("positive_weight") is not None and kind not in binary:
        yield "positive_weight", f"belongs to {' and '.join(binary)}: {kind} has no positive pixels"
    if options.get("unit") is not None and kind not in UNITS:
        yield "unit", f"belongs to {' and '.join(UNITS)}: the metrics of {kind} have units of their own"


def make_task(
    name: str,
    *,
    kind: str | None = None,
    classes: int | None = None,
    loss: str | None = None,
    metric: str | None = None,
    positive_weight: float | None = None,
    bias_initialisation: float | None = None,
    label: str | None = None,
    unit: str | None = None,
) -> Task:
    """Return task `name` with a benchmark's settings; raises `UserError` where its kind or its classes are missing.

    `metric` must be in `METRICS`; `misfits` reports invalid options.
    """
    kind = kind or name
    if kind not in KINDS:
        raise UserError(f"task '{name}' needs a `kind`, which is one of {', '.join(KINDS)}")
    channels, usual_loss, usual_metric, usual_label = _USUAL[kind]
    if not (classes or channels):
        raise UserError(f"task '{name}' needs `classes`, the number of its classes")
    metric = metric or usual_metric
    return Task(
        name=name,
        kind=kind,
        channels=classes or channels,
        loss=loss or usual_loss,
        metric=metric,
        higher_is_better=METRICS[kind][metric][0],
        positive_weight=positive_weight,
        bias_initialisation=bias_initialisation,
        label=label or (usual_label if name == kind else name.replace("_", " ").capitalize()),
        unit=unit or (METRE if kind == "depth" else ""),
    )


def in_order(names: Iterable[str]) -> list[str]:
    """Task names in the order of training and tables: the standard tasks as in `KINDS`, then others by name."""
    return sorted(names, key=lambda name: (KINDS.index(name) if name in KINDS else len(KINDS), name))
